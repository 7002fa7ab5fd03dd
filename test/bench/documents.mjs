// Reading and writing a snapshot document of 20 KiB.

import { readSnapshot } from '../../dist/xml/snapshot/read.js';
import { writeSnapshot } from '../../dist/xml/snapshot/write.js';

const SIZE = 20 * 1024;

const disk = (letters) => `
      <disk type='file' device='disk'>
        <driver name='qemu' type='qcow2'/>
        <source file='/srv/guests/with/a/longer/path/${letters}.qcow2'/>
        <target dev='xvd${letters}' bus='xen'/>
        <address type='drive' controller='0' bus='0' target='0' unit='1'/>
      </disk>`;

const letters = (index) =>
  (index < 26 ? '' : letters(Math.floor(index / 26) - 1)) + String.fromCharCode(97 + (index % 26));

/** A snapshot of a domain with so many disks that it has about `bytes` bytes. */
export function documentOf(bytes, name = 's', parent = undefined) {
  const count = Math.max(1, Math.round((bytes - 900) / disk('aa').length));
  const disks = Array.from({ length: count }, (_, index) => disk(letters(index))).join('');
  return `<domainsnapshot>
  <name>${name}</name>
  <state>running</state>
${parent === undefined ? '' : `  <parent>\n    <name>${parent}</name>\n  </parent>\n`}  <creationTime>1700000000</creationTime>
  <memory snapshot='internal'/>
  <disks>
    <disk name='xvda' snapshot='internal'/>
  </disks>
  <domain type='xen'>
    <name>guest</name>
    <uuid>11111111-2222-3333-4444-777777777777</uuid>
    <memory unit='KiB'>1048576</memory>
    <currentMemory unit='KiB'>1048576</currentMemory>
    <vcpu placement='static'>2</vcpu>
    <os>
      <type arch='x86_64' machine='xenpvh'>xenpvh</type>
    </os>
    <clock offset='utc'/>
    <on_poweroff>destroy</on_poweroff>
    <on_reboot>restart</on_reboot>
    <on_crash>destroy</on_crash>
    <devices>${disks}
    </devices>
  </domain>
  <active>0</active>
</domainsnapshot>
`;
}

const text = documentOf(SIZE);
const { snapshot } = readSnapshot(text, { internal: true });

const repeated = (work) => async (count) => {
  const start = performance.now();
  for (let i = 0; i < count; i++) work();
  return performance.now() - start;
};

export const title = `document of ${(text.length / 1024).toFixed(1)} KiB`;
export const rows = {
  read: repeated(() => readSnapshot(text, { internal: true })),
  write: repeated(() => writeSnapshot(snapshot, { secure: true, current: false })),
};
