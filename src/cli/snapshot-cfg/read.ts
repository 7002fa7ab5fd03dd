/** Reads xl.snapshot.cfg(5): what a snapshot is to be, in the form of xl's configuration files. */

import type { DiskSpec, MemorySpec, SnapshotSpec } from '../../client/snapshot-document.ts';
import { type Atom, cfgError, parseCfg, type Setting } from './grammar.ts';

/** What the file says; `disks` are all disks that the snapshot has, and without them it has the domain's. */
export interface SnapshotCfg extends Pick<SnapshotSpec, 'name' | 'description'> {
  readonly memory: MemorySpec | undefined;
  readonly disks: readonly DiskSpec[] | undefined;
}

const KEYS = ['name', 'description', 'creationtime', 'memory', 'disk', 'disks'] as const;
type Key = (typeof KEYS)[number];

/** The keys of a disk, in the order in which they may be given without their names (xl-disk-configuration(5)). */
const DISK_KEYS = ['target', 'format', 'vdev'] as const;
type DiskKey = (typeof DISK_KEYS)[number];

/** An XML document begins with `<`, after blanks at most; an empty file counts as one that is malformed. */
export function isCfg(text: string): boolean {
  return /^\s*[#;\w]/.test(text);
}

/** Reads the text of the file `from`. Refuses, with file and line, what it does not say unambiguously. */
export function readCfg(text: string, from: string): SnapshotCfg {
  const settings = new Map<Key, Setting>();
  for (const setting of parseCfg(text, from)) {
    const key = KEYS.find((known) => known === setting.key);
    if (!key) throw cfgError(from, setting.line, `there is no key '${setting.key}': the keys are ${KEYS.join(', ')}`);
    settings.set(key, setting);
  }
  const string = (key: Key): Atom | undefined => {
    const setting = settings.get(key);
    if (!setting) return undefined;
    if ('text' in setting.value) return { ...setting.value, line: setting.line };
    throw cfgError(from, setting.line, `'${key}' has to be a string`);
  };
  string('creationtime');
  const name = string('name');
  if (name?.text === '') throw cfgError(from, name.line, "'name' is empty");
  const memory = string('memory');
  return {
    name: name?.text,
    description: string('description')?.text,
    memory: memory && memoryOf(memory, from),
    disks: disksOf(settings.get('disk'), settings.get('disks'), from),
  };
}

function memoryOf({ text, line }: Atom, from: string): MemorySpec {
  if (text === 'yes') return { snapshot: 'internal' };
  if (text.startsWith('/')) return { snapshot: 'external', file: text };
  throw cfgError(
    from,
    line,
    `'memory' has to be "yes" or an absolute path, not "${text}"; for a snapshot of the disks alone leave it out`,
  );
}

function disksOf(disk: Setting | undefined, disks: Setting | undefined, from: string): readonly DiskSpec[] | undefined {
  if (disk && disks) throw cfgError(from, disks.line, `'disk' (line ${disk.line}) and 'disks' are the same key`);
  const given = disks ?? disk;
  if (!given) return undefined;
  if ('text' in given.value) throw cfgError(from, given.line, `'${given.key}' has to be a list`);
  const read = given.value.map((atom) => ({ ...diskOf(atom, from), line: atom.line }));
  const twice = read.find(({ name }, index) => read.findIndex((other) => other.name === name) < index);
  if (twice) throw cfgError(from, twice.line, `disk '${twice.name}' is named a second time`);
  return read.map(({ line: _, ...spec }) => spec);
}

/** `[FILE],[FORMAT],VDEV`, or the same by keys; `target=` takes the rest of the string, as in xl. */
function diskOf({ text, line }: Atom, from: string): DiskSpec {
  const refuse = (problem: string): Error => cfgError(from, line, `disk "${text}": ${problem}`);
  const [, head = '', target] = /^(?:(.*?)(?:^|,)\s*target=(.*)|.*)$/s.exec(text) ?? [];
  const values = new Map<DiskKey, string>(target === undefined ? [] : [['target', target]]);
  let place = 0;
  for (const part of target === undefined ? text.split(',') : head.split(',').filter((field) => field !== '')) {
    const [, key, value = ''] = /^\s*([a-z]+)=(.*?)\s*$/s.exec(part) ?? [];
    const known = DISK_KEYS.find((each) => each === (key ?? DISK_KEYS[place]));
    if (!known) throw refuse(`there is no '${part.trim()}' in it: it has a target, a format and a vdev`);
    if (values.has(known)) throw refuse(`'${known}' is given twice`);
    values.set(known, key === undefined ? part.trim() : value);
    if (key === undefined) place += 1;
  }
  const name = values.get('vdev');
  if (!name) throw refuse('the vdev is missing');
  const format = values.get('format') || undefined;
  const file = values.get('target') || undefined;
  if (file === undefined || file === 'null') return { name, snapshot: 'internal', driver: format };
  if (!file.startsWith('/')) throw refuse(`the target has to be an absolute path, not "${file}"`);
  return { name, snapshot: 'external', driver: format, stype: stypeOf(file), file };
}

/** libvirt's type of an overlay with this path. */
export function stypeOf(file: string): 'file' | 'block' {
  return file.startsWith('/dev/') ? 'block' : 'file';
}
