import { execFileSync } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { announceSnapshots, DISK_SNAPSHOT } from '../../../../src/rpc/server/capabilities.ts';
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

/** libvirt's own word on the document. */
function validate(xml: string): void {
  execFileSync('xmllint', ['--noout', '--relaxng', SCHEMA, '-'], { input: xml, stdio: ['pipe', 'ignore', 'pipe'] });
}

test('every guest says so once, beside or without other features, and nothing else changes', () => {
  const before = document(HVM, PV, guest('    <features/>\n'));
  const after = announceSnapshots(before);
  expect(after.match(/<disksnapshot default='on' toggle='no'\/>/g)).toHaveLength(3);
  validate(after);
  const line = `      ${DISK_SNAPSHOT}\n`;
  expect(after.replaceAll(line, '').replaceAll('    <features>\n    </features>\n', '')).toBe(document(HVM, PV, PV));
});

test('a guest that has it already, and a document without guests, stay as they are', () => {
  const announced = announceSnapshots(document(HVM));
  expect(announceSnapshots(announced)).toBe(announced);
  expect(announceSnapshots(document())).toBe(document());
  expect(announceSnapshots('nonsense')).toBe('nonsense');
});

test('what the standalone says is valid, and promises no external snapshots', () => {
  const said = capabilities([
    { osType: 'hvm', machine: 'xenfv', types: ['xen', 'test'] },
    { osType: 'xen', types: ['xen'] },
  ]);
  validate(said);
  expect(announceSnapshots(said)).toBe(said);
  expect(said).not.toContain('externalSnapshot');
});
