/** Chains and documents that somebody has changed by hand, and files that are given twice: nothing of a guest is mixed up. */

import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { create, defineOther, diskOnly, exists, file, host, images, source } from '../support/daemons/external-host.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { backingChain, guestReads, guestWrites, imageReads } from '../support/disks/embedded-disk.ts';

const run = promisify(execFile);
const newOverlay = (name: string, base: string) =>
  run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', file(name)]);
const newImage = (name: string, size = '64M') => run('qemu-img', ['create', '-q', '-f', 'qcow2', file(name), size]);

/** Defines the domain anew, with one text of its definition replaced. */
async function redefineDomain(from: string, to: string): Promise<void> {
  const xml = await host.ok('dumpxml', 'test', '--inactive', '--security-info');
  await writeFile(file('test.xml'), xml.replace(from, to));
  await host.ok('define', file('test.xml'));
}

describe('two snapshots whose state is one image, since the domain was put back there by hand', () => {
  test('do not change each other when one is deleted', async () => {
    await guestWrites(host, 1);
    await diskOnly('s1');
    await guestWrites(host, 2);
    await host.ok('destroy', 'test');
    await redefineDomain('/test.s1', '/test.qcow2');
    await host.ok('start', 'test');
    await diskOnly('s2');
    await guestWrites(host, 3);
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await guestReads(host, 3)).toBe(true);
    await host.ok('snapshot-revert', 'test', 's2', '--running');
    expect(await guestReads(host, 1)).toBe(true);
    await host.ok('snapshot-delete', 'test', 's2');
    expect(await images()).toEqual(['test.qcow2', 'test.xml']);
  });
});

describe('a revert to an internal snapshot', () => {
  test('is refused beneath the layers of a snapshot that was forgotten, while another one stands on them', async () => {
    await create('s0');
    await guestWrites(host, 5);
    await diskOnly('s1');
    await diskOnly('s2');
    await host.ok('snapshot-delete', 'test', 's1', '--metadata');
    expect(await host.refused('snapshot-revert', 'test', 's0')).toContain("external snapshot 's2' is based on");
    await host.ok('snapshot-revert', 'test', 's2', '--running');
    expect(await guestReads(host, 5)).toBe(true);
  });

  test('is refused beneath a layer that no snapshot lists, while another one is inside it', async () => {
    await create('s0');
    await guestWrites(host, 5);
    await diskOnly('backup', '--no-metadata');
    await create('s3');
    expect(await host.refused('snapshot-revert', 'test', 's0')).toContain("internal snapshot 's3' is based on");
    await host.ok('snapshot-revert', 'test', 's3');
    expect(await guestReads(host, 5)).toBe(true);
  });

  test('is refused where another domain, though it is off, has an overlay on the image', async () => {
    await create('s0');
    await guestWrites(host, 5);
    await diskOnly('s1');
    await host.ok('snapshot-delete', 'test', 's1', '--metadata');
    await newOverlay('clone.qcow2', file('test.qcow2'));
    await defineOther('clone.qcow2');
    expect(await host.refused('snapshot-revert', 'test', 's0')).toMatch(
      /which domain 'other' \(disk 'xvda'\) is based on/,
    );
    expect(await imageReads(file('clone.qcow2'), 5)).toBe(true);
  });

  test('is refused while the image beneath is missing, and the domain goes on', async () => {
    await diskOnly('s1');
    await create('s2');
    await rename(file('test.qcow2'), file('elsewhere'));
    expect(await host.refused('snapshot-revert', 'test', 's2')).toMatch(/disk 'xvda' cannot be used: .*test\.qcow2/);
    expect(await host.ok('domstate', 'test')).toBe('running');
    await rename(file('elsewhere'), file('test.qcow2'));
    await host.ok('snapshot-revert', 'test', 's2');
  });
});

