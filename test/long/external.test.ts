/** External snapshots through the front door: the real virsh, overlays made by a real QEMU block layer. */

import { execFile } from 'node:child_process';
import { rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, test } from '@jest/globals';
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
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { backingChain, guestReads, guestWrites, imageReads } from '../support/disks/embedded-disk.ts';
import { snapshotsIn } from '../support/disks/images.ts';

const run = promisify(execFile);

describe('a disk-only snapshot of a running domain', () => {
  test('puts an overlay beneath the guest, and both definitions follow', async () => {
    await guestWrites(host, 1);
    expect(await diskOnly('s1')).toBe('Domain snapshot s1 created');
    expect(await source()).toBe(file('test.s1'));
    expect(await inactiveSource()).toBe(file('test.s1'));
    await guestWrites(host, 2);
    expect(await guestReads(host, 2)).toBe(true);
    expect(await backingChain(file('test.s1'))).toEqual([file('test.s1'), file('test.qcow2')]);
    expect(await host.ok('snapshot-info', 'test', 's1')).toMatch(/State: +disk-snapshot\nLocation: +external/);
    expect(await host.ok('domstate', 'test')).toBe('running');
    await host.ok('destroy', 'test');
    expect(await imageReads(file('test.qcow2'), 1)).toBe(true);
    await host.ok('start', 'test');
    expect(await guestReads(host, 2)).toBe(true);
  });

  test('names the image beneath as the domain’s state, and the overlay as its disk', async () => {
    await diskOnly('s1');
    const xml = await host.ok('snapshot-dumpxml', 'test', 's1');
    expect(xml).toContain(`<source file='${file('test.s1')}'/>`);
    expect(xml).toContain(`<source file='${file('test.qcow2')}'/>`);
    expect(xml).toContain('<state>disk-snapshot</state>');
    expect(xml).toContain("<memory snapshot='no'/>");
  });

  test('takes a file of the user’s choice, and an overlay that is there already', async () => {
    await diskOnly('s1', '--diskspec', `xvda,file=${file('mine.qcow2')}`);
    expect(await source()).toBe(file('mine.qcow2'));
    expect(await host.refused('snapshot-create-as', 'test', 's2', '--disk-only', '--reuse-external')).toMatch(
      /missing existing file for disk xvda: .*mine\.s2: No such file or directory/,
    );
    expect(await source()).toBe(file('mine.qcow2'));
  });

  test('takes a block device as overlay, from which the domain starts again', async () => {
    await writeFile(file('device.img'), '');
    await truncate(file('device.img'), 16 << 20);
    const device = (await run('losetup', ['--find', '--show', file('device.img')])).stdout.trim();
    try {
      await guestWrites(host, 1);
      await diskOnly('s1', '--diskspec', `xvda,stype=block,file=${device}`);
      expect([await source(), await inactiveSource()]).toEqual([device, device]);
      await guestWrites(host, 2);
      await host.ok('destroy', 'test');
      await host.ok('start', 'test');
      expect(await guestReads(host, 2)).toBe(true);
      await host.ok('snapshot-delete', 'test', 's1');
      expect(await source()).toBe(file('test.qcow2'));
      expect(await guestReads(host, 2)).toBe(true);
    } finally {
      await host.ok('destroy', 'test');
      await run('losetup', ['--detach', device]);
    }
  });

  test('refuses a file that is there, and changes nothing', async () => {
    const before = await host.ok('dumpxml', 'test');
    expect(
      await host.refused(
        'snapshot-create-as',
        'test',
        's1',
        '--disk-only',
        '--diskspec',
        `xvda,file=${file('test.qcow2')}`,
      ),
    ).toBe(
      `unsupported configuration: external snapshot file for disk xvda already exists and is not a block device: ${file('test.qcow2')}`,
    );
    expect(await host.ok('dumpxml', 'test')).toBe(before);
    expect(await images()).toEqual(['test.qcow2']);
  });

  test('with --no-metadata leaves the overlay in use and nothing listed', async () => {
    await diskOnly('s1', '--no-metadata');
    expect(await host.ok('snapshot-list', 'test', '--name')).toBe('');
    expect(await source()).toBe(file('test.s1'));
  });

  test('refuses names of files that the stored document would not keep', async () => {
    const { stderr } = await host.virsh('snapshot-create-as', 'test', 'a\tb', '--disk-only');
    expect(stderr).toContain("name can't contain a control character");
    expect(await images()).toEqual(['test.qcow2']);
  });

  test('needs an agent to be quiesced, and says so', async () => {
    expect(await host.refused('snapshot-create-as', 'test', 's1', '--disk-only', '--quiesce')).toBe(
      'argument unsupported: QEMU guest agent is not configured',
    );
    expect(await images()).toEqual(['test.qcow2']);
  });

  test('may be internal where that is asked for', async () => {
    await diskOnly('s1', '--diskspec', 'xvda,snapshot=internal');
    expect(await snapshotsIn(file('test.qcow2'))).toEqual(['s1']);
    expect(await source()).toBe(file('test.qcow2'));
  });
});

