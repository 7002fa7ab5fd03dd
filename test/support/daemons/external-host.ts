/** The embedded host's domain with one disk, anew for each test. */

import { access, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach } from '@jest/globals';
import { Xlsnapd } from './xlsnapd.ts';

/** Of the test that runs now. */
export let host: Xlsnapd;

export const file = (name: string) => join(host.home, 'state', name);
export const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
/** Images, without sockets and the like. */
export const images = async () =>
  (await readdir(join(host.home, 'state'))).filter((name) => /^test\./.test(name)).sort();
export const source = async () =>
  (await host.ok('domblklist', 'test')).split('\n').slice(2).join('').trim().split(/\s+/)[1];
export const inactiveSource = async () =>
  (await host.ok('domblklist', 'test', '--inactive')).split('\n').slice(2).join('').trim().split(/\s+/)[1];
export const create = (...args: readonly string[]) => host.ok('snapshot-create-as', 'test', ...args);
export const diskOnly = (name: string, ...args: readonly string[]) => create(name, '--disk-only', ...args);

/** A second domain, `other`, that is off and has this image as its disk. */
export async function defineOther(image: string): Promise<void> {
  const path = file('other.xml');
  await writeFile(
    path,
    `<domain type='xen'><name>other</name><memory unit='MiB'>1</memory>
      <os><type machine='xenpvh'>xenpvh</type><kernel>/boot/vmlinuz</kernel></os><devices>
        <disk type='file'><driver name='qemu' type='qcow2'/><source file='${file(image)}'/><target dev='xvda' bus='xen'/></disk>
      </devices></domain>`,
  );
  await host.ok('define', path);
}

beforeEach(async () => {
  host = await Xlsnapd.start();
});

afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await rm(host.home, { recursive: true, force: true });
});
