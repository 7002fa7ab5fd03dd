/** The embedded host's domain with one disk, anew for each test. */

import { access, readdir, rm } from 'node:fs/promises';
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

beforeEach(async () => {
  host = await Xlsnapd.start();
});

afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await rm(host.home, { recursive: true, force: true });
});
