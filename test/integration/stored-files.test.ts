/** libvirt's stored files before a real xlsnapd, whose domains a real libvirtd keeps: loading, repair, rename, undefine. */

import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { newImage } from '../support/hosts/embedded.ts';
import { until } from '../support/until.ts';
import { virsh } from '../support/virsh.ts';

const ORACLE_STORED = join(import.meta.dirname, '../../../shared/corpus/oracle-stored');
/** Some twenty commands, on a busy machine. */
const LONG_TEST_TIMEOUT_MS = 60_000;
const MIB = 1024 * 1024;

let libvirtd: Libvirtd;
let daemon: Xlsnapd | undefined;
let home: string;
let image: string;
let uuids = 0;

beforeAll(async () => {
  libvirtd = await startLibvirtd();
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  await chmod(home, 0o755);
  image = await newImage(join(home, 'a.qcow2'));
});

afterEach(async () => {
  await daemon?.[Symbol.asyncDispose]();
});

afterAll(async () => {
  await libvirtd[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

const start = async (): Promise<Xlsnapd> => {
  daemon = await Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket] });
  return daemon;
};

const folderOf = (domain: string): string => join(home, 'snapshot', domain);

/** A domain that libvirtd knows, with its folder of snapshots. */
async function define(name: string, files: Readonly<Record<string, string>> = {}): Promise<void> {
  const uuid = `11111111-2222-3333-4444-${String(++uuids).padStart(12, '0')}`;
  const xml = join(home, `${name}.xml`);
  await writeFile(
    xml,
    `<domain type='test'><name>${name}</name><uuid>${uuid}</uuid><memory>4096</memory><os><type>hvm</type></os><devices>
     <disk type='file'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='vda'/></disk></devices></domain>`,
  );
  await direct('define', xml);
  await mkdir(folderOf(name), { recursive: true });
  for (const [file, text] of Object.entries(files)) await writeFile(join(folderOf(name), file), text);
}

/** Past xlsnapd, at libvirtd itself. */
async function direct(...args: readonly string[]): Promise<void> {
  const { status, stderr } = await virsh(`test+unix:///default?socket=${libvirtd.socket}`, ...args);
  if (status !== 0) throw new Error(stderr);
}

interface Stored {
  readonly parent?: string;
  readonly active?: 0 | 1;
}

const stored = (name: string, { parent, active = 0 }: Stored = {}): string => `<domainsnapshot>
  <name>${name}</name>
  <state>shutoff</state>
${parent === undefined ? '' : `  <parent>\n    <name>${parent}</name>\n  </parent>\n`}  <creationTime>1700000000</creationTime>
  <memory snapshot='no'/>
  <domain>
    <uuid>11111111-2222-3333-4444-000000000000</uuid>
  </domain>
  <active>${active}</active>
</domainsnapshot>
`;

/** Everything that would show a write: contents, times, what is there. */
async function contents(folder: string): Promise<unknown> {
  const names = (await readdir(folder)).sort();
  return await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      const found = await stat(path).catch(() => undefined);
      return [name, found?.mtimeMs, found?.isFile() ? await readFile(path, 'utf8') : undefined];
    }),
  );
}

const listed = async (xlsnapd: Xlsnapd, domain: string, ...options: readonly string[]): Promise<readonly string[]> =>
  (await xlsnapd.ok('snapshot-list', domain, '--name', ...options)).split('\n').filter((name) => name !== '');

