/** External snapshots deleted through the front door: what is merged, and what stays. */

import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import {
  create,
  defineOther,
  diskOnly,
  exists,
  file,
  host,
  images,
  inactiveSource,
  source,
} from '../support/daemons/external-host.ts';
import { backingChain, guestReads, guestWrites, imageReads } from '../support/disks/embedded-disk.ts';

describe('deleting', () => {
  test('the newest snapshot of a running domain merges its overlay, and the guest goes on in the image beneath', async () => {
    await guestWrites(host, 1);
    await diskOnly('s1');
    await guestWrites(host, 2);
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await source()).toBe(file('test.qcow2'));
    expect(await inactiveSource()).toBe(file('test.qcow2'));
    expect(await guestReads(host, 2)).toBe(true);
    expect(await images()).toEqual(['test.qcow2']);
    expect(await host.ok('domstate', 'test')).toBe('running');
  });

  test('one in the middle of a chain keeps what is above and beneath', async () => {
    await guestWrites(host, 1);
    await diskOnly('s1');
    await guestWrites(host, 2, { at: 1 });
    await diskOnly('s2');
    await guestWrites(host, 3, { at: 2 });
    await diskOnly('s3');
    await host.ok('snapshot-delete', 'test', 's2');
    expect(await backingChain(file('test.s3'))).toEqual([file('test.s3'), file('test.s1'), file('test.qcow2')]);
    expect(await images()).toEqual(['test.qcow2', 'test.s1', 'test.s3']);
    for (const [at, pattern] of [1, 2, 3].entries()) expect(await guestReads(host, pattern, { at })).toBe(true);
    // The state of s3 is what s2's overlay held: it lies in s1's now.
    await host.ok('snapshot-revert', 'test', 's3', '--running');
    for (const [at, pattern] of [1, 2, 3].entries()) expect(await guestReads(host, pattern, { at })).toBe(true);
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    expect(await guestReads(host, 1)).toBe(true);
    expect(await guestReads(host, 2, { at: 1 })).toBe(false);
  });

  test('one in the middle leaves the memory of every other snapshot usable: also where only a header was rewritten', async () => {
    for (const n of [1, 2, 3, 4]) {
      await create(`s${n}`, '--memspec', file(`ram${n}`));
      await guestWrites(host, n);
    }
    await host.ok('snapshot-delete', 'test', 's2');
    for (const n of [4, 3, 1]) {
      await host.ok('snapshot-revert', 'test', `s${n}`);
      expect(await guestReads(host, n)).toBe(false);
    }
  });

  test('with children goes from the leaves up, live and off', async () => {
    for (const name of ['s1', 's2', 's3']) await diskOnly(name);
    await guestWrites(host, 9);
    await host.ok('snapshot-delete', 'test', 's2', '--children');
    expect(await images()).toEqual(['test.qcow2', 'test.s1']);
    expect(await guestReads(host, 9)).toBe(true);
    await host.ok('destroy', 'test');
    await diskOnly('s4');
    await host.ok('snapshot-delete', 'test', 's1', '--children-only');
    expect(await host.ok('snapshot-list', 'test', '--name')).toBe('s1');
    expect(await imageReads(file('test.s1'), 9)).toBe(true);
    await host.ok('snapshot-delete', 'test', 's1', '--children');
    expect(await images()).toEqual(['test.qcow2']);
    expect(await imageReads(file('test.qcow2'), 9)).toBe(true);
  });

  test('a leaf of another branch removes its overlay and touches nothing else', async () => {
    await diskOnly('root');
    await diskOnly('left');
    await host.ok('snapshot-revert', 'test', 'root', '--running');
    await guestWrites(host, 4);
    await host.ok('snapshot-delete', 'test', 'left');
    expect(await guestReads(host, 4)).toBe(true);
    await host.ok('snapshot-delete', 'test', 'root');
    expect(await images()).toEqual(['test.qcow2']);
    expect(await guestReads(host, 4)).toBe(true);
  });

  test('is refused for a layer that holds an internal snapshot, naming it', async () => {
    await diskOnly('s1');
    await create('inside');
    expect(await host.refused('snapshot-delete', 'test', 's1')).toContain("'inside'");
    expect(await source()).toBe(file('test.s1'));
    await host.ok('snapshot-delete', 'test', 'inside');
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await images()).toEqual(['test.qcow2']);
  });

  test('is refused while the overlay’s file system is not there, and goes on when it is back', async () => {
    const folder = join(host.home, 'mounted');
    await mkdir(folder);
    await diskOnly('s1', '--diskspec', `xvda,file=${folder}/top`);
    await guestWrites(host, 2);
    await host.ok('destroy', 'test');
    await rename(folder, `${folder}.away`);
    expect(await host.refused('snapshot-delete', 'test', 's1')).toContain(`overlay '${folder}/top' of disk 'xvda'`);
    expect(await source()).toBe(`${folder}/top`);
    await rename(`${folder}.away`, folder);
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await imageReads(file('test.qcow2'), 2)).toBe(true);
  });

  test('is refused where another domain, though it is off, stands on an image that would be merged or removed', async () => {
    await diskOnly('s1');
    await diskOnly('s2');
    for (const image of ['test.qcow2', 'test.s1']) {
      await defineOther(image);
      expect(await host.refused('snapshot-delete', 'test', 's1')).toMatch(
        /^Requested operation is not valid: image '.*' of domain 'test' is also used by domain 'other'/m,
      );
      await host.ok('undefine', 'other');
    }
    expect(await backingChain(file('test.s2'))).toEqual([file('test.s2'), file('test.s1'), file('test.qcow2')]);
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await images()).toEqual(['test.qcow2', 'test.s2']);
  });

  test('of metadata alone keeps every file', async () => {
    await create('s1', '--memspec', file('ram.save'));
    await host.ok('snapshot-delete', 'test', 's1', '--metadata');
    expect(await images()).toEqual(['test.qcow2', 'test.s1']);
    expect(await exists(file('ram.save'))).toBe(true);
    expect(await source()).toBe(file('test.s1'));
  });
});

test('ten snapshots in a chain can each be reverted to, and all be deleted', async () => {
  const names = [...Array(10).keys()].map((number) => `s${number}`);
  for (const [number, name] of names.entries()) {
    await guestWrites(host, number + 1);
    await diskOnly(name);
  }
  for (const [number, name] of names.entries()) {
    await host.ok('snapshot-revert', 'test', name, '--running');
    expect(await guestReads(host, number + 1)).toBe(true);
  }
  for (const name of names.toReversed()) await host.ok('snapshot-delete', 'test', name);
  expect(await images()).toEqual(['test.qcow2']);
  expect(await guestReads(host, 10)).toBe(true);
});
