/** The embedded host through the front door: the real virsh, real images, a real qemu-storage-daemon. */

import { execFile } from 'node:child_process';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { contentsOf } from '../support/folder.ts';

const run = promisify(execFile);

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

let host: Xlsnapd;

const image = () => join(host.home, 'state/test.qcow2');
const memoryImages = () => readdir(join(host.home, 'memory', UUID)).catch(() => []);
const metadataFiles = () => readdir(join(host.home, 'snapshot/test')).catch(() => []);

const inImage = () => snapshotsIn(image());

/** Everything that another operation would have left: nothing. */
const expectNothingLeft = async () => {
  expect(await host.ok('snapshot-list', 'test', '--name')).toBe('');
  expect(await inImage()).toEqual([]);
  expect(await memoryImages()).toEqual([]);
  expect(await metadataFiles()).toEqual([]);
};

beforeAll(async () => {
  host = await Xlsnapd.start();
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(host.home, { recursive: true, force: true });
});

beforeEach(async () => {
  const names = (await host.ok('snapshot-list', 'test', '--name')).split('\n').filter(Boolean);
  for (const name of names) await host.ok('snapshot-delete', 'test', name);
  const state = await host.ok('domstate', 'test');
  if (state === 'paused') await host.ok('resume', 'test');
  if (state === 'shut off') await host.ok('start', 'test');
});

describe('a running domain', () => {
  test('is snapshot with memory and disk, and goes on running', async () => {
    expect(await host.ok('snapshot-create-as', 'test', 's1', 'first')).toBe('Domain snapshot s1 created');
    expect(await host.ok('domstate', 'test')).toBe('running');
    expect(await inImage()).toEqual(['s1']);
    expect(await memoryImages()).toEqual(['s1.save']);
    expect(await metadataFiles()).toEqual(['s1.xml']);
  });

  test('shows its snapshots in every list as libvirt would', async () => {
    await host.ok('snapshot-create-as', 'test', 's1');
    await host.ok('snapshot-create-as', 'test', 's2');
    expect(await host.ok('snapshot-list', 'test', '--name')).toBe('s1\ns2');
    expect(await host.ok('snapshot-list', 'test', '--tree')).toBe('s1\n  |\n  +- s2');
    expect(await host.ok('snapshot-current', 'test', '--name')).toBe('s2');
    expect(await host.ok('snapshot-parent', 'test', 's2')).toBe('s1');
    expect(await host.refused('snapshot-parent', 'test', 's1')).toBe("snapshot 's1' has no parent");
    expect(await host.ok('snapshot-info', 'test', 's1')).toBe(
      [
        'Name:           s1',
        'Domain:         test',
        'Current:        no',
        'State:          running',
        'Location:       internal',
        'Parent:         -',
        'Children:       1',
        'Descendants:    1',
        'Metadata:       yes',
      ].join('\n'),
    );
  });

  test('is described by its snapshot with state, memory, disks and definition', async () => {
    await host.ok('snapshot-create-as', 'test', 's1', 'a <b> & "c"');
    const xml = await host.ok('snapshot-dumpxml', 'test', 's1');
    expect(xml).toMatch(
      /^<domainsnapshot>\n {2}<name>s1<\/name>\n {2}<description>a &lt;b&gt; &amp; &quot;c&quot;<\/description>\n {2}<state>running<\/state>\n {2}<creationTime>\d+<\/creationTime>\n {2}<memory snapshot='internal'\/>\n {2}<disks>\n {4}<disk name='xvda' snapshot='internal'\/>\n {2}<\/disks>\n {2}<domain type='/,
    );
    expect(xml).toContain(`\n    <uuid>${UUID}</uuid>\n`);
    expect(xml).toMatch(/\n {2}<inactiveDomain type='/);
  });

  test('goes back to the first of two snapshots, and both can be deleted', async () => {
    await host.ok('snapshot-create-as', 'test', 's1');
    await host.ok('snapshot-create-as', 'test', 's2');
    expect(await host.ok('snapshot-revert', 'test', 's1')).toBe('Domain snapshot s1 reverted');
    expect(await host.ok('domstate', 'test', '--reason')).toBe('running (from snapshot)');
    expect(await host.ok('snapshot-current', 'test', '--name')).toBe('s1');
    expect(await host.ok('snapshot-delete', 'test', 's1')).toBe('Domain snapshot s1 deleted');
    expect(await host.ok('snapshot-parent', 'test', 's2').catch((e: Error) => e.message)).toContain('has no parent');
    expect(await host.ok('snapshot-delete', 'test', 's2')).toBe('Domain snapshot s2 deleted');
    await expectNothingLeft();
    await run('qemu-img', ['check', '-U', image()]);
  });

  test('reverted with --paused is paused, and its guest can be resumed', async () => {
    await host.ok('snapshot-create-as', 'test', 's1');
    await host.ok('snapshot-revert', 'test', 's1', '--paused');
    expect(await host.ok('domstate', 'test')).toBe('paused');
    await host.ok('resume', 'test');
    expect(await host.ok('domstate', 'test')).toBe('running');
  });

  test('reverted with --reset-nvram is where it would be without: its NVRAM is in its memory', async () => {
    await host.ok('snapshot-create-as', 'test', 's1');
    expect(await host.ok('snapshot-revert', 'test', 's1', '--reset-nvram')).toBe('Domain snapshot s1 reverted');
    expect(await host.ok('domstate', 'test', '--reason')).toBe('running (from snapshot)');
  });

  test('that is paused is snapshot as paused, stays so, and comes back so', async () => {
    await host.ok('suspend', 'test');
    await host.ok('snapshot-create-as', 'test', 's1');
    expect(await host.ok('domstate', 'test')).toBe('paused');
    expect(await host.ok('snapshot-info', 'test', 's1')).toContain('State:          paused');
    await host.ok('resume', 'test');
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await host.ok('domstate', 'test')).toBe('paused');
  });

  test('snapshots without a name are named by the second', async () => {
    const created = await host.ok('snapshot-create', 'test');
    expect(created).toMatch(/^Domain snapshot \d{10} created$/);
  });
});