describe('a folder loads as libvirt loads it', () => {
  test('what can be used is used whatever its file is called; the rest is named in the log and left alone', async () => {
    const good = stored('good');
    await define('mixed', {
      'good.xml': good,
      'child.xml': stored('child', { parent: 'good', active: 1 }),
      'other.bak': stored('bak', { active: 1 }),
      '.dot.xml': stored('dot'),
      'zz-copy.xml': stored('good', { parent: 'bak' }),
      'half.xml': good.slice(0, good.length / 2),
      'inactive.xml': stored('inactive').replace(/ {2}<active>.*\n/, ''),
      'large.xml': good + ' '.repeat(MIB),
      'latin.xml': '',
      'left.xml.new': stored('left'),
    });
    const folder = folderOf('mixed');
    await writeFile(join(folder, 'latin.xml'), Buffer.from(stored('caf\u00e9'), 'latin1'));
    await mkdir(join(folder, 'subfolder'));
    await symlink('/nowhere', join(folder, 'dangling.xml'));
    const before = await contents(folder);

    const xlsnapd = await start();
    expect(await listed(xlsnapd, 'mixed')).toEqual(['bak', 'child', 'dot', 'good', 'left']);
    expect(await xlsnapd.ok('snapshot-current', 'mixed', '--name')).toBe('bak');
    expect(await xlsnapd.ok('snapshot-parent', 'mixed', 'child')).toBe('good');
    expect(await xlsnapd.refused('snapshot-parent', 'mixed', 'good')).toBe("snapshot 'good' has no parent");
    for (const line of [
      'Too many snapshots claiming to be current for domain mixed',
      'domain moment good already exists',
      `Failed to parse snapshot XML from file '${folder}/half.xml'`,
      `Failed to parse snapshot XML from file '${folder}/inactive.xml': internal error: Could not find 'active' element`,
      `Failed to read snapshot file ${folder}/large.xml`,
      `Failed to read snapshot file ${folder}/latin.xml`,
      `Failed to read snapshot file ${folder}/subfolder: Is a directory`,
      // A link is not followed, wherever it leads.
      `Failed to read snapshot file ${folder}/dangling.xml: Too many levels of symbolic links`,
    ]) {
      expect(xlsnapd.log).toContain(line);
    }
    expect(await contents(folder)).toEqual(before);
  });

  test('with broken relations nothing is current and the offenders are roots that keep their parents’ names', async () => {
    await define('broken', {
      'a.xml': stored('a', { parent: 'b' }),
      'b.xml': stored('b', { parent: 'a' }),
      'c.xml': stored('c', { parent: 'nope', active: 1 }),
      'd.xml': stored('d', { parent: 'c' }),
    });
    const before = await contents(folderOf('broken'));
    const xlsnapd = await start();
    expect(xlsnapd.log).toContain('Snapshots have inconsistent relations for domain broken');
    expect(await listed(xlsnapd, 'broken')).toEqual(['a', 'b', 'c', 'd']);
    expect(await listed(xlsnapd, 'broken', '--roots')).toEqual(['b', 'c']);
    expect(await xlsnapd.refused('snapshot-current', 'broken')).toBe("domain 'broken' has no current snapshot");
    expect(await xlsnapd.ok('snapshot-parent', 'broken', 'c')).toBe('nope');
    expect(await contents(folderOf('broken'))).toEqual(before);

    await xlsnapd[Symbol.asyncDispose]();
    await writeFile(join(folderOf('broken'), 'nope.xml'), stored('nope'));
    await writeFile(join(folderOf('broken'), 'a.xml'), stored('a', { parent: 'nope' }));
    const again = await start();
    expect(again.log).not.toContain('inconsistent relations for domain broken');
    expect(await again.ok('snapshot-current', 'broken', '--name')).toBe('c');
    expect(await listed(again, 'broken', '--roots')).toEqual(['nope']);
    expect(await listed(again, 'broken', '--from', 'nope', '--descendants')).toEqual(['a', 'b', 'c', 'd']);
  });

  test('an old file without a definition is listed, and cannot be reverted to', async () => {
    await define('old', { 's.xml': stored('s', { active: 1 }) });
    const xlsnapd = await start();
    expect(await xlsnapd.refused('snapshot-revert', 'old', 's')).toContain(
      "revert requires force: snapshot 's' lacks domain 'old' rollback info",
    );
  });

  test.each(['q1', 'q2'])('what libvirt’s qemu driver has stored of %s is all here', async (domain) => {
    const files = (await readdir(join(ORACLE_STORED, 'stored'))).filter((file) => file.startsWith(`${domain}.`));
    await define(domain);
    for (const file of files) {
      await cp(join(ORACLE_STORED, 'stored', file), join(folderOf(domain), file.slice(domain.length + 1)));
    }
    const xlsnapd = await start();
    expect(xlsnapd.log).not.toContain(folderOf(domain));
    for (const file of files) {
      const twin = await readFile(join(ORACLE_STORED, 'dumpxml', file), 'utf8');
      const name = file.slice(domain.length + 1, -'.xml'.length);
      const shown = await xlsnapd.ok('snapshot-dumpxml', domain, name, '--security-info');
      // The cookie is the qemu driver's own.
      expect(shown).toBe(twin.replace(/ {2}<cookie>[\s\S]*<\/cookie>\n/, '').trimEnd());
    }
    expect(await listed(xlsnapd, domain)).toHaveLength(files.length);
    expect(files.length).toBeGreaterThan(2);
  });
});

