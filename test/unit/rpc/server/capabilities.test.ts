import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { announceSnapshots, SNAPSHOT_FEATURES } from '../../../../src/rpc/server/capabilities.ts';
import { capabilities } from '../../../../src/rpc/server/node-info.ts';

const guest = (features: string): string => `  <guest>
    <os_type>xen</os_type>
    <arch name='x86_64'>
      <wordsize>64</wordsize>
      <emulator>/usr/lib/xen-4.17/bin/qemu-system-i386</emulator>
      <machine>xenpv</machine>
      <domain type='xen'/>
    </arch>
${features}  </guest>
`;

const document = (...guests: readonly string[]): string => `<capabilities>

  <host>
    <cpu>
      <arch>x86_64</arch>
      <features>
        <pae/>
      </features>
    </cpu>
  </host>

${guests.join('\n')}
</capabilities>
`;

const HVM = guest(`    <features>
      <pae/>
      <nonpae/>
      <acpi default='on' toggle='yes'/>
      <apic default='on' toggle='no'/>
      <hap default='on' toggle='yes'/>
    </features>
`);
const PV = guest('');

/** Of Debian's libvirt0. */
const SCHEMA = '/usr/share/libvirt/schemas/capability.rng';
const KNOWS_EXTERNAL = readFileSync(SCHEMA, 'utf8').includes('externalSnapshot');

/** libvirt's own word on the document. Libvirt before 9.9 does not know the feature; its clients do not look at it. */
function validate(xml: string): void {
  const input = KNOWS_EXTERNAL ? xml : xml.replaceAll(/ *<externalSnapshot\/>\n/g, '');
  execFileSync('xmllint', ['--noout', '--relaxng', SCHEMA, '-'], { input, stdio: ['pipe', 'ignore', 'pipe'] });
}

test('every guest says so once, beside or without other features, and nothing else changes', () => {
  const before = document(HVM, PV, guest('    <features/>\n'));
  const after = announceSnapshots(before);
  expect(after.match(/<disksnapshot default='on' toggle='no'\/>/g)).toHaveLength(3);
  expect(after.match(/<externalSnapshot\/>/g)).toHaveLength(3);
  validate(after);
  const lines = SNAPSHOT_FEATURES.map((feature) => `      ${feature}\n`).join('');
  expect(after.replaceAll(lines, '').replaceAll('    <features>\n    </features>\n', '')).toBe(document(HVM, PV, PV));
});

test('a guest that has it already, and a document without guests, stay as they are', () => {
  const announced = announceSnapshots(document(HVM));
  expect(announceSnapshots(announced)).toBe(announced);
  expect(announceSnapshots(document())).toBe(document());
  expect(announceSnapshots('nonsense')).toBe('nonsense');
});

test('a guest that has one of them gets the other', () => {
  const [disk, external] = SNAPSHOT_FEATURES;
  const after = announceSnapshots(document(guest(`    <features>\n      ${disk}\n    </features>\n`)));
  expect(after).toContain(`      ${disk}\n      ${external}\n    </features>`);
  validate(after);
});

test('what the standalone says is valid, and has both', () => {
  const said = capabilities([
    { osType: 'hvm', machine: 'xenfv', types: ['xen', 'test'] },
    { osType: 'xen', types: ['xen'] },
  ]);
  validate(said);
  expect(announceSnapshots(said)).toBe(said);
  expect(said).toContain('<externalSnapshot/>');
});
