/** Farms that define the same domain again and again, as openQA's svirt backend does: nothing of a former round is in the way. */

import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, jest, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { definitionOf, newImage, qemuImg } from '../support/hosts/embedded.ts';

jest.setTimeout(60_000);

const UUID = '0a0a0a0a-1111-4222-8333-444444444444';

let home: string;
let daemon: Xlsnapd;

const image = () => join(home, 'sut.qcow2');
const memory = async () => (await readdir(join(home, 'memory', UUID)).catch(() => [])).sort();

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  daemon = await Xlsnapd.start({ home });
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

beforeEach(async () => {
  await rm(image(), { force: true });
  await rm(join(home, 'memory', UUID), { recursive: true, force: true });
});

/** Defines and starts the system under test on its image. */
async function provision(): Promise<void> {
  const xml = join(home, 'sut.xml');
  await writeFile(xml, definitionOf('SUT', UUID, { xvda: image() }));
  await daemon.ok('define', xml);
  await daemon.ok('start', 'SUT');
}

async function giveUp(): Promise<void> {
  await daemon.ok('destroy', 'SUT');
  await daemon.ok('undefine', 'SUT', '--snapshots-metadata');
}

test('case 13: three rounds of snapshots leave the files of one', async () => {
  for (let round = 1; round <= 3; round += 1) {
    await rm(image(), { force: true });
    await newImage(image());
    await provision();
    await daemon.ok('snapshot-create-as', 'SUT', 'lastgood');
    await daemon.ok('snapshot-create-as', 'SUT', `step-${round}`);
    await daemon.ok('snapshot-revert', 'SUT', 'lastgood');
    expect(await memory()).toEqual(['lastgood.save', `step-${round}.save`]);
    await giveUp();
  }
});

test('case 13: three rounds of a transient domain leave the files of one', async () => {
  const xml = join(home, 'sut.xml');
  await writeFile(xml, definitionOf('SUT', UUID, { xvda: image() }));
  for (let round = 1; round <= 3; round += 1) {
    await rm(image(), { force: true });
    await newImage(image());
    await daemon.ok('create', xml);
    await daemon.ok('snapshot-create-as', 'SUT', 'lastgood');
    expect(await memory()).toEqual(['lastgood.save']);
    await daemon.ok('destroy', 'SUT');
  }
});

test('a snapshot that the image still holds is not overwritten, nor removed by another', async () => {
  await newImage(image());
  await provision();
  await daemon.ok('snapshot-create-as', 'SUT', 'lastgood');
  await giveUp();
  await provision();
  expect(await daemon.refused('snapshot-create-as', 'SUT', 'lastgood')).toContain(
    `disk 'xvda' already has an internal snapshot 'lastgood' in '${image()}'`,
  );
  await daemon.ok('snapshot-create-as', 'SUT', 'other');
  expect(await memory()).toEqual(['lastgood.save', 'other.save']);
  await giveUp();
});

test('memory whose image is missing is kept, but for the name that is taken again', async () => {
  await newImage(image());
  await provision();
  await daemon.ok('snapshot-create-as', 'SUT', 'lastgood');
  await daemon.ok('snapshot-create-as', 'SUT', 'second');
  await giveUp();
  const away = join(home, 'sut.away');
  await rename(image(), away);
  const xml = join(home, 'other.xml');
  await newImage(join(home, 'other.qcow2'));
  await writeFile(xml, definitionOf('SUT', UUID, { xvda: join(home, 'other.qcow2') }));
  await daemon.ok('define', xml);
  await daemon.ok('start', 'SUT');
  await daemon.ok('snapshot-create-as', 'SUT', 'lastgood');
  expect(await memory()).toEqual(['lastgood.save', 'second.save']);
  expect(daemon.log).toContain("'lastgood' of domain 'SUT', which has no metadata: its images are missing");
  await daemon.ok('snapshot-revert', 'SUT', 'lastgood');
  await giveUp();
  await rename(away, image());
  expect(await qemuImg('snapshot', '-l', image())).toContain('second');
});

test('an overlay of a former round is in the way, as in libvirt', async () => {
  await newImage(image());
  for (const expected of ['created', 'refused'] as const) {
    await provision();
    const words = ['snapshot-create-as', 'SUT', 'lastgood', '--disk-only'];
    if (expected === 'created') await daemon.ok(...words);
    else expect(await daemon.refused(...words)).toContain('already exists and is not a block device');
    await giveUp();
  }
});
