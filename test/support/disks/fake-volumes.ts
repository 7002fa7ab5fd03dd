/**
 * LVM and ZFS without a kernel that has them: programs of those names on PATH, which keep a state in a file and answer as
 * the real ones do. What the real ones do with it is the lab's to show; here it is which commands are given, in which
 * order, and what comes of an interruption.
 */

import { copyFile, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { scratchFolder } from '../hosts/embedded.ts';

interface FakeVolume {
  readonly contents: string;
  /** Of LVM: name of its thin pool. */
  readonly pool?: string;
  readonly origin?: string;
  readonly tags?: readonly string[];
  readonly open?: boolean;
  readonly inactive?: boolean;
  readonly invalid?: boolean;
  /** The snapshot that is being merged into it. */
  readonly merging?: string;
}

interface State {
  /** `vg/lv`, `pool/vm`, `pool/vm@snapshot`, oldest first. */
  volumes: Record<string, FakeVolume>;
  /** These commands (`lvrename 2`: the second one) fail before they do anything. */
  fail: readonly string[];
  /** Every command that changes something. */
  log: string[];
}

const PROGRAM = resolve(import.meta.dirname, '../fake_volumes.py');
const PROGRAMS = ['lvs', 'lvcreate', 'lvrename', 'lvremove', 'lvconvert', 'lvchange', 'zfs'];

/** The programs are found on PATH until it is disposed of. */
export async function fakeVolumes(volumes: Readonly<Record<string, FakeVolume>>) {
  const folder = await scratchFolder();
  const file = join(folder.path, 'state.json');
  const program = join(folder.path, 'program');
  await copyFile(PROGRAM, program);
  for (const name of PROGRAMS) await symlink(program, join(folder.path, name));
  const write = async (state: State) => {
    await writeFile(`${file}.new`, JSON.stringify(state));
    await rename(`${file}.new`, file);
  };
  const read = async (): Promise<State> => JSON.parse(await readFile(file, 'utf8')) as State;
  await write({ volumes, fail: [], log: [] });
  const { PATH } = process.env;
  process.env.PATH = `${folder.path}:${PATH}`;
  return {
    volumes: async () => (await read()).volumes,
    contents: async (name: string) => (await read()).volumes[name]?.contents,
    log: async () => (await read()).log,
    /** As a guest would. */
    change: async (name: string, change: Partial<FakeVolume>) => {
      const state = await read();
      state.volumes[name] = { contents: '', ...state.volumes[name], ...change };
      await write(state);
    },
    /** Counted from now on. */
    fail: async (...commands: readonly string[]) => write({ ...(await read()), fail: commands, log: [] }),
    [Symbol.asyncDispose]: async () => {
      process.env.PATH = PATH;
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** A disk on a volume, as libvirt's `<driver name='phy'/>` makes it. */
export function phy(vdev: string, pdev_path: string) {
  return { name: 's1', disk: { vdev, pdev_path, backend: 'phy' as const, format: 'raw' as const, readwrite: 1 } };
}
