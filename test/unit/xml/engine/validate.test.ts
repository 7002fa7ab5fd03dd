import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { LIBVIRT_SCHEMA, OWN_SCHEMA, validateSnapshot } from '../../../../src/xml/engine/validate.ts';
import { virshRefusal } from '../../../support/xml/virsh-document.ts';

const CORPUS = join(import.meta.dirname, '../../../../../shared/corpus');
const TESTS = 'libvirt-9.0.0/tests';
const DOCUMENTS = [
  `${TESTS}/qemudomainsnapshotxml2xmlin`,
  `${TESTS}/qemudomainsnapshotxml2xmlout`,
  'libvirt-9.0.0/docs',
  'oracle-stored/stored',
  'oracle-stored/dumpxml',
].flatMap((folder) =>
  readdirSync(join(CORPUS, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.xml'))
    .map((name) => join(folder, name)),
);

describe('a document against the installed schema', () => {
  test.each([
    '<domainsnapshot>\n  <name>x</name>\n  <bogus/>\n</domainsnapshot>',
    "<domainsnapshot><disks><disk name='a' snapshot='bogus'/></disks></domainsnapshot>",
    "<domainsnapshot><memory snapshot='internal' file='/x'/></domainsnapshot>",
    '<domainsnapshot><name>a</name><name>b</name></domainsnapshot>',
    '<domainsnapshot a="b"/>',
    '<foo/>',
    '<domainsnapshot>',
  ])('is refused in libvirt’s words: %s', async (document) => {
    const said = virshRefusal(document, '--validate');
    expect(said).toBeDefined();
    await expect(validateSnapshot(document)).rejects.toMatchObject({
      name: 'LibvirtError',
      message: expect.stringMatching(/./),
    });
    await expect(validateSnapshot(document)).rejects.toThrow(said?.trimEnd());
  });

  test('is taken', async () => {
    await expect(validateSnapshot('<domainsnapshot><name>x</name></domainsnapshot>')).resolves.toBeUndefined();
  });

  test.each(DOCUMENTS.filter((name) => name.startsWith(TESTS)))('%s: libvirt’s verdict', async (name) => {
    const verdict = validateSnapshot(readFileSync(join(CORPUS, name), 'utf8'));
    if (name.includes('invalid')) await expect(verdict).rejects.toMatchObject({ code: 'XML_INVALID_SCHEMA' });
    else await expect(verdict).resolves.toBeUndefined();
  });
});

describe('our own schema', () => {
  const verdict = async (document: string, schema: string): Promise<boolean> =>
    await validateSnapshot(document, schema).then(
      () => true,
      (error) => {
        if (error.code !== 'XML_INVALID_SCHEMA') throw error;
        return false;
      },
    );

  test('there are as many documents as the corpus has', () => {
    expect(DOCUMENTS).toHaveLength(49);
  });

  test.each(DOCUMENTS)('%s: the same verdict as libvirt’s', async (name) => {
    const document = readFileSync(join(CORPUS, name), 'utf8');
    expect(await verdict(document, OWN_SCHEMA)).toBe(await verdict(document, LIBVIRT_SCHEMA));
  });

  /** Of encryption, libvirt 9.0's schema lacks a format and all secrets but one. */
  const SINCE_11 = /luks-any|<secret [^>]*\/><secret /;

  const recorded: readonly { readonly disk: string }[] = JSON.parse(
    readFileSync(join(import.meta.dirname, '../../../../fixtures/xml/disk-sources.json'), 'utf8'),
  );

  test.each(recorded)('the same verdict as libvirt’s: $disk', async ({ disk }) => {
    const document = `<domainsnapshot><disks>${disk}</disks></domainsnapshot>`;
    const taken = await verdict(document, LIBVIRT_SCHEMA);
    expect(await verdict(document, OWN_SCHEMA)).toBe(taken || SINCE_11.test(disk));
  });

  test('takes what newer libvirts print: revertDisks, a delete in progress, pmsuspended', async () => {
    const document = `<domainsnapshot><state>pmsuspended</state><revertDisks>
      <disk name='vda' snapshot='external'><snapshotDeleteInProgress/><source file='/a'/></disk>
      </revertDisks></domainsnapshot>`;
    expect(await verdict(document, OWN_SCHEMA)).toBe(true);
    expect(await verdict(document, LIBVIRT_SCHEMA)).toBe(false);
  });

  test('says what it is', async () => {
    await expect(validateSnapshot('<domainsnapshot><x/></domainsnapshot>', OWN_SCHEMA)).rejects.toThrow(
      `XML document failed to validate against schema: Unable to validate doc against ${OWN_SCHEMA}\n`,
    );
  });

  test('a schema that is none is our own fault, not the document’s', async () => {
    const noSchema = join(CORPUS, TESTS, 'qemudomainsnapshotxml2xmlin/empty.xml');
    await expect(validateSnapshot('<domainsnapshot/>', noSchema)).rejects.not.toMatchObject({
      code: 'XML_INVALID_SCHEMA',
    });
  });
});
