/** Block jobs through the front door: the command lines of backup recipes, real virsh, a real QEMU block layer. */

import { execFile } from 'node:child_process';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { guestDisk, lastLine } from '../support/disks/guest-disk.ts';

const run = promisify(execFile);
const NOT_VALID = 'Requested operation is not valid';

let host: Xlsnapd;

const { file, isThere, disk, guest, overlay } = guestDisk(() => host);

beforeAll(async () => {
  host = await Xlsnapd.start();
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(host.home, { recursive: true, force: true });
});

/** A guest that runs on its base alone. */
beforeEach(async () => {
  if ((await host.ok('domstate', 'test')) === 'shut off') await host.ok('start', 'test');
  if ((await disk()) !== file('test.qcow2')) {
    await host.virsh('blockjob', 'test', 'xvda', '--abort');
    await host.ok('blockcommit', 'test', 'xvda', '--active', '--pivot', '--delete');
  }
  for (const left of ['test.b1', 'test.b2', 'test.b3']) await rm(file(left), { force: true });
});

describe('the backup recipe', () => {
  test('copies the base while the guest writes to an overlay, and brings the guest back to one image', async () => {
    await guest('write -P 1 0 1M');
    await overlay('b1');
    await guest('write -P 2 1M 1M');
    await copyFile(file('test.qcow2'), file('copy.qcow2'));
    expect(
      await run('qemu-io', ['-r', '-c', 'read -P 1 0 1M', '-c', 'read -P 0 1M 1M', file('copy.qcow2')]),
    ).not.toMatchObject({
      stdout: expect.stringContaining('Pattern verification failed'),
    });
    const committed = await host.ok('blockcommit', 'test', 'xvda', '--active', '--verbose', '--pivot');
    expect(lastLine(committed)).toBe('Successfully pivoted');
    expect([await disk(), await disk('--inactive')]).toEqual([file('test.qcow2'), file('test.qcow2')]);
    expect(await guest('read -P 2 1M 1M')).not.toContain('failed');
    expect(await host.ok('blockjob', 'test', 'xvda')).toBe('No current block job for xvda');
    // What the overlay's path shows is what the base does: a definition that still names it loses nothing.
    expect((await run('qemu-io', ['-r', '-U', '-c', 'read -P 2 1M 1M', file('test.b1')])).stdout).not.toContain(
      'failed',
    );
    // The merged node is closed: the next overlay can be made, also at the same path with --reuse-external.
    await rm(file('test.b1'));
    await overlay('b1');
    expect(await disk()).toBe(file('test.b1'));
  });
});

describe('an active commit', () => {
  test('stays ready until it is ended, and keeps snapshots away; the client need not stay', async () => {
    await overlay('b1');
    await host.ok('snapshot-list', 'test');
    await host.ok('blockcommit', 'test', 'xvda', '--active', '--wait');
    expect((await host.virsh('blockjob', 'test', 'xvda', '--info')).stderr.trim()).toMatch(
      /^Active Block Commit: \[100(\.00)? %]$/,
    );
    const busy = "disk 'xvda' already in active block job";
    expect(await host.refused('snapshot-create-as', 'test', 's1', '--disk-only')).toContain(
      `block copy still active: ${busy}`,
    );
    expect(await host.refused('blockpull', 'test', 'xvda')).toContain(busy);
    expect(await disk()).toBe(file('test.b1'));
    const doctor = await runProgram(XLSNAP, ['-c', host.uri, 'doctor']);
    expect(doctor.stdout).toContain(
      "disk 'xvda' of domain 'test' has a block job (Active Block Commit) that has copied",
    );
    expect(doctor.stdout).toContain('from then on: virsh blockjob test xvda --pivot; to stay on this one: virsh');
    // That way out of an overlay that no snapshot names would be refused now.
    expect(doctor.stdout).not.toContain('virsh blockcommit');
    // A block job is none of the domain's jobs, as in the qemu driver.
    expect(await host.ok('domjobinfo', 'test')).toMatch(/^Job type: +None/);
    await host.ok('blockjob', 'test', 'xvda', '--bandwidth', '7');
    expect(await host.ok('blockjob', 'test', 'xvda', '--raw')).toContain(' bandwidth=7\n');
    await host.ok('blockjob', 'test', 'xvda', '--pivot');
    expect(await disk()).toBe(file('test.qcow2'));
  });

  test('that is aborted leaves the guest on its overlay', async () => {
    await overlay('b1');
    await guest('write -P 3 0 1M');
    const kept = await host.ok('blockcommit', 'test', 'xvda', '--active', '--wait', '--keep-overlay');
    expect(lastLine(kept)).toBe('Commit complete, overlay image kept');
    expect(await disk()).toBe(file('test.b1'));
    expect(await guest('read -P 3 0 1M')).not.toContain('failed');
    expect(await host.refused('blockjob', 'test', 'xvda', '--pivot')).toBe(
      'invalid argument: disk xvda does not have an active block job',
    );
  });

  test('keeps a revert away, and ends with the guest', async () => {
    await host.ok('snapshot-create-as', 'test', 's1');
    await overlay('b1');
    await host.ok('blockcommit', 'test', 'xvda', '--active', '--wait');
    expect(await host.refused('snapshot-revert', 'test', 's1')).toContain(`${NOT_VALID}: domain has active block job`);
    await host.ok('destroy', 'test');
    await host.ok('start', 'test');
    expect(await host.ok('blockjob', 'test', 'xvda')).toBe('No current block job for xvda');
    expect(await disk()).toBe(file('test.b1'));
    await host.ok('snapshot-delete', 'test', 's1', '--metadata');
  });
});

