import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { accessSettings, confOf, readAccessSettings } from '../../../src/access/libvirtd-conf.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';

const DEFAULTS = { write: 'polkit', readOnly: 'polkit', acl: false };

test.each([
  ['', DEFAULTS],
  ['#auth_unix_rw = "none"\n#access_drivers = [ "polkit" ]\n', DEFAULTS],
  ['auth_unix_rw = "none"\nauth_unix_ro="sasl"\n', { write: 'none', readOnly: 'sasl', acl: false }],
  ['auth_unix_rw = "none"\nauth_unix_rw = "polkit"\n', DEFAULTS],
  ['access_drivers = [ "polkit" ]', { ...DEFAULTS, acl: true }],
  ['access_drivers = [\n  "nop",\n  "polkit",\n]\n', { ...DEFAULTS, acl: true }],
  ['access_drivers = [ "nop" ] # "polkit"\n', DEFAULTS],
] as const)('%j', (text, settings) => {
  expect(accessSettings(text)).toEqual(settings);
});

test('another word for a scheme is refused as libvirtd refuses it', () => {
  expect(() => accessSettings('auth_unix_rw = "open"')).toThrow('unsupported configuration: unsupported auth open');
});

test('a daemon without a file has the defaults, and a file that cannot be read is an error', async () => {
  expect(await readAccessSettings('/nowhere/libvirtd.conf')).toEqual(DEFAULTS);
  await expect(readAccessSettings('/')).rejects.toThrow("Failed to open file '/'");
});

test('a file that says what cannot be is refused for that, and not as one that cannot be opened', async () => {
  await using folder = await scratchFolder();
  const path = join(folder.path, 'libvirtd.conf');
  await writeFile(path, 'auth_unix_rw = "open"\n');
  await expect(readAccessSettings(path)).rejects.toMatchObject({ detail: 'unsupported auth open' });
});

test('the file is that of the daemon whose socket it is', () => {
  expect(confOf('/run/libvirt/libvirt-sock')).toBe('/etc/libvirt/libvirtd.conf');
  expect(confOf('/run/libvirt/virtxend-upstream-sock')).toBe('/etc/libvirt/virtxend.conf');
});
