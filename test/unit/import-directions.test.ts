import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from '@jest/globals';

const SRC = resolve(import.meta.dirname, '../../src');
const UNIT = import.meta.dirname;

/**
 * Which rooms of src a room may import from; `room/wing` names one folder in it. A wing that has a line of its own obeys
 * that one. Its own room, `errors.ts`, `version.ts` and `model` are open to all but model itself.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  model: [],
  native: [],
  files: [],
  access: ['model', 'snapshots'],
  xml: ['model'],
  disks: ['model', 'files'],
  memory: ['model', 'files', 'disks'],
  libxl: ['model', 'native', 'files', 'disks', 'memory'],
  store: ['model', 'xml', 'snapshots'],
  snapshots: ['model', 'xml', 'files'],
  hosts: ['model', 'xml', 'snapshots', 'libxl', 'files', 'disks', 'memory'],
  'hosts/embedded': ['model', 'xml', 'snapshots', 'files', 'disks', 'memory'],
  rpc: ['model', 'access', 'snapshots'],
  dbus: ['model', 'access', 'snapshots'],
  // Writes documents and reads none: a program that uses it loads no package.
  client: ['model', 'xml/engine', 'rpc'],
  cli: ['model', 'xml', 'access', 'rpc', 'client', 'disks', 'memory', 'store'],
  'cli/libxl-json': ['model', 'xml', 'libxl', 'memory', 'rpc', 'client', 'disks', 'store'],
  daemon: [
    'model',
    'native',
    'xml',
    'files',
    'disks',
    'memory',
    'libxl',
    'store',
    'snapshots',
    'hosts',
    'access',
    'rpc',
    'dbus',
  ],
};

/** Files of another room, or folders, that may be imported for their types alone. */
const TYPES_ONLY: Readonly<Record<string, readonly string[]>> = {
  store: ['snapshots/ports/', 'snapshots/block-jobs/ports.ts'],
  hosts: ['snapshots/ports/', 'snapshots/block-jobs/ports.ts'],
  access: ['snapshots/api.ts'],
  rpc: ['snapshots/api.ts', 'snapshots/ports/', 'snapshots/block-jobs/ports.ts'],
  dbus: ['snapshots/api.ts', 'snapshots/ports/'],
};

/** The one room each of these packages may be imported in. */
const PACKAGE_ROOMS: Readonly<Record<string, string>> = { koffi: 'native', 'dbus-next': 'dbus', 'libxml2-wasm': 'xml' };

const IMPORT = /^\s*(?:import|export)\s+(type\s)?[^'"]*?from\s+['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)/gm;

