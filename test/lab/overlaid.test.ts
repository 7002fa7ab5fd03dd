/** A running guest on overlays that its libvirtd does not know, on real Xen: saved, restored and merged by plain virsh. */

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { LAB_TEST_TIMEOUT_MS, type LabGuest, useLab } from '../support/lab/lab.ts';

const lab = useLab();

const IMAGES = '/var/lib/libvirt/images';
const MANAGED = '/var/lib/libvirt/libxl/save';
const BASE = `${IMAGES}/overlaid.qcow2`;
const SAVED = `${IMAGES}/overlaid.saved`;
const GUEST: LabGuest = { name: 'overlaid', type: 'pvh', memoryMiB: 96, disks: [{ format: 'qcow2', path: BASE }] };
const { name } = GUEST;

const virsh = (...words: readonly string[]) => lab().ok(...words);
const tick = () => lab().ticks(name).at(-1) ?? 0;

/** Of all that a guest sees of the image. */
const hash = (image: string) =>
  lab().must(`qemu-img convert -U -O raw ${image} /run/lab/seen && sha256sum </run/lab/seen && rm /run/lab/seen`);

/** The image as libvirtd itself knows it. */
const known = async () =>
  (await lab().must(`virsh -c 'xen+unix:///system?socket=/run/libvirt/libvirt-sock' domblklist ${name}`)).trim();

/** The same run of the guest goes on: it was not booted. */
async function goesOn(): Promise<void> {
  const before = tick();
  await lab().waitForTick(name, before + 2);
  expect(lab().tickRuns(name)).toHaveLength(1);
}

async function onOverlay(overlay: string): Promise<string> {
  await virsh('snapshot-create-as', name, overlay, '--disk-only', '--atomic', '--no-metadata');
  const path = `${IMAGES}/overlaid.${overlay}`;
  expect(await virsh('domblklist', name)).toContain(path);
  expect(await known()).not.toContain(path);
  await goesOn();
  return path;
}

beforeAll(async () => {
  await lab().startLibvirtd();
  await lab().startXlsnapd();
  await lab().defineGuest(GUEST);
  await lab().startGuest(name);
  await lab().waitForTick(name, 3);
}, LAB_TEST_TIMEOUT_MS);

afterAll(async () => {
  await lab().sh(
    `virsh -c xen:///system destroy ${name}; virsh -c xen:///system undefine ${name}; rm -f ${IMAGES}/overlaid*`,
  );
}, LAB_TEST_TIMEOUT_MS);

test(
  'virsh save and restore keep it on its overlay, and its base is not written to',
  async () => {
    const overlay = await onOverlay('b1');
    const base = await lab().must(`sha256sum ${BASE}`);
    await virsh('save', name, SAVED);
    expect(await virsh('domstate', name)).toBe('shut off');
    expect(await lab().must(`ls ${IMAGES} | grep partial || true`)).toBe('');
    // Without xlsnapd, too.
    await lab().must(`virsh -c 'xen+unix:///system?socket=/run/libvirt/libvirt-sock' restore ${SAVED}`);
    await goesOn();
    expect(await known()).toContain(overlay);
    expect(await lab().must(`sha256sum ${BASE}`)).toBe(base);
  },
  LAB_TEST_TIMEOUT_MS,
);

test(
  'a managed save resumes on its overlay',
  async () => {
    const overlay = await onOverlay('b2');
    await virsh('managedsave', name);
    expect(await virsh('dominfo', name)).toMatch(/^Managed save: +yes$/m);
    expect((await lab().must(`ls -A ${MANAGED}`)).trim()).toBe(`${name}.save`);
    await virsh('start', name);
    await goesOn();
    expect(await known()).toContain(overlay);
    expect(await lab().must(`ls -A ${MANAGED}`)).toBe('');
  },
  LAB_TEST_TIMEOUT_MS,
);

test(
  'a migration is refused, and the command that the message has merges the overlays; the data is the same',
  async () => {
    const overlay = await onOverlay('b3');
    const refused = await lab().refused('migrate', '--live', '--p2p', name, 'xen+ssh://other/system');
    expect(refused).toContain(`virsh blockcommit ${name} xvda --active --pivot --base ${IMAGES}/overlaid.b2`);
    await virsh('suspend', name);
    const seen = await hash(overlay);
    await virsh('blockcommit', name, 'xvda', '--active', '--pivot', '--delete');
    expect(await hash(BASE)).toBe(seen);
    expect(await virsh('domblklist', name)).toContain(BASE);
    expect(await virsh('domblklist', name, '--inactive')).toContain(BASE);
    await virsh('resume', name);
    await goesOn();
    await virsh('shutdown', name);
    await lab().must(`until_true 120 shut_off ${name}`);
    await lab().must(`qemu-img check ${BASE}`);
    expect([tick(), tick() - 1]).toContain(await lab().diskCount(BASE));
  },
  LAB_TEST_TIMEOUT_MS,
);