describe('a domain that is shut off', () => {
  test('keeps its snapshots under another name', async () => {
    expect(await host.refused('domrename', 'test', 'other')).toContain('cannot rename active domain');
    await host.ok('destroy', 'test');
    await host.ok('snapshot-create-as', 'test', 's1');
    expect(await host.refused('domrename', 'test', 'a/b')).toContain("XML error: name a/b cannot contain '/'");
    expect(await host.refused('domrename', 'test', 'test')).toContain("Can't rename domain to itself");
    await host.ok('domrename', 'test', 'other');
    expect(await host.ok('snapshot-list', 'other', '--name')).toBe('s1');
    expect(await contentsOf(join(host.home, 'snapshot'))).toEqual(['other']);
    await host.ok('snapshot-revert', 'other', 's1');
    expect(await host.ok('list', '--all', '--name')).toBe('other');
    await host.ok('snapshot-delete', 'other', 's1');
    await host.ok('domrename', 'other', 'test');
  });

  test('is snapshot by its disks alone, and reverted', async () => {
    await host.ok('destroy', 'test');
    await host.ok('snapshot-create-as', 'test', 'off1');
    const xml = await host.ok('snapshot-dumpxml', 'test', 'off1');
    expect(xml).toContain('\n  <state>shutoff</state>\n');
    expect(xml).toContain("\n  <memory snapshot='no'/>\n");
    expect(await memoryImages()).toEqual([]);
    await host.ok('start', 'test');
    await host.ok('snapshot-revert', 'test', 'off1');
    expect(await host.ok('domstate', 'test', '--reason')).toBe('shut off (from snapshot)');
    await host.ok('snapshot-revert', 'test', 'off1', '--running');
    expect(await host.ok('domstate', 'test')).toBe('running');
    await host.ok('snapshot-delete', 'test', 'off1');
    await expectNothingLeft();
  });

  test('wakes up when it is reverted to a running snapshot', async () => {
    await host.ok('snapshot-create-as', 'test', 's1');
    await host.ok('destroy', 'test');
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await host.ok('domstate', 'test')).toBe('running');
  });

  test('cannot be undefined while it has snapshots, unless their metadata may go', async () => {
    await host.ok('snapshot-create-as', 'test', 's1');
    await host.ok('destroy', 'test');
    expect(await host.refused('undefine', 'test')).toContain(
      'Requested operation is not valid: cannot delete inactive domain with 1 snapshots',
    );
    expect(await metadataFiles()).toEqual(['s1.xml']);
  });
});