describe('a renamed domain keeps its snapshots', () => {
  test(
    'renamed through xlsnapd: they are there at once, and after a restart',
    async () => {
      await define('before');
      let xlsnapd = await start();
      await xlsnapd.ok('snapshot-create-as', 'before', 'one');
      await xlsnapd.ok('snapshot-create-as', 'before', 'two');
      await xlsnapd.ok('domrename', 'before', 'after');
      expect(await listed(xlsnapd, 'after')).toEqual(['one', 'two']);
      expect(await readdir(join(home, 'snapshot'))).not.toContain('before');
      expect(await readdir(folderOf('after'))).toEqual(['one.xml', 'two.xml']);
      await xlsnapd.ok('snapshot-create-as', 'after', 'three');
      expect(await xlsnapd.ok('snapshot-parent', 'after', 'three')).toBe('two');
      // The definition says the old name until a revert.
      expect(await xlsnapd.ok('snapshot-dumpxml', 'after', 'one', '--xpath', '//domain/name')).toBe(
        '<name>before</name>',
      );
      expect(await xlsnapd.ok('snapshot-current', 'after', 'one')).toBe('Snapshot one set as current');
      await xlsnapd[Symbol.asyncDispose]();

      xlsnapd = await start();
      expect(await listed(xlsnapd, 'after')).toEqual(['one', 'three', 'two']);
      await xlsnapd.ok('snapshot-revert', 'after', 'one');
      expect(await xlsnapd.ok('dumpxml', 'after', '--xpath', '/domain/name')).toBe('<name>after</name>');
      await xlsnapd.ok('snapshot-delete', 'after', 'two');
      expect(await readdir(folderOf('after'))).toEqual(['one.xml', 'three.xml']);
      expect(await xlsnapd.refused('undefine', 'after')).toContain('cannot delete inactive domain with 2 snapshots');
      await xlsnapd.ok('undefine', 'after', '--snapshots-metadata');
      expect(await readdir(join(home, 'snapshot'))).not.toContain('after');
    },
    LONG_TEST_TIMEOUT_MS,
  );

  test('renamed behind xlsnapd’s back: their folder follows without being asked for', async () => {
    await define('here');
    const xlsnapd = await start();
    await xlsnapd.ok('snapshot-create-as', 'here', 's');
    await direct('domrename', 'here', 'there');
    await until(async () => (await readdir(join(home, 'snapshot'))).includes('there'));
    expect(await readdir(folderOf('there'))).toEqual(['s.xml']);
    await xlsnapd.ok('undefine', 'there', '--snapshots-metadata');
  });

  test('renamed while xlsnapd was away: their folder follows at its next start', async () => {
    await define('away');
    const away = await start();
    await away.ok('snapshot-create-as', 'away', 'w');
    await away.stop();
    await direct('domrename', 'away', 'back');
    const xlsnapd = await start();
    expect(await listed(xlsnapd, 'back')).toEqual(['w']);
    expect(await readdir(folderOf('back'))).toEqual(['w.xml']);
    expect(await readdir(join(home, 'snapshot'))).not.toContain('away');
    await xlsnapd.ok('snapshot-revert', 'back', 'w');
    await xlsnapd.ok('undefine', 'back', '--snapshots-metadata');
  });

  test('a folder of the new name that holds something is not replaced, and the way out is said', async () => {
    await define('moves');
    await mkdir(folderOf('taken'));
    await writeFile(join(folderOf('taken'), 'note.txt'), 'mine');
    const xlsnapd = await start();
    await xlsnapd.ok('snapshot-create-as', 'moves', 'moved');
    await xlsnapd.ok('domrename', 'moves', 'taken');
    const refused = `cannot rename folder '${folderOf('moves')}' as '${folderOf('taken')}': Directory not empty`;
    expect(await xlsnapd.refused('snapshot-list', 'taken')).toContain(refused);
    await rm(join(folderOf('taken'), 'note.txt'));
    expect(await listed(xlsnapd, 'taken')).toEqual(['moved']);
  });
});

test('an undefine forgets the metadata; a file of another name than its snapshot’s is left behind, as by libvirt', async () => {
  await define('goes', { 's.xml': stored('s'), 'odd.bak': stored('odd'), 'note.txt': 'mine' });
  const xlsnapd = await start();
  expect(await xlsnapd.ok('list', '--all', '--name', '--with-snapshot')).toContain('goes');
  await xlsnapd.ok('undefine', 'goes', '--snapshots-metadata');
  expect(await readdir(folderOf('goes'))).toEqual(['note.txt', 'odd.bak']);
});
