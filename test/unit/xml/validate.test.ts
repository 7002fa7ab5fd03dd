import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { validateSnapshot } from '../../../src/xml/validate.ts';
import { virshRefusal } from './virsh.ts';

const FOLDERS = ['qemudomainsnapshotxml2xmlin', 'qemudomainsnapshotxml2xmlout'];
const CORPUS = join(import.meta.dirname, '../../../../shared/corpus/libvirt-9.0.0/tests');

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

  const documents = FOLDERS.flatMap((folder) => readdirSync(join(CORPUS, folder)).map((name) => join(folder, name)));

  test.each(documents)('%s: libvirt’s verdict', async (name) => {
    const verdict = validateSnapshot(readFileSync(join(CORPUS, name), 'utf8'));
    if (name.includes('invalid')) await expect(verdict).rejects.toMatchObject({ code: 'XML_INVALID_SCHEMA' });
    else await expect(verdict).resolves.toBeUndefined();
  });
});

test('without a schema validation is refused, and the message says what is missing', async () => {
  await expect(validateSnapshot('<domainsnapshot/>', '/nonexistent/domainsnapshot.rng')).rejects.toMatchObject({
    code: 'CONFIG_UNSUPPORTED',
    message: expect.stringContaining("'/nonexistent/domainsnapshot.rng'"),
  });
});