describe('options of create', () => {
  test('--halt leaves the domain shut off, from the snapshot', async () => {
    await host.ok('snapshot-create-as', 'test', 's1', '--halt');
    expect(await host.ok('domstate', 'test', '--reason')).toBe('shut off (from snapshot)');
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await host.ok('domstate', 'test')).toBe('running');
  });

  test('--no-metadata takes a snapshot that nobody lists', async () => {
    await host.ok('snapshot-create-as', 'test', 's1', '--no-metadata', '--atomic');
    expect(await host.ok('snapshot-list', 'test', '--name')).toBe('');
    expect(await inImage()).toEqual(['s1']);
    expect(await memoryImages()).toEqual(['s1.save']);
    await host.ok('destroy', 'test');
    await run('qemu-img', ['snapshot', '-d', 's1', image()]);
    await rm(join(host.home, 'memory', UUID, 's1.save'));
  });

  test('--validate refuses what the schema does not know', async () => {
    const file = join(host.home, 'unknown.xml');
    await writeFile(file, '<domainsnapshot><name>s1</name><colour/></domainsnapshot>');
    expect(await host.refused('snapshot-create', 'test', file, '--validate')).toMatch(
      /^XML document failed to validate against schema: /,
    );
    expect(await host.ok('snapshot-create', 'test', file)).toBe(`Domain snapshot s1 created from '${file}'`);
  });

  test('a dump that is redefined is the same snapshot, and can be made current', async () => {
    await host.ok('snapshot-create-as', 'test', 's1', 'first');
    await host.ok('snapshot-create-as', 'test', 's2');
    const dump = await host.ok('snapshot-dumpxml', 'test', 's1', '--security-info');
    const file = join(host.home, 's1.xml');
    await writeFile(file, dump);
    await host.ok('snapshot-delete', 'test', 's1', '--metadata');
    await host.ok('snapshot-create', 'test', file, '--redefine');
    expect(await host.ok('snapshot-dumpxml', 'test', 's1', '--security-info')).toBe(dump);
    expect(await host.ok('snapshot-current', 'test', '--name')).toBe('s2');
    expect(await host.ok('snapshot-current', 'test', 's1')).toBe('Snapshot s1 set as current');
    expect(await host.ok('snapshot-current', 'test', '--name')).toBe('s1');
    await host.ok('snapshot-revert', 'test', 's1');
  });

  test.each([
    [
      ['--diskspec', 'xvda,snapshot=external'],
      /^unsupported configuration: disk 'xvda' must use snapshot mode 'internal'/,
    ],
    [['--diskspec', 'xvda,snapshot=no'], /^unsupported configuration: disk 'xvda' must use snapshot mode 'internal'/],
    [['--diskspec', 'xvdz'], /^unsupported configuration: no disk named 'xvdz'/],
    [['--disk-only', '--quiesce'], /^(argument unsupported|unsupported configuration): /],
  ])('%j is refused with the reason, and nothing is left', async (options, reason) => {
    expect(await host.refused('snapshot-create-as', 'test', 's1', ...options)).toMatch(reason);
    await expectNothingLeft();
  });
});