describe('a revert to an external snapshot', () => {
  test('needs --force where another file is in the place of a layer further down', async () => {
    await guestWrites(host, 1);
    await diskOnly('s1');
    await guestWrites(host, 2);
    await diskOnly('s2');
    await rename(file('test.s1'), file('kept'));
    await newImage('test.s1');
    expect(await host.refused('snapshot-revert', 'test', 's2')).toMatch(
      /revert requires force: image '.*test\.s1' of disk 'xvda', in the backing chain of snapshot 's2', has no backing image, but snapshot 's1'/,
    );
    expect(await guestReads(host, 2)).toBe(true);
    await rename(file('kept'), file('test.s1'));
    await host.ok('snapshot-revert', 'test', 's2', '--running');
    expect(await guestReads(host, 2)).toBe(true);
  });

  test('goes on with --force above a layer that was made whole by hand', async () => {
    await guestWrites(host, 1);
    await diskOnly('s1');
    await diskOnly('s2');
    await host.ok('destroy', 'test');
    await run('qemu-img', ['rebase', '-q', '-f', 'qcow2', '-b', '', file('test.s1')]);
    expect(await host.refused('snapshot-revert', 'test', 's2')).toContain('revert requires force');
    await host.ok('snapshot-revert', 'test', 's2', '--running', '--force');
    expect(await guestReads(host, 1)).toBe(true);
  });

  test('cuts a name that would be too long with the new ending', async () => {
    const name = `test.${'é'.repeat(120)}`;
    await newImage(name);
    await host.ok('destroy', 'test');
    await redefineDomain('/test.qcow2', `/${name}`);
    await host.ok('start', 'test');
    await guestWrites(host, 1);
    await diskOnly('s1', '--diskspec', `xvda,file=${file('test.o1')}`);
    await guestWrites(host, 2);
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    expect(await guestReads(host, 1)).toBe(true);
  });

  test('is refused while its document cannot be written, and the domain goes on', async () => {
    await diskOnly('s1');
    await mkdir(join(host.home, 'snapshot', 'test', 's1.xml.new'));
    expect(await host.refused('snapshot-revert', 'test', 's1')).toContain('unable to save metadata');
    expect(await host.ok('domstate', 'test')).toBe('running');
    expect(await images()).toEqual(['test.qcow2', 'test.s1']);
  });

  test('names the new overlays apart where images differ in their extension alone', async () => {
    await host.ok('destroy', 'test');
    await run('truncate', ['-s', '1M', file('test.img')]);
    const disk = `<disk type='file'><driver name='qemu' type='raw'/><source file='${file('test.img')}'/><target dev='xvdb' bus='xen'/></disk>`;
    await redefineDomain('</devices>', `${disk}</devices>`);
    await diskOnly('s1', '--diskspec', `xvda,file=${file('a.o')}`, '--diskspec', `xvdb,file=${file('b.o')}`);
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    const fresh = (await images()).filter((name) => /\.\d+$/.test(name));
    expect(fresh.map((name) => name.replace(/\d+$/, ''))).toEqual(['test.', 'test.xvdb.']);
  });
});

describe('a delete', () => {
  test('is refused where another domain stands on the image under another name', async () => {
    await guestWrites(host, 1);
    await diskOnly('s1');
    await guestWrites(host, 2);
    await symlink('test.qcow2', file('link.qcow2'));
    await defineOther('link.qcow2');
    expect(await host.refused('snapshot-delete', 'test', 's1')).toMatch(/is also used by domain 'other'/);
    await host.ok('destroy', 'test');
    expect(await imageReads(file('test.qcow2'), 1)).toBe(true);
  });

  test('is refused where the redefined snapshot names a file that is no layer of it', async () => {
    await diskOnly('s1');
    await newImage('precious');
    const xml = (await host.ok('snapshot-dumpxml', 'test', 's1')).replace(file('test.s1'), file('precious'));
    await writeFile(file('s1.xml'), xml);
    await host.ok('snapshot-create', 'test', file('s1.xml'), '--redefine');
    expect(await host.refused('snapshot-delete', 'test', 's1')).toMatch(/would remove image '.*precious'.*--metadata/);
    expect(await exists(file('precious'))).toBe(true);
  });

  test('keeps an overlay readable that nobody needs until its own snapshot goes', async () => {
    await guestWrites(host, 1);
    for (const name of ['s0', 's1', 's2']) await diskOnly(name);
    await host.ok('snapshot-revert', 'test', 's1', '--running');
    await host.ok('snapshot-delete', 'test', 's2');
    await host.ok('snapshot-delete', 'test', 's0');
    expect(await backingChain(file('test.s1'))).toEqual([file('test.s1'), file('test.qcow2')]);
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await images()).toEqual(['test.qcow2']);
    expect(await guestReads(host, 1)).toBe(true);
  });

  test.each([
    ['the guest is off and the merged file is there', false, true],
    ['the guest is off and the merged file is gone', false, false],
    ['the guest runs and the merged file is there', true, true],
    ['the guest runs and the merged file is gone', true, false],
  ])(
    'that was cut off when one of two branches stood on the image beneath goes on where %s',
    async (_, runs, there) => {
      await guestWrites(host, 1);
      await diskOnly('s0');
      await guestWrites(host, 2);
      await diskOnly('s1');
      await guestWrites(host, 3);
      await diskOnly('s2');
      await host.ok('snapshot-revert', 'test', 's1');
      const own = (await source()) ?? '';
      await run('qemu-img', ['commit', '-q', '-d', '-f', 'qcow2', file('test.s0')]);
      await run('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-b', file('test.qcow2'), '-F', 'qcow2', own]);
      if (!there) await rm(file('test.s0'));
      const xml = (await host.ok('snapshot-dumpxml', 'test', 's0')).replace(
        "<disk name='xvda' snapshot='external' type='file'>",
        '$&<snapshotDeleteInProgress/>',
      );
      await writeFile(file('s0.xml'), xml);
      await host.ok('snapshot-create', 'test', file('s0.xml'), '--redefine');
      if (runs) await host.ok('start', 'test');
      await host.ok('snapshot-delete', 'test', 's0');
      expect(await exists(file('test.s0'))).toBe(false);
      for (const [name, pattern] of [
        ['s2', 3],
        ['s1', 2],
      ] as const) {
        await host.ok('snapshot-revert', 'test', name, '--running');
        expect(await guestReads(host, pattern)).toBe(true);
      }
    },
  );

  test('that was cut off in the middle of an image leaves nothing to be reverted to, and can be run again', async () => {
    await guestWrites(host, 1);
    await diskOnly('s1');
    await guestWrites(host, 2);
    await guestWrites(host, 2, { at: 64 });
    await host.ok('destroy', 'test');
    // No file may grow, as on a full disk.
    await run('prlimit', [`--pid=${host.pid}`, '--fsize=400000:unlimited']);
    expect(await host.refused('snapshot-delete', 'test', 's1')).toContain(
      "snapshot 's1' of domain 'test' is deleted in part",
    );
    expect(await host.ok('snapshot-dumpxml', 'test', 's1')).toContain('<snapshotDeleteInProgress/>');
    expect(await host.refused('snapshot-revert', 'test', 's1')).toContain(
      "snapshot disk 'xvda' was target of not completed snapshot delete",
    );
    await run('prlimit', [`--pid=${host.pid}`, '--fsize=unlimited']);
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await imageReads(file('test.qcow2'), 2)).toBe(true);
    expect(await imageReads(file('test.qcow2'), 2, { at: 64 })).toBe(true);
  });
});

