import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { DomainRef } from '../../../src/model/domain.ts';
import type { SnapshotDef } from '../../../src/model/snapshot.ts';
import { SnapshotFiles } from '../../../src/store/snapshot-files.ts';
import { parseDefinition } from '../../../src/xml/domain/definition.ts';
import { writeSnapshot } from '../../../src/xml/snapshot/write.ts';

const STORED = join(import.meta.dirname, '../../../../shared/corpus/oracle-stored/stored');
const domain: DomainRef = { name: 'q1', uuid: '22222222-2222-3333-4444-777777777777', id: -1 };

const snapshot = (name: string, more: Partial<SnapshotDef> = {}): SnapshotDef => ({
  name,
  state: 'shutoff',
  creationTime: 1n,
  memory: { location: 'no' },
  disks: [{ name: 'xvda', location: 'internal' }],
  revertDisks: [],
  ...more,
});

const text = (name: string, current = false): string => writeSnapshot(snapshot(name), { secure: true, current });

let dir = '';
let logged: string[] = [];
let files: SnapshotFiles;
const folder = (): string => join(dir, domain.name);
const put = async (file: string, content: string | Buffer): Promise<void> => {
  await mkdir(folder(), { recursive: true });
  await writeFile(join(folder(), file), content);
};

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'xlsnap-store-'));
  logged = [];
  files = new SnapshotFiles(dir, (line) => logged.push(line));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

describe('files that libvirtd stored', () => {
  test('load with the relations, times and current that they say', async () => {
    for (const file of await readdir(STORED)) {
      if (file.startsWith('q1.')) await put(file.slice(3), await readFile(join(STORED, file)));
    }
    const { entries, current } = await files.load(domain);
    expect(entries.map(({ name, parent, state }) => [name, parent, state])).toEqual([
      ['1795482322', 'paused', 'shutoff'],
      ['off', undefined, 'shutoff'],
      ['paused', 'run', 'paused'],
      ['run', 'off', 'running'],
    ]);
    expect(current).toBe('1795482322');
    expect(logged).toEqual([]);
  });

  test('are stored again as they were, but for the cookie of their driver', async () => {
    const original = await readFile(join(STORED, 'q1.run.xml'), 'utf8');
    await put('run.xml', original);
    const { current } = await files.load(domain);
    await files.write(domain, await files.read(domain, 'run'), current === 'run');
    const withoutCookie = original.replace(/ {2}<cookie>\n[\s\S]*? {2}<\/cookie>\n/, '');
    expect(await readFile(join(folder(), 'run.xml'), 'utf8')).toBe(withoutCookie);
  });
});

describe('the document for clients', () => {
  const withPassword = parseDefinition(
    "<domain type='xen'><name>q1</name><os><type>linux</type></os><memory>1</memory><devices><graphics type='vnc' passwd='secret'/></devices></domain>",
  );

  test('has passwords only where they are asked for, whichever was asked for first', async () => {
    await files.write(domain, snapshot('s1', { domain: withPassword }), true);
    for (const secure of [true, false, true, false]) {
      const document = await files.describe(domain, 's1', secure);
      expect(document).toBe(writeSnapshot(await files.read(domain, 's1'), { secure, uuid: domain.uuid }));
      expect(document.includes('secret')).toBe(secure);
    }
  });

  test('is not read again, until its snapshot is written or removed, or the folder is loaded', async () => {
    await files.write(domain, snapshot('s1'), false);
    const described = () => files.describe(domain, 's1', false);
    const first = await described();
    await put('s1.xml', text('s1').replace('<state>shutoff', '<description>edited</description><state>shutoff'));
    expect(await described()).toBe(first);
    await files.load(domain);
    expect(await described()).toContain('<description>edited</description>');
    await files.write(domain, snapshot('s1', { description: 'written' }), false);
    expect(await described()).toContain('<description>written</description>');
    await files.rename(domain, { ...domain, name: 'q2' });
    expect(await files.describe({ ...domain, name: 'q2' }, 's1', false)).toContain('written');
    await files.remove({ ...domain, name: 'q2' }, 's1');
    await expect(files.describe({ ...domain, name: 'q2' }, 's1', false)).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
    });
  });
});

