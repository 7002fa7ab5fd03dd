/**
 * Memory images that a libvirtd of root's writes and restores, in a folder whose owner, another user, puts other files in their
 * places: a domain never starts with the definition of another file, and its memory is not written into the user's.
 */

import { chmod, chown, lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type SystemLibvirtd, startSystemLibvirtd } from '../support/daemons/system-libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { Attacker } from '../support/hostile/attacker.ts';
import { newImage } from '../support/hosts/embedded.ts';
import { RawClient } from '../support/rpc/raw-client.ts';

const NOBODY = 65_534;
const ROUNDS = Number(process.env.XLSNAP_SWAP_ROUNDS ?? 2);
const UUID = '11111111-2222-3333-4444-777777777777';
const PRECIOUS = 'precious\n'.repeat(1_000);

let libvirtd: SystemLibvirtd;
let xlsnapd: Xlsnapd;
let keeper: RawClient;
const users = () => join(xlsnapd.home, 'users');
const ram = (name: string) => join(users(), name);
const precious = () => join(xlsnapd.home, 'precious');

beforeAll(async () => {
  libvirtd = await startSystemLibvirtd();
  // The test driver's domains live as long as somebody is connected.
  keeper = await RawClient.open(libvirtd.socket);
  xlsnapd = await Xlsnapd.start({ args: ['--upstream', libvirtd.socket] });
  await chmod(xlsnapd.home, 0o755);
  await newImage(join(xlsnapd.home, 'vm.qcow2'));
  await writeFile(precious(), PRECIOUS, { mode: 0o600 });
});

afterAll(async () => {
  await xlsnapd?.[Symbol.asyncDispose]();
  keeper?.[Symbol.dispose]();
  await libvirtd?.[Symbol.asyncDispose]();
});

beforeEach(async () => {
  await rm(users(), { recursive: true, force: true });
  await mkdir(users());
  await chown(users(), NOBODY, NOBODY);
});

/** Defines and starts the domain; its title shows later which definition it was started with. */
async function start(title: string): Promise<void> {
  const xml = `<domain type='test'><name>vm</name><uuid>${UUID}</uuid><title>${title}</title><memory>4096</memory>
    <os><type>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
    <source file='${join(xlsnapd.home, 'vm.qcow2')}'/><target dev='vda'/></disk></devices></domain>`;
  await writeFile(join(xlsnapd.home, 'vm.xml'), xml);
  await xlsnapd.ok('define', join(xlsnapd.home, 'vm.xml'));
  await xlsnapd.ok('start', 'vm');
}

async function remove(): Promise<void> {
  await xlsnapd.virsh('destroy', 'vm');
  await xlsnapd.ok('undefine', 'vm', '--snapshots-metadata', '--managed-save');
}

const snapshot = (name: string) =>
  ['snapshot-create-as', 'vm', name, '--memspec', ram(name), '--diskspec', 'vda,snapshot=no'] as const;

test('a revert starts the definition of its snapshot, whichever image is in place of its own meanwhile', async () => {
  await start('evil');
  await xlsnapd.ok(...snapshot('other'));
  await xlsnapd.ok('destroy', 'vm');
  await start('good');
  await xlsnapd.ok(...snapshot('s1'));
  const images = await Promise.all(
    ['s1', 'other'].map(async (name) => [ram(name), await readFile(ram(name))] as const),
  );
  for (let round = 0; round < ROUNDS * 2; round += 1) {
    for (const [path, bytes] of images) await writeFile(path, bytes, { mode: 0o600 });
    {
      await using _owner = await Attacker.start('exchanger.mjs', ram('s1'), ram('other'));
      await xlsnapd.virsh('snapshot-revert', 'vm', 's1');
    }
    const { stdout, status } = await xlsnapd.virsh('dumpxml', 'vm', '--xpath', '/domain[@id]/title/text()');
    if (status === 0) expect(stdout).toBe('good');
    await rm(`${ram('s1')}.away`, { force: true });
  }
  await remove();
});

test('an image that the user can write to is refused before the domain is touched', async () => {
  await start('good');
  await xlsnapd.ok(...snapshot('s1'));
  await chown(ram('s1'), NOBODY, NOBODY);
  const refused = await xlsnapd.refused('snapshot-revert', 'vm', 's1');
  expect(refused).toContain(`memory image '${ram('s1')}' belongs to user ${NOBODY}`);
  expect(refused).toContain(`run: chown root:root ${ram('s1')}; chmod 600 ${ram('s1')}`);
  await chown(ram('s1'), 0, 0);
  await chmod(ram('s1'), 0o620);
  expect(await xlsnapd.refused('snapshot-revert', 'vm', 's1')).toContain('can be written to by others than its owner');
  expect(await xlsnapd.ok('domstate', 'vm')).toBe('running');
  await chmod(ram('s1'), 0o600);
  await xlsnapd.ok('snapshot-revert', 'vm', 's1');
  await remove();
});

test('libvirtd saves into the file that was made for it, and the domain comes back from there', async () => {
  for (let round = 0; round < ROUNDS; round += 1) {
    await start('good');
    {
      await using _owner = await Attacker.start('swapper.mjs', users(), precious());
      await xlsnapd.virsh(...snapshot('s1'));
    }
    expect(await readFile(precious(), 'utf8')).toBe(PRECIOUS);
    const files = await readdir(users());
    const found = await Promise.all(files.map((name) => lstat(ram(name))));
    expect(found.filter((file) => file.isFile() && file.uid === NOBODY && file.size > 0)).toEqual([]);
    expect(await xlsnapd.ok('domstate', 'vm')).toBe('running');
    await remove();
    for (const name of await readdir(users())) await rm(ram(name));
  }
});