describe('deleting', () => {
  beforeEach(async () => {
    for (const name of ['a', 'b', 'c']) await host.ok('snapshot-create-as', 'test', name);
  });

  test('a snapshot gives its children to its parent', async () => {
    await host.ok('snapshot-delete', 'test', 'b');
    expect(await host.ok('snapshot-parent', 'test', 'c')).toBe('a');
    expect(await inImage()).toEqual(['a', 'c']);
  });

  test('the current one makes its parent current', async () => {
    await host.ok('snapshot-delete', 'test', 'c');
    expect(await host.ok('snapshot-current', 'test', '--name')).toBe('b');
  });

  test('--children takes everything beneath along', async () => {
    await host.ok('snapshot-delete', 'test', 'b', '--children');
    expect(await host.ok('snapshot-list', 'test', '--name')).toBe('a');
    expect(await host.ok('snapshot-current', 'test', '--name')).toBe('a');
    expect(await inImage()).toEqual(['a']);
    expect(await memoryImages()).toEqual(['a.save']);
  });

  test('--children-only keeps the snapshot itself', async () => {
    await host.ok('snapshot-delete', 'test', 'a', '--children-only');
    expect(await host.ok('snapshot-list', 'test', '--name')).toBe('a');
    expect(await host.ok('snapshot-current', 'test', '--name')).toBe('a');
  });

  test('--metadata forgets the snapshot and keeps its data', async () => {
    await host.ok('snapshot-delete', 'test', 'c', '--metadata');
    expect(await metadataFiles()).toEqual(['a.xml', 'b.xml']);
    expect(await inImage()).toEqual(['a', 'b', 'c']);
    expect(await memoryImages()).toEqual(['a.save', 'b.save', 'c.save']);
    await host.ok('destroy', 'test');
    await run('qemu-img', ['snapshot', '-d', 'c', image()]);
    await rm(join(host.home, 'memory', UUID, 'c.save'));
  });
});

describe('what cannot be done', () => {
  test('a second snapshot of one name changes nothing', async () => {
    await host.ok('snapshot-create-as', 'test', 's1');
    const before = await readFile(join(host.home, 'snapshot/test/s1.xml'), 'utf8');
    expect(await host.refused('snapshot-create-as', 'test', 's1')).toBe(
      'operation failed: domain moment s1 already exists',
    );
    expect(await readFile(join(host.home, 'snapshot/test/s1.xml'), 'utf8')).toBe(before);
    expect(await inImage()).toEqual(['s1']);
  });

  test.each([
    ['a/b', "invalid snapshot name 'a/b': name can't contain '/'"],
    ['.hidden', "invalid snapshot name '.hidden': name can't start with '.'"],
    ['../../etc/x', "invalid snapshot name '../../etc/x': name can't contain '/'"],
  ])('the name %s', async (name, text) => {
    expect(await host.refused('snapshot-create-as', 'test', name)).toBe(text);
    await expectNothingLeft();
  });

  test.each(['snapshot-dumpxml', 'snapshot-revert', 'snapshot-delete', 'snapshot-info', 'snapshot-parent'])(
    '%s of an unknown snapshot',
    async (command) => {
      expect(await host.refused(command, 'test', 'nope')).toContain(
        "Domain snapshot not found: no domain snapshot with matching name 'nope'",
      );
    },
  );

  test('an unknown domain', async () => {
    expect(await host.refused('snapshot-list', 'nodom')).toBe("failed to get domain 'nodom'");
  });

  test("malformed XML gets libxml2's words with line and place", async () => {
    const file = join(host.home, 'bad.xml');
    await writeFile(file, '<domainsnapshot>\n  <name>x</nam>\n</domainsnapshot>\n');
    expect(await host.refused('snapshot-create', 'test', file)).toBe(
      '(domain_snapshot):2: Opening and ending tag mismatch: name line 2 and nam\n  <name>x</nam>\n---------------^',
    );
    await expectNothingLeft();
  });

  test('flags that do not go together', async () => {
    expect(await host.refused('snapshot-create-as', 'test', 's1', '--live', '--no-metadata', '--quiesce')).toContain(
      "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE'",
    );
  });
});

test('snapshots outlive the daemon, and a running one can be reverted to by the next', async () => {
  await host.ok('snapshot-create-as', 'test', 's1');
  await host.ok('snapshot-create-as', 'test', 's2');
  const before = await host.ok('snapshot-dumpxml', 'test', 's2', '--security-info');
  await host.stop();
  const { home } = host;
  host = await Xlsnapd.start({ home });
  expect(await host.ok('snapshot-list', 'test', '--tree')).toBe('s1\n  |\n  +- s2');
  expect(await host.ok('snapshot-current', 'test', '--name')).toBe('s2');
  expect(await host.ok('snapshot-dumpxml', 'test', 's2', '--security-info')).toBe(before);
  await host.ok('snapshot-revert', 'test', 's1');
  expect(await host.ok('domstate', 'test')).toBe('running');
});
