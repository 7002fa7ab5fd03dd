/** xl.snapshot.cfg(5): what is read, what is refused and at which line, and that what is written is read again. */

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isCfg, readCfg } from '../../../../src/cli/snapshot-cfg/read.ts';
import { writeCfg } from '../../../../src/cli/snapshot-cfg/write.ts';
import { snapshotDocument } from '../../../../src/client/snapshot-document.ts';

const read = (text: string) => readCfg(text, 's.cfg');
const message = (call: () => unknown): string => {
  try {
    call();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was read');
};
const refused = (text: string) => message(() => read(text));
const internal = (name: string) => ({ name, snapshot: 'internal', driver: undefined });
const external = (name: string, file: string, driver: string | undefined, stype = 'file') => ({
  ...{ name, snapshot: 'external', driver, stype, file },
});
const NOTHING = { name: undefined, description: undefined, memory: undefined, disks: undefined };

test('a file in the form of xl: comments, separators, both quotes, escapes, lists over several lines', () => {
  const text = `# before the upgrade
name = "s1"; description='it\\'s\\tgood'   # two on a line
creationtime="1417075200"
memory = "yes"
disks = [
  ',,xvda',   # inside the image

  '/srv/xvdb.1,qcow2,xvdb',
]
`;
  expect(read(text)).toEqual({
    name: 's1',
    description: "it's\tgood",
    memory: { snapshot: 'internal' },
    disks: [internal('xvda'), external('xvdb', '/srv/xvdb.1', 'qcow2')],
  });
});

test('an empty file, and one of comments, says nothing', () => {
  for (const text of ['', '# nothing', '\n;\n#\r\n']) expect(read(text)).toEqual(NOTHING);
});

test('a number is a name; += adds to a string or a list', () => {
  expect(read('name = 2014\nname += "-07"').name).toBe('2014-07');
  expect(read("disks = [',,xvda']\ndisks += [',,xvdb',]").disks).toEqual([internal('xvda'), internal('xvdb')]);
});

test('memory in a file of its own', () => {
  expect(read("memory='/srv/s1.save'").memory).toEqual({ snapshot: 'external', file: '/srv/s1.save' });
});

test.each([
  [',,hda', internal('hda')],
  [',qcow2,hda', { ...internal('hda'), driver: 'qcow2' }],
  ['vdev=hda', internal('hda')],
  ['vdev=hda,target=null', internal('hda')],
  ['vdev=hda,target=', internal('hda')],
  ['/a.qcow2,qcow2,hda', external('hda', '/a.qcow2', 'qcow2')],
  ['/a.qcow2,,hda', external('hda', '/a.qcow2', undefined)],
  ['format=qcow2, vdev=hda, target=/a, b.qcow2', external('hda', '/a, b.qcow2', 'qcow2')],
  ['target=/a,vdev=hdb', undefined],
  ['/dev/vg/over,qcow2,xvda', external('xvda', '/dev/vg/over', 'qcow2', 'block')],
])('disk "%s", by either key', (disk, spec) => {
  if (!spec) expect(refused(`disk=["${disk}"]`)).toContain('the vdev is missing');
  else for (const key of ['disk', 'disks']) expect(read(`${key}=["${disk}"]`).disks).toEqual([spec]);
});

test.each([
  ['name = "a"\nmemroy = "yes"', "s.cfg:2: there is no key 'memroy': the keys are name, description, creationtime,"],
  ['name "a"', "s.cfg:1: '=' is expected, but there is 'a'"],
  ['\n\nname =', 's.cfg:3: a string is expected, but the line ends'],
  ['name = "a" memory = "yes"', "s.cfg:1: the end of the line is expected, but there is 'memory'"],
  ['name = "a', `s.cfg:1: syntax error near '"a'`],
  ['name = "a\\q"', "s.cfg:1: a string has no escape '\\q'"],
  ['name = ""', "s.cfg:1: 'name' is empty"],
  ['name = ["a"]', "s.cfg:1: 'name' has to be a string"],
  ['name = "a"\n\nname = "b"', "s.cfg:3: 'name' is set a second time (line 1)"],
  ['disks = [\n[",,a"]]', "s.cfg:2: a string is expected, but there is '['"],
  ['disks = [",,a" ",,b"]', "s.cfg:1: ']' is expected, but there is ',,b'"],
  ['disks = [",,a"', "s.cfg:1: ']' is expected, but the line ends"],
  ['disks = ",,a"', "s.cfg:1: 'disks' has to be a list"],
  ['name = "a"\nname += ["b"]', "s.cfg:2: a list and a string cannot be added with '+='"],
  ['disk=[",,a"]\ndisks=[",,b"]', "s.cfg:2: 'disk' (line 1) and 'disks' are the same key"],
  ['disks=[",,a",\n",,b",\n",,a"]', "s.cfg:3: disk 'a' is named a second time"],
  ['disks=["/a,qcow2"]', 's.cfg:1: disk "/a,qcow2": the vdev is missing'],
  ['disks=["a,qcow2,xvda"]', 'the target has to be an absolute path, not "a"'],
  ['disks=[",,xvda,w"]', "there is no 'w' in it"],
  ['disks=["vdev=a,access=w"]', "there is no 'access=w' in it"],
  ['disks=["vdev=a,vdev=b"]', "'vdev' is given twice"],
  ['memory = "no"', `'memory' has to be "yes" or an absolute path, not "no"; for a snapshot of the disks alone`],
  ['memory = "s1.save"', 'or an absolute path, not "s1.save"'],
])('%j is refused', (text, words) => {
  expect(refused(text)).toContain(words);
});

test('an XML document, and what can be none of both, is not taken for such a file', () => {
  for (const text of ['<domainsnapshot/>', ' \n<!-- name="a" --><domainsnapshot/>', '', '\ufeff<a/>', '\udcff\udcfe<'])
    expect(isCfg(text)).toBe(false);
  for (const text of ['name="a"', '\n # <a/>\nname="a"', ';']) expect(isCfg(text)).toBe(true);
});

describe('what is written', () => {
  test('has every captured disk and what took the memory', () => {
    const xml = `<domainsnapshot><name>a "b"</name><description>one\ntwo\\</description><state>running</state>
      <creationTime>7</creationTime><memory snapshot='external' file='/m'/><disks><disk name='xvda' snapshot='internal'/>
      <disk name='xvdb' snapshot='external'><driver type='qcow2'/><source file='/a,b'/></disk>
      <disk name='xvdc' snapshot='no'/></disks></domainsnapshot>`;
    expect(writeCfg(xml)).toBe(
      `name = "a \\"b\\""\ndescription = "one\\ntwo\\\\"\ncreationtime = "7"\nmemory = "/m"\n` +
        `disks = [\n    "vdev=xvda",\n    "vdev=xvdb,format=qcow2,target=/a,b",\n]\n`,
    );
  });

  test('refuses a disk that the file cannot describe', () => {
    const xml = "<domainsnapshot><name>a</name><disks><disk name='xvda' snapshot='manual'/></disks></domainsnapshot>";
    expect(message(() => writeCfg(xml))).toContain("cannot describe disk 'xvda': its snapshot is manual");
  });

  test('is read again as it was, whatever the names', () => {
    const words = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => /^[^\p{C}]*$/u.test(text));
    const text = fc.array(fc.oneof(words, fc.constantFrom('\n', '\t', '\\', '"', "'", '#', ';')), { minLength: 1 });
    const disk = fc.record({ vdev: fc.stringMatching(/^(xv|h|s)d[a-z]{1,2}$/), path: fc.option(words) });
    fc.assert(
      fc.property(text, words, fc.uniqueArray(disk, { selector: ({ vdev }) => vdev }), (parts, name, disks) => {
        const description = parts.join('');
        const spec = {
          ...{ name, description, memory: { snapshot: 'internal' } },
          disks: disks.map(({ vdev, path }) =>
            path === null ? internal(vdev) : external(vdev, `/${path.trim()}`, 'qcow2', 'file'),
          ),
        } as Parameters<typeof snapshotDocument>[0];
        fc.pre(disks.every(({ path }) => !path?.trim().startsWith('dev/')));
        expect(read(writeCfg(snapshotDocument(spec)))).toEqual(spec);
      }),
      { numRuns: 300 },
    );
  });
});