test('a layer in the middle, named by path or index, is merged; the headers above follow', async () => {
  // Ends with the first event; by the time that the overlays are made it has registered.
  const events = host.virsh('event', 'test', '--event', 'block-job-2', '--timeout', '25');
  await overlay('b1');
  await overlay('b2');
  await guest('write -P 4 2M 1M');
  await overlay('b3');
  const merged = await host.ok(
    'blockcommit',
    'test',
    'xvda',
    '--top',
    file('test.b2'),
    '--base',
    'xvda[2]',
    '--wait',
    '--delete',
  );
  expect(lastLine(merged)).toBe('Commit complete');
  expect([await isThere(file('test.b2')), await disk()]).toEqual([false, file('test.b3')]);
  expect(JSON.parse((await run('qemu-img', ['info', '-U', '--output=json', file('test.b3')])).stdout)).toMatchObject({
    'backing-filename': file('test.b1'),
  });
  expect(await guest('read -P 4 2M 1M')).not.toContain('failed');
  expect((await events).stdout).toMatch(/block-job-2' for domain 'test': Block Commit for xvda completed/);
  // All that is left, in one job.
  await host.ok('blockcommit', 'test', 'xvda', '--active', '--pivot', '--delete');
  expect([await isThere(file('test.b3')), await isThere(file('test.b1'))]).toEqual([false, false]);
  expect(await guest('read -P 4 2M 1M')).not.toContain('failed');
});

test('a pull makes the active image independent of its base, or of all images above one', async () => {
  await overlay('b1');
  await overlay('b2');
  await guest('write -P 6 3M 1M');
  await overlay('b3');
  const pulled = await host.ok('blockpull', 'test', 'xvda', '--base', file('test.b1'), '--wait', '--verbose');
  expect(lastLine(pulled)).toBe('Pull complete');
  const backing = async () =>
    JSON.parse((await run('qemu-img', ['info', '-U', '--output=json', file('test.b3')])).stdout)['backing-filename'];
  expect(await backing()).toBe(file('test.b1'));
  expect(await disk()).toBe(file('test.b3'));
  expect(await guest('read -P 6 3M 1M')).not.toContain('failed');
  await host.ok('blockcommit', 'test', 'xvda', '--active', '--pivot', '--delete');
});

describe('a block job is refused', () => {
  const refused = (...args: readonly string[]) => host.refused('blockcommit', 'test', ...args);

  test('in the words of the qemu driver', async () => {
    expect(await refused('sda', '--active')).toBe("invalid argument: disk 'sda' not found in domain");
    const path = file('test.qcow2');
    expect(await refused('xvda', '--active')).toBe(
      `invalid argument: top '${path}' in chain for '${path}' has no backing file`,
    );
    await overlay('b1');
    expect(await refused('xvda')).toBe("invalid argument: commit of 'xvda' active layer requires active flag");
    expect(await refused('xvda', '--active', '--base', '/none')).toBe(
      `invalid argument: could not find image '/none' beneath '${file('test.b1')}' in chain for 'xvda'`,
    );
    expect(await refused('xvda', '--active', '--base', 'xvdb[1]')).toBe(
      "invalid argument: requested target 'xvdb' does not match target 'xvda'",
    );
    expect(await refused('xvda', '--active', '--bandwidth', '8796093022208')).toBe(
      'numerical overflow: bandwidth must be less than 8796093022207',
    );
    await host.ok('destroy', 'test');
    expect(await refused('xvda', '--active')).toBe(`${NOT_VALID}: domain is not running`);
    expect(await host.refused('blockpull', 'test', 'xvda')).toBe(`${NOT_VALID}: domain is not running`);
  });

  test('if a snapshot with metadata needs the layer: deleting the snapshot merges it', async () => {
    await host.ok('snapshot-create-as', 'test', 's1', '--disk-only');
    expect(await refused('xvda', '--active', '--pivot')).toBe(
      `${NOT_VALID}: image '${file('test.qcow2')}' of disk 'xvda' is needed by snapshot 's1' of domain 'test', and a commit ` +
        'would change it: deleting the snapshot merges its overlays: virsh snapshot-delete test s1',
    );
    await overlay('b1');
    expect(await refused('xvda', '--active', '--pivot')).toContain("is needed by snapshot 's1'");
    // Down to the snapshot's own overlay nothing of it changes.
    await host.ok('blockcommit', 'test', 'xvda', '--active', '--base', file('test.s1'), '--pivot', '--delete');
    expect(await disk()).toBe(file('test.s1'));
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await disk()).toBe(file('test.qcow2'));
  });

  test('if relative names of backing images were to stay, except for the active image', async () => {
    await overlay('b1');
    await overlay('b2');
    const kept = `${NOT_VALID}: can't keep relative backing relationship`;
    expect(await refused('xvda', '--top', file('test.b1'), '--keep-relative')).toBe(kept);
    const base = ['--base', file('test.qcow2')];
    expect(await host.refused('blockpull', 'test', 'xvda', ...base, '--keep-relative')).toBe(kept);
    await host.ok('blockcommit', 'test', 'xvda', '--active', '--keep-relative', '--pivot', '--delete');
    expect(await disk()).toBe(file('test.qcow2'));
  });

  test('if another domain uses the base', async () => {
    await overlay('b1');
    await run('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-b',
      file('test.qcow2'),
      '-F',
      'qcow2',
      file('other.qcow2'),
    ]);
    await writeFile(
      file('other.xml'),
      `<domain type='xen'><name>other</name><memory unit='MiB'>1</memory><os><type>hvm</type></os><devices>
        <disk type='file'><driver name='qemu' type='qcow2'/><source file='${file('other.qcow2')}'/><target dev='xvda' bus='xen'/></disk>
      </devices></domain>`,
    );
    await host.ok('define', file('other.xml'));
    expect(await refused('xvda', '--active', '--pivot')).toContain(
      `image '${file('test.qcow2')}' of domain 'test' is also used by domain 'other' (disk 'xvda')`,
    );
    await host.ok('undefine', 'other');
  });
});

