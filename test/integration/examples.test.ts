/** The programs in examples/, with real images behind a real QEMU block layer, and the guest that stands in for Xen. */

import * as childProcess from 'node:child_process';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import * as mechanism from '../../src/index.ts';
import { domainSnapshotRestore, type RestoreOptions } from '../../src/libxl/restore.ts';
import { domainSnapshotSave, type SaveOptions } from '../../src/libxl/save.ts';
import { readMemoryImage } from '../../src/memory/image-file.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { hasPattern, nbdUri, writePattern } from '../support/hosts/embedded.ts';
import { guest } from '../support/libxl/guest.ts';

let vm: Awaited<ReturnType<typeof guest>>;
let example: typeof import('../../examples/snapshot-without-daemon.ts');
const { signal } = new AbortController();
const run = promisify(execFile);

/** The guest as the xl tool lists it; the tool itself only notes what it is asked for. */
beforeAll(async () => {
  vm = await guest();
  const disks = vm.disks.map(({ disk }) => ({ ...disk, specification: 'xen', discard_enable: 'True' }));
  const config = { c_info: { type: 'pvh', name: 'vm' }, b_info: { max_memkb: 4096, 'type.pvh': {} }, disks };
  await writeFile(join(vm.folder, 'list.json'), JSON.stringify([{ domid: vm.xen.domid, config }]));
  const xl = `#!/bin/sh\necho "$*" >> '${vm.folder}/asked'\n[ "$1" != list ] || cat '${vm.folder}/list.json'\n`;
  await writeFile(join(vm.folder, 'xl'), xl, { mode: 0o755 });
  const ours = (program: string, args: readonly string[]) =>
    run(program === 'xl' ? join(vm.folder, program) : program, args);
  const execFileOfTest = Object.assign(() => {}, { [promisify.custom]: ours });
  jest.unstable_mockModule('node:child_process', () => ({ ...childProcess, execFile: execFileOfTest }));
  jest.unstable_mockModule(
    'xlsnap',
    () => ({
      ...mechanism,
      domainSnapshotSave: (
        domid: number,
        name: string,
        args: mechanism.LibxlDomainSnapshotArgs,
        options: SaveOptions,
      ) => domainSnapshotSave(domid, name, args, options, vm.xen),
      domainSnapshotRestore: (snapshot: mechanism.LibxlDomainSnapshot, options: RestoreOptions) =>
        domainSnapshotRestore(snapshot, options, vm.xen),
    }),
    { virtual: true },
  );
  example = await import('../../examples/snapshot-without-daemon.ts');
});

afterAll(async () => {
  await vm[Symbol.asyncDispose]();
});

test('a guest of xl is saved, and made again as it was, without any daemon', async () => {
  const live = nbdUri(vm.daemon.nbdSocket, 'xvdb');
  await writePattern(live, 'raw', 1);
  expect(await example.save('vm', 's1', vm.folder, signal)).toBe(vm.xen.domid);
  expect(vm.xen.runs).toBe(true);
  for (const image of vm.images) expect(await snapshotsIn(image)).toEqual(['s1']);
  const { domainXml } = await readMemoryImage(join(vm.folder, 's1.save'));
  expect(mechanism.configOfDomainXml(domainXml)).toMatchObject({ c_info: { name: 'vm' }, disks: [{}, {}] });

  await writePattern(live, 'raw', 2);
  await vm.daemon[Symbol.asyncDispose]();
  vm.xen.guest = null;
  expect(await example.restore('s1', vm.folder, signal)).toBe(vm.xen.domid);
  expect(vm.xen.runs).toBe(true);
  expect(vm.xen.config).toMatchObject({ c_info: { name: 'vm', type: 'pvh' } });
  expect(await hasPattern(vm.images[1], 'qcow2', 1)).toBe(true);
  expect(await readFile(join(vm.folder, 'asked'), 'utf8')).toBe('list --long\nlist --long\ndestroy -- vm\n');
});

test('a guest that is not there is named', async () => {
  await expect(example.save('other', 's1', vm.folder, signal)).rejects.toThrow("no guest 'other' is running");
});