describe('writing', () => {
  test('reads back, with passwords, and says which one is current', async () => {
    const definition = parseDefinition(
      "<domain type='xen'><name>q1</name><os><type>linux</type></os><memory>1</memory><devices><graphics type='vnc' passwd='s'/></devices></domain>",
    );
    const given = snapshot('s1', {
      description: 'a <b>',
      parent: 's0',
      domain: definition,
      inactiveDomain: definition,
    });
    await files.write(domain, given, true);
    expect(await files.read(domain, 's1')).toEqual(given);
    const { entries, current } = await new SnapshotFiles(dir, (line) => logged.push(line)).load(domain);
    expect(current).toBe('s1');
    expect(entries).toEqual([
      {
        name: 's1',
        parent: 's0',
        state: 'shutoff',
        creationTime: 1n,
        memory: given.memory,
        disks: given.disks,
        images: [],
        volumes: [],
      },
    ]);
  });

  test('a snapshot without a definition gets the domain’s UUID', async () => {
    await files.write(domain, snapshot('s1'), false);
    expect(await readFile(join(folder(), 's1.xml'), 'utf8')).toContain(
      `  <domain>\n    <uuid>${domain.uuid}</uuid>\n  </domain>\n  <active>0</active>\n`,
    );
  });

  test('only the owner may read, and no other file is left', async () => {
    await files.write(domain, snapshot('s1'), false);
    expect((await stat(join(folder(), 's1.xml'))).mode & 0o777).toBe(0o600);
    expect(await readdir(folder())).toEqual(['s1.xml']);
  });

  test('replaces in place', async () => {
    await files.write(domain, snapshot('s1'), true);
    await files.write(domain, snapshot('s1', { parent: 'p' }), false);
    expect(await files.load(domain)).toMatchObject({ entries: [{ name: 's1', parent: 'p' }] });
  });

  test('a name too long for the file system is refused whole, naming snapshot and domain', async () => {
    await expect(files.write(domain, snapshot('x'.repeat(300)), false)).rejects.toMatchObject({
      code: 'INTERNAL_ERROR',
      message: expect.stringMatching(
        /^internal error: unable to save metadata for snapshot x+ of domain 'q1': .*name too long/i,
      ),
    });
    expect(await readdir(folder())).toEqual([]);
  });

  test.each(['../s', 'a/b', '/etc/x'])('the name %j does not leave the folder', async (name) => {
    await expect(files.write(domain, snapshot(name), false)).rejects.toMatchObject({ code: 'INVALID_ARG' });
    await expect(files.remove(domain, name)).rejects.toMatchObject({ code: 'INVALID_ARG' });
  });

  test.each(['..', '.', '', 'a/b', 'a\0b'])('the domain name %j does not leave the folder', async (name) => {
    await expect(files.load({ ...domain, name })).rejects.toMatchObject({ code: 'INVALID_ARG' });
  });
});

