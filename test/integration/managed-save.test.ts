/** Domains that libvirtd has saved itself (virsh managedsave): old memory must not go on over disks that were reverted. */

import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { newImage } from '../support/hosts/embedded.ts';

const RISKY =
  'revert requires force: snapshot without memory state, ' +
  'removal of existing managed saved state strongly recommended to avoid corruption';

let libvirtd: Libvirtd;
let xlsnapd: Xlsnapd;
let home: string;

beforeAll(async () => {
  libvirtd = await startLibvirtd();
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  await chmod(home, 0o755);
  xlsnapd = await Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket] });
  const image = await newImage(join(home, 'a.qcow2'));
  const xml = join(home, 'd.xml');
  await writeFile(
    xml,
    `<domain type='test'><name>d</name><memory>4096</memory><os><type>hvm</type></os><devices>
     <disk type='file'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='vda'/></disk></devices></domain>`,
  );
  await xlsnapd.ok('define', xml);
  await xlsnapd.ok('snapshot-create-as', 'd', 'off');
  await xlsnapd.ok('start', 'd');
  await xlsnapd.ok('snapshot-create-as', 'd', 'run');
});

afterAll(async () => {
  await xlsnapd[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

beforeEach(async () => {
  if ((await xlsnapd.ok('domstate', 'd')) === 'shut off') await xlsnapd.ok('start', 'd');
  await xlsnapd.ok('managedsave', 'd');
});

const managedSave = async (): Promise<string | undefined> =>
  /^Managed save: +(\w+)$/m.exec(await xlsnapd.ok('dominfo', 'd'))?.[1];

test('a revert to a snapshot without memory needs --force, and then leaves the saved memory where it is', async () => {
  expect(await xlsnapd.refused('snapshot-revert', 'd', 'off')).toContain(RISKY);
  expect(await xlsnapd.refused('snapshot-revert', 'd', 'off', '--running')).toContain(RISKY);
  await xlsnapd.ok('snapshot-revert', 'd', 'off', '--force');
  expect([await xlsnapd.ok('domstate', 'd'), await managedSave()]).toEqual(['shut off', 'yes']);
});

test('one that boots the domain drops it: the guest would go on from there', async () => {
  await xlsnapd.ok('snapshot-revert', 'd', 'off', '--force', '--running');
  expect([await xlsnapd.ok('domstate', 'd'), await managedSave()]).toEqual(['running', 'no']);
});

test('a revert to a snapshot with memory needs no --force', async () => {
  await xlsnapd.ok('snapshot-revert', 'd', 'run');
  expect(await xlsnapd.ok('domstate', 'd')).toBe('running');
  // At a later start it would go on over what the guest has written since.
  expect(await managedSave()).toBe('no');
});

test('disks are not moved onto overlays, nor off them, under a managed save, which would resume on the images of before', async () => {
  const refusal = /while domain 'd' has a managed save, which would resume on the present images, is not supported/;
  expect(await xlsnapd.refused('snapshot-create-as', 'd', 'ext', '--disk-only')).toMatch(refusal);
  await xlsnapd.ok('managedsave-remove', 'd');
  await xlsnapd.ok('snapshot-create-as', 'd', 'ext', '--disk-only');
  await xlsnapd.ok('start', 'd');
  await xlsnapd.ok('managedsave', 'd');
  expect(await xlsnapd.refused('snapshot-delete', 'd', 'ext')).toMatch(refusal);
  expect(await managedSave()).toBe('yes');
  await xlsnapd.ok('managedsave-remove', 'd');
  await xlsnapd.ok('snapshot-delete', 'd', 'ext');
});