interface Import {
  readonly file: string;
  readonly room: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

const imports: readonly Import[] = sources.flatMap((file) =>
  [...readFileSync(join(SRC, file), 'utf8').matchAll(IMPORT)].map((match) => {
    const specifier = match[2] ?? match[3] ?? '';
    const target = specifier.startsWith('.') ? relative(SRC, resolve(SRC, dirname(file), specifier)) : specifier;
    return { file, room: file.split('/')[0] ?? '', target, typeOnly: match[1] !== undefined };
  }),
);

/** The line of the table that a file goes by: its wing's, or its room's. */
function ruleOf(file: string): string {
  const [room = '', wing = ''] = file.split('/');
  const both = `${room}/${wing}`;
  return both in MAY_IMPORT ? both : room;
}

test('the rooms of src exist and every file lies in one of them', () => {
  const rooms = new Set(sources.map((file) => file.split('/')[0]));
  for (const room of rooms) expect([...Object.keys(MAY_IMPORT), 'index.ts', 'errors.ts', 'version.ts']).toContain(room);
  expect(imports.length).toBeGreaterThan(50);
});

test('imports between rooms go one way only', () => {
  const wrong = imports.filter(({ file, room, target, typeOnly }) => {
    const rule = ruleOf(file);
    const allowed = MAY_IMPORT[rule];
    const [targetRoom = '', targetWing = ''] = target.split('/');
    if (!allowed || !target.endsWith('.ts') || target === 'errors.ts' || target === 'version.ts') return false;
    if (targetRoom === room) return false;
    if (!allowed.includes(targetRoom)) return !allowed.includes(`${targetRoom}/${targetWing}`);
    const restricted = targetRoom === 'snapshots' ? TYPES_ONLY[room] : undefined;
    return (
      restricted !== undefined &&
      !(typeOnly && restricted.some((each) => (each.endsWith('/') ? target.startsWith(each) : target === each)))
    );
  });
  expect(wrong).toEqual([]);
});

/** Wings of one room that must not know another of it. */
const WINGS_APART: readonly (readonly [from: string, to: string])[] = [
  ['hosts/embedded', 'hosts/libvirt'],
  ['hosts/libvirt', 'hosts/embedded'],
  ['hosts/xl', 'hosts/libvirt'],
  ['hosts/xl', 'hosts/embedded'],
  ['hosts/libvirt', 'hosts/xl'],
  ['hosts/embedded', 'hosts/xl'],
  ['rpc/wire', 'rpc/server'],
  ['rpc/wire', 'rpc/proxy'],
  ['rpc/wire', 'rpc/client'],
  ['rpc/server', 'rpc/proxy'],
  ['rpc/client', 'rpc/server'],
  ['rpc/client', 'rpc/proxy'],
  ['snapshots/create', 'snapshots/revert'],
  ['snapshots/create', 'snapshots/delete'],
  ['snapshots/delete', 'snapshots/revert'],
  ['snapshots/chains', 'snapshots/create'],
  ['snapshots/chains', 'snapshots/revert'],
  ['snapshots/chains', 'snapshots/delete'],
  ['snapshots/chains', 'snapshots/block-jobs'],
  ['snapshots/block-jobs', 'snapshots/create'],
  ['snapshots/block-jobs', 'snapshots/revert'],
  ['snapshots/block-jobs', 'snapshots/delete'],
];

test('wings of one room that have nothing to do with each other stay apart', () => {
  const between = ([from, to]: readonly [string, string]) =>
    imports.filter(({ file, target }) => file.startsWith(`${from}/`) && target.startsWith(`${to}/`));
  expect(WINGS_APART.flatMap(between)).toEqual([]);
});

test('no folder of src has more than 15 source files', () => {
  const folders = sources.map((file) => dirname(file));
  const full = folders.filter((folder) => folders.filter((each) => each === folder).length > 15);
  expect(full).toEqual([]);
});

test('test/unit has the folders of src, and no helpers', () => {
  const unit = readdirSync(UNIT, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const folders = new Set(sources.map((file) => dirname(file)));
  const rooms = new Set([...folders].map((folder) => folder.split('/')[0]));
  expect(unit.filter((file) => !file.endsWith('.test.ts'))).toEqual([]);
  expect(unit.filter((file) => !folders.has(dirname(file)) && !rooms.has(dirname(file)))).toEqual([]);
});

test('no file imports itself, through whatever others', () => {
  const importsOf = new Map(sources.map((file) => [file, imports.filter((each) => each.file === file)]));
  const reached = (file: string, seen = new Set<string>()): ReadonlySet<string> => {
    for (const { target } of importsOf.get(file) ?? []) {
      if (seen.has(target)) continue;
      seen.add(target);
      reached(target, seen);
    }
    return seen;
  };
  expect(sources.filter((file) => reached(file).has(file))).toEqual([]);
});

test('koffi, dbus-next and the XML engine are each imported in one room', () => {
  const wrong = imports.filter(({ room, target }) => target in PACKAGE_ROOMS && PACKAGE_ROOMS[target] !== room);
  expect(wrong).toEqual([]);
});

test('index.ts only re-exports', () => {
  const lines = readFileSync(join(SRC, 'index.ts'), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
  expect(lines.replace(/export\s+(type\s+)?(\*|\{[^}]*\})\s+from\s+'[^']+';/g, '').trim()).toBe('');
});