describe('loading', () => {
  test('a domain without a folder has none', async () => {
    expect(await files.load(domain)).toEqual({ entries: [] });
  });

  test('takes every file, whatever its name; the name inside counts', async () => {
    await put('other.bak', text('s1'));
    await put('.dot.xml', text('s2'));
    await put('s3.xml.new', text('s3', true));
    const { entries, current } = await files.load(domain);
    expect(entries.map(({ name }) => name)).toEqual(['s2', 's1', 's3']);
    expect(current).toBe('s3');
    expect((await files.read(domain, 's1')).name).toBe('s1');
  });

  test('goes on past what it cannot use, says what that is, and leaves it alone', async () => {
    await put('a.xml', text('a'));
    await put('broken.xml', '<domainsnapshot>\n <name>x</nam>');
    await put('empty.xml', '');
    await put('foreign.xml', '<domain/>');
    await put('inactive.xml', text('inactive').replace(/ *<active>.*\n/, ''));
    await put('latin1.xml', Buffer.from('<domainsnapshot><name>\xe4</name></domainsnapshot>', 'latin1'));
    await put('long.xml', text('long') + ' '.repeat(1024 * 1024));
    await mkdir(join(folder(), 'sub.xml'));
    execFileSync('mkfifo', [join(folder(), 'pipe')]);
    const before = await readdir(folder());
    const { entries } = await files.load(domain);
    expect(entries.map(({ name }) => name)).toEqual(['a']);
    const read = (file: string, reason: string) => `Failed to read snapshot file ${join(folder(), file)}: ${reason}`;
    const parse = (file: string, reason: string) =>
      `internal error: Failed to parse snapshot XML from file '${join(folder(), file)}': ${reason}`;
    expect(logged).toEqual([
      parse(
        'broken.xml',
        '(domain_snapshot):2: Opening and ending tag mismatch: name line 2 and nam\n <name>x</nam>\n--------------^',
      ),
      parse('empty.xml', '(domain_snapshot):1: Document is empty\n(null)\n^'),
      parse('foreign.xml', "XML error: expecting root element of 'domainsnapshot', not 'domain'"),
      parse('inactive.xml', "internal error: Could not find 'active' element"),
      read('latin1.xml', 'The encoded data was not valid for encoding utf-8'),
      read('long.xml', 'Longer than 1048576 bytes'),
      parse('pipe', '(domain_snapshot):1: Document is empty\n(null)\n^'),
      read('sub.xml', 'Is a directory'),
    ]);
    expect(await readdir(folder())).toEqual(before);
  });

  test('the first file of a name counts', async () => {
    await put('a.xml', text('s1').replace('<name>s1', '<description>first</description><name>s1'));
    await put('b.xml', text('s1'));
    const { entries } = await files.load(domain);
    expect(entries).toHaveLength(1);
    expect((await files.read(domain, 's1')).description).toBe('first');
    expect(logged).toEqual([expect.stringMatching(/^operation failed: domain moment s1 already exists: .*b\.xml'$/)]);
  });

  test('of several that claim to be current the last one is', async () => {
    for (const name of ['s1', 's2', 's3']) await put(`${name}.xml`, text(name, name !== 's3'));
    expect(await files.load(domain)).toMatchObject({ current: 's2' });
    expect(logged).toEqual(['internal error: Too many snapshots claiming to be current for domain q1']);
  });

  test('a folder that cannot be read is an error with its name', async () => {
    await writeFile(join(dir, domain.name), '');
    await expect(files.load(domain)).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      message: `Failed to open snapshot directory ${folder()}: Not a directory`,
    });
  });
});

test('of many files each is read once, and the first of a name counts however far apart they are', async () => {
  const names = Array.from({ length: 50 }, (_, index) => `s${String(index).padStart(2, '0')}`);
  for (const name of names) await put(`${name}.xml`, text(name));
  await put('zz.xml', writeSnapshot(snapshot('s00', { parent: 's49' }), { secure: true, current: false }));
  await put('t.xml', 'x');
  const { entries } = await files.load(domain);
  expect(entries.map(({ name }) => name)).toEqual(names);
  expect(entries[0]).not.toHaveProperty('parent');
  expect(logged).toEqual([
    expect.stringContaining(`Failed to parse snapshot XML from file '${join(folder(), 't.xml')}'`),
    `operation failed: domain moment s00 already exists: ignored '${join(folder(), 'zz.xml')}'`,
  ]);
});

describe('removing', () => {
  test('takes the file, and the folder with the last one', async () => {
    await files.write(domain, snapshot('s1'), false);
    await files.write(domain, snapshot('s2'), false);
    await files.remove(domain, 's1');
    expect(await readdir(folder())).toEqual(['s2.xml']);
    await files.remove(domain, 's2');
    expect(await readdir(dir)).toEqual([]);
  });

  test('what is gone already is no error', async () => {
    await expect(files.remove(domain, 's1')).resolves.toBeUndefined();
  });

  test('leaves a file of another name behind, as libvirt does', async () => {
    await put('other.bak', text('s1'));
    await files.load(domain);
    await files.remove(domain, 's1');
    expect(await readdir(folder())).toEqual(['other.bak']);
  });

  test('does not take another snapshot’s file', async () => {
    await put('s1.xml', text('s2'));
    await put('other.bak', text('s1'));
    await files.load(domain);
    await files.remove(domain, 's1');
    expect((await readdir(folder())).sort()).toEqual(['other.bak', 's1.xml']);
    expect((await files.read(domain, 's2')).name).toBe('s2');
  });

  test('once overwritten, a snapshot has its own file', async () => {
    await put('other.bak', text('s1'));
    await files.load(domain);
    await files.write(domain, snapshot('s1', { parent: 'p' }), false);
    expect((await files.read(domain, 's1')).parent).toBe('p');
  });
});

describe('renaming', () => {
  const renamed: DomainRef = { ...domain, name: 'q9' };

  test('moves the folder whole, also what lies in files of other names', async () => {
    await put('other.bak', text('s1'));
    await put('note.txt', 'mine');
    await files.load(domain);
    await files.write(domain, snapshot('s2'), true);
    await files.rename(domain, renamed);
    expect(await readdir(dir)).toEqual(['q9']);
    expect((await readdir(join(dir, 'q9'))).sort()).toEqual(['note.txt', 'other.bak', 's2.xml']);
    expect((await files.read(renamed, 's1')).name).toBe('s1');
    expect((await files.load(domain)).entries).toEqual([]);
    const { entries, current } = await files.load(renamed);
    expect([entries.map(({ name }) => name), current]).toEqual([['s1', 's2'], 's2']);
  });

  test('without any file there is nothing to move', async () => {
    await files.rename(domain, renamed);
    expect(await readdir(dir)).toEqual([]);
  });

  test('does not replace what is there under the new name', async () => {
    await files.write(domain, snapshot('s1'), false);
    await files.write(renamed, snapshot('theirs'), false);
    await expect(files.rename(domain, renamed)).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      message: `cannot rename folder '${folder()}' as '${join(dir, 'q9')}': Directory not empty`,
    });
    expect((await files.read(domain, 's1')).name).toBe('s1');
    expect((await files.read(renamed, 'theirs')).name).toBe('theirs');
  });
});