test('an overlay on a block device needs one that is there', async () => {
  const refused = (target: string) =>
    host.refused('snapshot-create-as', 'test', 's1', '--disk-only', '--diskspec', `xvda,stype=block,file=${target}`);
  expect(await refused('/dev/nosuch')).toBe(
    "Operation not supported: block device snapshot target '/dev/nosuch' doesn't exist",
  );
  expect(await refused('/dev/null')).toContain("target '/dev/null' of disk xvda is not a block device");
  expect(await images()).toEqual(['test.qcow2']);
});

test('a file in the way is told before a name that is taken, as libvirt tells it', async () => {
  await diskOnly('s1');
  await create('s2');
  expect(await host.refused('snapshot-create-as', 'test', 's1', '--disk-only')).toMatch(
    /external snapshot file for disk xvda already exists and is not a block device: .*\/test\.s1$/,
  );
  expect(await host.refused('snapshot-create-as', 'test', 's2')).toBe(
    'operation failed: domain moment s2 already exists',
  );
});

test('a snapshot that was reverted to can be redefined from its own document, validated', async () => {
  await diskOnly('s1');
  await diskOnly('s2');
  await host.ok('snapshot-revert', 'test', 's1', '--running');
  const xml = await host.ok('snapshot-dumpxml', 'test', 's1');
  expect(xml).toContain('<revertDisks>');
  expect(xml).toContain("<driver type='qcow2'/>");
  const document = join(host.home, 's1.xml');
  await writeFile(document, xml);
  await host.ok('snapshot-create', 'test', document, '--redefine', '--validate');
  expect(await host.ok('snapshot-dumpxml', 'test', 's1')).toBe(xml);
});

describe('a full external snapshot', () => {
  test('has RAM in the file named and the disk in an overlay; its file has libvirt’s save header', async () => {
    await create('s1', '--memspec', file('ram.save'));
    expect((await stat(file('ram.save'))).mode & 0o777).toBe(0o600);
    expect(await source()).toBe(file('test.s1'));
    expect(await host.ok('snapshot-info', 'test', 's1')).toMatch(/State: +running\nLocation: +external/);
    expect(await host.ok('snapshot-dumpxml', 'test', 's1')).toContain(
      `<memory snapshot='external' file='${file('ram.save')}'/>`,
    );
  });

  test('may have its disk inside the image', async () => {
    await create('s1', '--memspec', file('ram.save'), '--diskspec', 'xvda,snapshot=internal');
    expect(await snapshotsIn(file('test.qcow2'))).toEqual(['s1']);
    await guestWrites(host, 7);
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await guestReads(host, 7)).toBe(false);
  });

  test('may leave the disk out', async () => {
    await create('s1', '--memspec', file('ram.save'), '--diskspec', 'xvda,snapshot=no');
    expect(await images()).toEqual(['test.qcow2']);
    await host.ok('snapshot-revert', 'test', 's1');
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await exists(file('ram.save'))).toBe(false);
  });

  test('refuses to replace a file with content', async () => {
    await writeFile(file('taken'), 'something');
    expect(await host.refused('snapshot-create-as', 'test', 's1', '--memspec', file('taken'))).toContain(
      `external memory snapshot file '${file('taken')}' already exists`,
    );
    expect(await images()).toEqual(['test.qcow2']);
  });

  test('can be halted', async () => {
    await create('s1', '--memspec', file('ram.save'), '--halt');
    expect(await host.ok('domstate', 'test')).toBe('shut off');
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await host.ok('domstate', 'test')).toBe('running');
  });
});

describe('an external snapshot of a domain that is off', () => {
  beforeEach(async () => {
    await guestWrites(host, 1);
    await host.ok('destroy', 'test');
  });

  test('is an overlay that the domain starts from next', async () => {
    await diskOnly('s1');
    expect(await source()).toBe(file('test.s1'));
    await host.ok('start', 'test');
    await guestWrites(host, 2);
    await host.ok('destroy', 'test');
    expect(await imageReads(file('test.qcow2'), 1)).toBe(true);
    expect(await imageReads(file('test.s1'), 2)).toBe(true);
  });

  test('is reverted to and deleted while it stays off', async () => {
    await diskOnly('s1');
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await host.ok('domstate', 'test')).toBe('shut off');
    expect(await imageReads((await source()) ?? '', 1)).toBe(true);
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await source()).toBe(file('test.qcow2'));
    expect(await images()).toEqual(['test.qcow2']);
  });
});

