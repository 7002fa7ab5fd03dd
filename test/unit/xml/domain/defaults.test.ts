import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { withDefaults } from '../../../../src/xml/domain/defaults.ts';
import { parseDomain } from '../../../../src/xml/domain/domain.ts';
import { writeElement } from '../../../../src/xml/engine/write.ts';
import { readSnapshot } from '../../../../src/xml/snapshot/read.ts';
import { virshSession } from '../../../support/xml/virsh-document.ts';

const STORED = join(import.meta.dirname, '../../../../../shared/corpus/oracle-stored/stored');

const definition = (content: string, os = "<os><type arch='x86_64'>hvm</type></os>"): string =>
  `<domain type='test'><name>n</name><uuid>22222222-2222-3333-4444-777777777777</uuid>${os}${content}</domain>`;

describe('a definition that libvirt did not print becomes what it prints', () => {
  test.each([
    definition('<memory>1000</memory>'),
    definition("<memory unit='MB'>2</memory><currentMemory unit='MiB'>1</currentMemory>"),
    definition("<vcpu current='1'>2</vcpu><memory>1</memory>"),
    definition("<vcpu cpuset='0-1'>2</vcpu><memory>1</memory>"),
    definition("<on_crash>restart</on_crash><clock offset='localtime'/><title>t</title><memory>1</memory>"),
    definition('<features><acpi/></features><memory>1</memory><description>d</description>'),
    definition('<memory>1</memory>', "<os><type arch='i686'>hvm</type><bootmenu enable='yes'/></os>"),
    definition('<memory>1</memory>', "<os><boot dev='cdrom'/><type arch='i686' machine='q'>hvm</type></os>").replace(
      "<boot dev='cdrom'/><type arch='i686' machine='q'>hvm</type>",
      "<type arch='i686' machine='q'>hvm</type><boot dev='cdrom'/>",
    ),
    definition('<memory>1</memory>').replaceAll(/[-]|(?<=<uuid>)/g, ''),
    definition('<memory>1</memory><devices><emulator>/x</emulator></devices>'),
    definition('<memory>1</memory>', "<os><type arch='x86_64'>linux</type></os>"),
  ])('%s', (given) => {
    const printed = virshSession(given, 'dumpxml --inactive n');
    expect(writeElement(withDefaults(parseDomain(given)))).toBe(`${printed.trim()}\n`);
  });
});

describe('a definition that libvirt printed keeps its bytes', () => {
  test.each(readdirSync(STORED))('%s', (name) => {
    const { snapshot } = readSnapshot(readFileSync(join(STORED, name), 'utf8'), { internal: true });
    for (const given of [snapshot.domain, snapshot.inactiveDomain]) {
      if (given) expect(withDefaults(given.element)).toBe(given.element);
    }
    expect(snapshot.domain).toBeDefined();
  });
});

test('a per-device boot order is not joined by one of the domain', () => {
  const given = definition("<memory>1</memory><devices><disk><target dev='vda'/><boot order='1'/></disk></devices>");
  expect(writeElement(withDefaults(parseDomain(given)))).not.toContain("<boot dev='hd'/>");
});