describe('reading', () => {
  test('a file that went away is an error with its name', async () => {
    await expect(files.read(domain, 's1')).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      message: `Failed to read snapshot file ${join(folder(), 's1.xml')}: No such file or directory`,
    });
  });

  test('a file that now holds another snapshot is refused', async () => {
    await put('s1.xml', text('s2'));
    await expect(files.read(domain, 's1')).rejects.toThrow(/now holds snapshot 's2' of domain 'q1', not 's1'/);
  });
});

test('a write that fails leaves the old file', async () => {
  await files.write(domain, snapshot('s1'), false);
  await mkdir(join(folder(), 's1.xml.new'));
  await expect(files.write(domain, snapshot('s1', { parent: 'p' }), false)).rejects.toThrow(/unable to save metadata/);
  expect((await files.read(domain, 's1')).parent).toBeUndefined();
});

describe('after a crash', () => {
  test('who only looks removes nothing: a daemon may be writing it', async () => {
    await put('a.xml', text('a'));
    await put('a.xml.new', text('a').slice(0, 100));
    expect((await files.look(domain)).entries.map(({ name }) => name)).toEqual(['a']);
    expect((await readdir(folder())).toSorted()).toEqual(['a.xml', 'a.xml.new']);
    expect(logged).toEqual([]);
  });

  test('an unfinished file beside the one that it was to replace is not read, and goes with it', async () => {
    await put('a.xml', text('a', true));
    await put('a.xml.new', text('a').slice(0, 100));
    expect((await files.load(domain)).entries.map(({ name }) => name)).toEqual(['a']);
    expect(logged).toEqual([]);
    await files.remove(domain, 'a');
    expect(await readdir(dir)).toEqual([]);
  });

  test('a whole file that was not renamed yet is a snapshot, and its deletion leaves nothing', async () => {
    await put('b.xml.new', text('b'));
    expect((await files.load(domain)).entries.map(({ name }) => name)).toEqual(['b']);
    await files.remove(domain, 'b');
    expect(await readdir(dir)).toEqual([]);
  });

  test('of two that claim to be current the child is, in whatever order they are read', async () => {
    const claims = (name: string, parent?: string) =>
      writeSnapshot(snapshot(name, parent === undefined ? {} : { parent }), { secure: true, current: true });
    await put('z.xml', claims('z'));
    await put('a.xml', claims('a', 'z'));
    expect((await files.load(domain)).current).toBe('a');
    await put('a.xml', claims('a'));
    await put('z.xml', claims('z', 'a'));
    expect((await files.load(domain)).current).toBe('z');
    expect(logged).toHaveLength(2);
  });
});

test('a document that libvirt could not read again is refused before anything is written', async () => {
  const long = snapshot('long', { description: 'x'.repeat(1024 * 1024) });
  expect(() => files.check(domain, long)).toThrow(
    /description of snapshot 'long' of domain 'q1' is too long: \d+ bytes/,
  );
  await expect(files.write(domain, long, true)).rejects.toThrow('too long');
  expect(await readdir(dir)).toEqual([]);
});