describe('a definition that was changed after a snapshot', () => {
  const redefine = async (change: (xml: string) => string): Promise<void> => {
    const path = file('definition.xml');
    await writeFile(path, change(await host.ok('dumpxml', 'test', '--inactive')));
    await host.ok('define', path);
  };

  test('keeps an overlay whose disk the domain has no longer: a delete is refused', async () => {
    await diskOnly('s1');
    await guestWrites(host, 2);
    await host.ok('destroy', 'test');
    await redefine((xml) => xml.replace(/<disk .*<\/disk>/s, ''));
    expect(await host.refused('snapshot-delete', 'test', 's1')).toContain(
      `would remove or change image '${file('test.s1')}', which may be in use elsewhere: the domain has no disk 'xvda' any more`,
    );
    expect(await imageReads(file('test.s1'), 2)).toBe(true);
    await host.ok('snapshot-delete', 'test', 's1', '--metadata');
    expect(await images()).toEqual(['test.qcow2', 'test.s1']);
  });

  test('and names another image for the next start, names it still when the layer is merged', async () => {
    await diskOnly('s1');
    await redefine((xml) => xml.replace(file('test.s1'), file('other.qcow2')));
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await source()).toBe(file('test.qcow2'));
    expect(await inactiveSource()).toBe(file('other.qcow2'));
  });
});

describe('reverting', () => {
  test('to a running external snapshot gives a fresh overlay on its image, with the RAM of that moment', async () => {
    await guestWrites(host, 1);
    await create('s1', '--memspec', file('ram.save'));
    await guestWrites(host, 2);
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await host.ok('domstate', 'test')).toBe('running');
    expect(await guestReads(host, 1)).toBe(true);
    const tip = (await source()) ?? '';
    expect(tip).toMatch(/test\.\d{10}$/);
    expect(await inactiveSource()).toBe(tip);
    expect(await backingChain(tip)).toEqual([tip, file('test.qcow2')]);
    // What was written since is gone, and so is its file.
    expect(await exists(file('test.s1'))).toBe(false);
  });

  test('leaves no file behind that nothing names', async () => {
    await diskOnly('s1');
    await diskOnly('s2');
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    await host.ok('snapshot-delete', 'test', 's2');
    // s1 has two overlays now: the one that s2 stood on, and the one that the guest is on.
    await diskOnly('s3');
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    await host.ok('snapshot-delete', 'test', 's3');
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await images()).toEqual(['test.qcow2']);
  });

  test('keeps the overlay that another domain stands on', async () => {
    await diskOnly('s1');
    await defineOther('test.s1');
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    expect(await exists(file('test.s1'))).toBe(true);
    await host.ok('undefine', 'other');
  });

  test('twice within a second is fine', async () => {
    await diskOnly('s1');
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    expect(await images()).toHaveLength(2);
  });

  test('between two branches keeps both, as a tree', async () => {
    await guestWrites(host, 1);
    await diskOnly('root');
    await guestWrites(host, 2);
    await diskOnly('left');
    await guestWrites(host, 3);
    await host.ok('snapshot-revert', 'test', 'root', '--running');
    expect(await guestReads(host, 1)).toBe(true);
    await guestWrites(host, 4);
    await diskOnly('right');
    await guestWrites(host, 5);
    expect(await host.ok('snapshot-list', 'test', '--tree')).toBe('root\n  |\n  +- left\n  +- right');
    await host.ok('snapshot-revert', 'test', 'left', '--running');
    expect(await guestReads(host, 2)).toBe(true);
    await host.ok('snapshot-revert', 'test', 'right', '--running');
    expect(await guestReads(host, 4)).toBe(true);
    await host.ok('snapshot-revert', 'test', 'root', '--running');
    expect(await guestReads(host, 1)).toBe(true);
    expect(await host.refused('snapshot-delete', 'test', 'root')).toMatch(/several branches use image/);
  });

  test('to a disk-only snapshot leaves the domain off, and boots it where that is asked for', async () => {
    await guestWrites(host, 1);
    await diskOnly('s1');
    await guestWrites(host, 2);
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await host.ok('domstate', 'test')).toBe('shut off');
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    expect(await guestReads(host, 1)).toBe(true);
  });

  test('to an internal snapshot beneath an external one is refused, and changes nothing', async () => {
    await create('inside');
    await diskOnly('above');
    await guestWrites(host, 2);
    expect(await host.refused('snapshot-revert', 'test', 'inside')).toMatch(
      /would change image '.*test\.qcow2' of disk 'xvda', which external snapshot 'above' is based on/,
    );
    expect(await host.ok('domstate', 'test')).toBe('running');
    expect(await guestReads(host, 2)).toBe(true);
  });

  test('is refused while the image beneath is missing, and the domain goes on', async () => {
    await diskOnly('s1', '--diskspec', `xvda,file=${file('other.qcow2')}`);
    await diskOnly('s2');
    await host.ok('destroy', 'test');
    await rm(file('other.qcow2'));
    expect(await host.refused('snapshot-revert', 'test', 's2')).toContain(file('other.qcow2'));
    expect(await source()).toBe(file('other.s2'));
  });
});

test('the domain of the embedded host stands on its overlay again when xlsnapd was killed', async () => {
  await guestWrites(host, 1);
  await diskOnly('s1');
  await guestWrites(host, 2);
  await host.stop('SIGKILL');
  await using next = await Xlsnapd.start({ home: host.home });
  expect(await guestReads(next, 2)).toBe(true);
  await next.ok('snapshot-revert', 'test', 's1', '--running');
  expect(await guestReads(next, 1)).toBe(true);
});
