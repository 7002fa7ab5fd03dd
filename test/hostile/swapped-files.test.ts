/**
 * Overlays and memory images in a folder whose owner, another user, puts links to a file of root's and files of its own in their
 * places all the time: root's file stays as it is, the guest's memory is not written into the user's files, and the guest runs.
 */

import { chmod, chown, lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { Attacker } from '../support/hostile/attacker.ts';
import { newImage } from '../support/hosts/embedded.ts';

const NOBODY = 65_534;
const ROUNDS = Number(process.env.XLSNAP_SWAP_ROUNDS ?? 2);
const PRECIOUS = 'precious\n'.repeat(1_000);

let daemon: Xlsnapd;
const precious = () => join(daemon.home, 'precious');
const users = () => join(daemon.home, 'users');
const overlay = () => join(users(), 'overlay');
const ram = () => join(users(), 'ram');

beforeAll(async () => {
  daemon = await Xlsnapd.start();
  await chmod(daemon.home, 0o755);
  await writeFile(precious(), PRECIOUS, { mode: 0o600 });
});

afterAll(async () => await daemon[Symbol.asyncDispose]());

/** A domain with a disk of root's, and an empty folder of user nobody. */
async function prepare(starts: boolean): Promise<void> {
  await rm(users(), { recursive: true, force: true });
  await mkdir(users());
  await chown(users(), NOBODY, NOBODY);
  const image = join(daemon.home, 'vm.qcow2');
  await rm(image, { force: true });
  await newImage(image);
  const xml = `<domain type='xen'><name>vm</name><memory>4096</memory><os><type>hvm</type></os><devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='xvda'/></disk>
  </devices></domain>`;
  await writeFile(join(daemon.home, 'vm.xml'), xml);
  await daemon.ok('define', join(daemon.home, 'vm.xml'));
  if (starts) await daemon.ok('start', 'vm');
}

async function remove(starts: boolean): Promise<void> {
  if (starts) await daemon.ok('destroy', 'vm');
  await daemon.ok('undefine', 'vm', '--snapshots-metadata');
}

/** What the user has put there, and may read. */
async function readable(): Promise<readonly string[]> {
  const files = (await readdir(users())).map((name) => join(users(), name));
  const found = await Promise.all(
    files.map(async (path) => ({ path, ...(await lstat(path)), file: await lstat(path) })),
  );
  return found.filter(({ file, uid, size }) => file.isFile() && uid === NOBODY && size > 0).map(({ path }) => path);
}

test.each([
  [
    'an overlay of a domain that is off',
    false,
    () => ['--disk-only', '--diskspec', `xvda,snapshot=external,file=${overlay()}`],
  ],
  [
    'an overlay of a running domain',
    true,
    () => ['--disk-only', '--diskspec', `xvda,snapshot=external,file=${overlay()}`],
  ],
  [
    'a named memory image',
    true,
    () => ['--memspec', `file=${ram()}`, '--diskspec', `xvda,file=${join(daemon.home, 'safe')}`],
  ],
] as const)('%s', async (_, starts, words) => {
  let swaps = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    await prepare(starts);
    {
      await using owner = await Attacker.start('swapper.mjs', users(), precious());
      await daemon.virsh('snapshot-create-as', 'vm', 's1', ...words());
      swaps += owner.said.split('swapped').length - 1;
    }
    expect(await readFile(precious(), 'utf8')).toBe(PRECIOUS);
    expect(await lstat(precious())).toMatchObject({ uid: 0, gid: 0, mode: 0o100600 });
    expect(await readable()).toEqual([]);
    expect(await daemon.ok('domstate', 'vm')).toBe(starts ? 'running' : 'shut off');
    await remove(starts);
    await rm(join(daemon.home, 'safe'), { force: true });
  }
  expect(swaps).toBeGreaterThan(0);
  await prepare(starts);
  await daemon.ok('snapshot-create-as', 'vm', 's1', ...words());
  await remove(starts);
  await rm(join(daemon.home, 'safe'), { force: true });
});