describe('a file that is given for an overlay or for memory', () => {
  test('in the disk’s own backing chain is refused as overlay', async () => {
    await host.ok('destroy', 'test');
    const spec = ['--reuse-external', '--diskspec', `xvda,file=${file('test.qcow2')}`];
    expect(await host.refused('snapshot-create-as', 'test', 's1', '--disk-only', ...spec)).toContain(
      "it is in the disk's own backing chain",
    );
    expect(await backingChain(file('test.qcow2'))).toEqual([file('test.qcow2')]);
  });

  test('is refused as overlay where it is the disk of another domain', async () => {
    await newImage('other.qcow2');
    await defineOther('other.qcow2');
    const spec = ['--reuse-external', '--diskspec', `xvda,file=${file('other.qcow2')}`];
    expect(await host.refused('snapshot-create-as', 'test', 's1', '--disk-only', ...spec)).toContain(
      "domain 'other' (disk 'xvda') uses it",
    );
    expect(await backingChain(file('other.qcow2'))).toEqual([file('other.qcow2')]);
  });

  test.each([
    ['the overlay itself', 'test.m1', /is to be the overlay of disk 'xvda'/],
    ['an image beneath the disk', 'test.qcow2', /is an image of disk 'xvda'/],
    ['the memory of another snapshot', 'memory', /is part of snapshot 's1'/],
  ])('is refused for memory where it is %s', async (_, name, refusal) => {
    await guestWrites(host, 1);
    await create('s1', '--memspec', file('memory'));
    await newOverlay('test.m1', file('test.s1'));
    const kept = await readFile(file(name));
    const spec = ['--reuse-external', '--memspec', file(name)];
    expect(await host.refused('snapshot-create-as', 'test', 'm1', ...spec)).toMatch(refusal);
    expect((await readFile(file(name))).equals(kept)).toBe(true);
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await guestReads(host, 1)).toBe(true);
  });

  test('stays where a snapshot goes, and its clone has the same memory', async () => {
    await create('s1', '--memspec', file('memory'));
    const xml = (await host.ok('snapshot-dumpxml', 'test', 's1')).replace('<name>s1</name>', '<name>s2</name>');
    await writeFile(file('s2.xml'), xml);
    await host.ok('snapshot-create', 'test', file('s2.xml'), '--redefine');
    await host.ok('snapshot-delete', 'test', 's1');
    expect(await exists(file('memory'))).toBe(true);
    await host.ok('snapshot-delete', 'test', 's2');
    expect(await exists(file('memory'))).toBe(false);
    expect(await images()).toEqual(['test.qcow2']);
  });
});

test('snapshots of a former domain of the same name are neither reverted to nor deleted, but may be forgotten', async () => {
  await create('s1');
  await host.stop('SIGKILL');
  await cp(join(host.home, 'snapshot', 'test'), join(host.home, 'snapshot', 'other'), { recursive: true });
  await using next = await Xlsnapd.start({ home: host.home });
  await writeFile(
    file('other.xml'),
    `<domain type='xen'><name>other</name><memory unit='MiB'>1</memory>
      <os><type machine='xenpvh'>xenpvh</type><kernel>/boot/vmlinuz</kernel></os></domain>`,
  );
  await next.ok('define', file('other.xml'));
  for (const command of ['snapshot-revert', 'snapshot-delete']) {
    expect(await next.refused(command, 'other', 's1')).toMatch(/is of a domain with uuid .*, not of domain 'other'/);
  }
  await next.ok('snapshot-delete', 'other', 's1', '--metadata');
  await next.ok('snapshot-revert', 'test', 's1');
});
