/** What a revert needs besides disks and memory image, on real Xen: if it is not there, the guest that runs is not ended. */

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type LabGuest, useLab } from '../support/lab/lab.ts';

const lab = useLab((host) => host.stopXlsnapd());

const IMAGES = '/var/lib/libvirt/images';

const virsh = (...words: readonly string[]) => lab().ok(...words);
const refusal = (...words: readonly string[]) => lab().refused(...words);
const last = (name: string) => lab().ticks(name).at(-1) ?? 0;

beforeAll(async () => {
  await lab().startLibvirtd();
  await lab().startXlsnapd();
});

describe('an HVM guest with a CD-ROM drive', () => {
  const name = 'drive';
  const image = `${IMAGES}/drive.qcow2`;
  const media = ['cd1.iso', 'cd2.iso'].map((file) => `/run/lab/${file}`);
  const [cd1 = '', cd2 = ''] = media;

  const medium = async () => / hdc +(\S+)/.exec(await virsh('domblklist', name))?.[1];

  afterAll(() => lab().sh(`for what in destroy undefine; do virsh -c xen:///system $what ${name}; done`));

  test('cases 1 and 8: gets its medium of the snapshot’s moment back; while that file is gone it is not ended for a revert', async () => {
    const drive =
      `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='${cd1}'/>` +
      `<target dev='hdc' bus='ide'/><readonly/></disk>`;
    await lab().must(`
      for file in ${media.join(' ')}; do truncate -s 2M $file; done
      qemu-img create -q -f qcow2 ${image} 16M
      guest_xml ${name} hvm 96 qcow2:${image} | sed "s|</devices>|${drive}</devices>|" | virsh -c xen:///system define /dev/stdin`);
    await lab().startGuest(name);
    await lab().waitForTick(name, 3);
    await virsh('snapshot-create-as', name, 's1');
    const after = last(name);
    await virsh('change-media', name, 'hdc', cd2, '--update', '--live', '--config');
    await lab().waitForTick(name, after + 2);
    expect(await medium()).toBe(cd2);

    await lab().must(`mv ${cd1} ${cd1}.away`);
    const runs = lab().tickRuns(name).length;
    expect(await refusal('snapshot-revert', name, 's1')).toContain(
      `Requested operation is not valid: cannot open '${cd1}' (disk 'hdc')`,
    );
    await lab().waitForTick(name, last(name) + 1);
    expect(lab().tickRuns(name)).toHaveLength(runs);
    expect(await medium()).toBe(cd2);

    await lab().must(`mv ${cd1}.away ${cd1}`);
    await virsh('snapshot-revert', name, 's1');
    await lab().waitForTicks(name, () => lab().tickRuns(name).length > runs);
    expect(lab().tickRuns(name).at(-1)?.[0]).toBeLessThanOrEqual(after + 1);
    expect(await medium()).toBe(cd1);
    expect(await lab().must(`xl qemu-monitor-command ${name} 'info block'`)).toContain(cd1);
    await virsh('snapshot-delete', name, 's1');
  });
});

describe('a guest that has less memory than in its snapshot', () => {
  const guest: LabGuest = {
    name: 'shrunk',
    type: 'pvh',
    memoryMiB: 192,
    disks: [{ format: 'qcow2', path: `${IMAGES}/shrunk.qcow2` }],
  };
  const { name } = guest;

  afterAll(() =>
    lab().sh(`for guest in ${name} filler; do virsh -c xen:///system destroy $guest; done
      virsh -c xen:///system undefine ${name}`),
  );

  test('case D: is not ended for a revert while another guest has the rest, and comes back when that one has gone', async () => {
    await lab().defineGuest(guest);
    await lab().startGuest(name);
    await lab().waitForTick(name, 3);
    await virsh('snapshot-create-as', name, 's1');
    const after = last(name);
    await virsh('setmem', name, '96M', '--live');
    await lab().must(`
      is_small() { [ "$(xl list ${name} | awk 'NR == 2 { print $3 }')" -le 100 ]; }
      until_true 120 is_small || { fail 'its balloon does not grow'; exit; }
      free=$(xl info | awk '/^free_memory/ { print $3 }')
      guest_xml filler pvh $((free - 60)) | virsh -c xen:///system create /dev/stdin --paused`);
    const runs = lab().tickRuns(name).length;
    expect(await refusal('snapshot-revert', name, 's1')).toMatch(
      /^Failed to revert snapshot s1\nRequested operation is not valid: the host has too little memory for domain 'shrunk'/,
    );
    await lab().waitForTick(name, last(name) + 2);
    expect(lab().tickRuns(name)).toHaveLength(runs);
    await virsh('destroy', 'filler');
    await virsh('snapshot-revert', name, 's1');
    await lab().waitForTicks(name, () => lab().tickRuns(name).length > runs);
    expect(lab().tickRuns(name).at(-1)?.[0]).toBeLessThanOrEqual(after + 1);
    await virsh('snapshot-delete', name, 's1');
  });
});