test('blockresize gives the disk another size; a snapshot brings its own back', async () => {
  const capacity = async () => /^Capacity: +(\d+)$/m.exec(await host.ok('domblkinfo', 'test', 'xvda'))?.[1];
  // After these QEMU itself has opened the base, and nobody has named its node.
  await overlay('b1');
  await host.ok('destroy', 'test');
  await host.ok('start', 'test');
  await host.ok('blockcommit', 'test', 'xvda', '--active', '--pivot', '--delete');
  await host.ok('snapshot-create-as', 'test', 'small');
  await guest('write -P 9 0 1M');
  expect(await host.ok('blockresize', 'test', 'xvda', '128M')).toBe("Block device 'xvda' is resized");
  expect(await capacity()).toBe(`${128 << 20}`);
  await host.ok('blockresize', 'test', file('test.qcow2'), `${(96 << 20) + 1}B`);
  expect(await capacity()).toBe(`${(96 << 20) + 512}`);
  expect(await guest('read -P 9 0 1M')).not.toContain('failed');
  // An overlay that is larger than its base is merged like any other.
  await overlay('b1');
  await host.ok('blockresize', 'test', 'xvda', '160M');
  await host.ok('blockcommit', 'test', 'xvda', '--active', '--pivot', '--delete');
  expect(await capacity()).toBe(`${160 << 20}`);
  await host.ok('snapshot-revert', 'test', 'small');
  expect(await capacity()).toBe(`${64 << 20}`);
  await host.ok('snapshot-delete', 'test', 'small');

  /** virsh says before it which device it is. */
  const refused = async (...args: readonly string[]) =>
    (await host.refused('blockresize', 'test', ...args)).split('\n')[1];
  expect(await refused('xvdz', '1G')).toBe("invalid argument: disk 'xvdz' was not found in the domain config");
  expect(await refused('xvda', '9007199254740992B')).toContain('numerical overflow: size must be less than');
  await overlay('b1');
  await host.ok('blockcommit', 'test', 'xvda', '--active', '--wait');
  expect(await refused('xvda', '1G')).toBe("block copy still active: disk 'xvda' already in active block job");
  await host.ok('destroy', 'test');
  expect(await refused('xvda', '1G')).toBe(`${NOT_VALID}: domain is not running`);
});

test('domblkinfo shows the sizes of the active image, of a running guest and of one that is off', async () => {
  await overlay('b1');
  expect(await host.ok('domblkinfo', 'test', 'xvda')).toMatch(
    /^Capacity: +67108864\nAllocation: +\d+\nPhysical: +\d+$/,
  );
  await host.ok('destroy', 'test');
  expect(await host.ok('domblkinfo', 'test', file('test.b1'))).toMatch(/^Capacity: +67108864\n/);
  expect(await host.refused('domblkinfo', 'test', 'none')).toBe("invalid argument: disk 'none' not found in domain");
});
