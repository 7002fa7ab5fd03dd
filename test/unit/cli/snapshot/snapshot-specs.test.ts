import { describe, expect, test } from '@jest/globals';
import { readDiskspec, readMemspec } from '../../../../src/cli/snapshot/snapshot-specs.ts';
import { snapshotDocument } from '../../../../src/client/snapshot-document.ts';

const NONE = { name: undefined, description: undefined, memory: undefined, disks: [] };

interface Given {
  readonly name?: string;
  readonly description?: string;
  readonly memspec?: string;
  readonly diskspecs?: readonly string[];
}

/** What stands within `<domainsnapshot>`. */
function content({ memspec, diskspecs = [], ...spec }: Given): string {
  const memory = memspec === undefined ? undefined : readMemspec(memspec);
  const text = snapshotDocument({ ...NONE, ...spec, memory, disks: diskspecs.map(readDiskspec) });
  const [, inner] = /^<domainsnapshot>\n(.*)<\/domainsnapshot>\n$/s.exec(text) ?? [];
  return inner ?? text;
}

function refused(spec: Given): string {
  try {
    content(spec);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was taken');
}

test('nothing asked for is an empty document', () => {
  expect(snapshotDocument(NONE)).toBe('<domainsnapshot>\n</domainsnapshot>\n');
});

test('name and description are escaped as libvirt escapes them', () => {
  expect(content({ name: 'a<b', description: 'x & "y"' })).toBe(
    '  <name>a&lt;b</name>\n  <description>x &amp; &quot;y&quot;</description>\n',
  );
});

describe('--memspec', () => {
  test.each([
    ['/m', "file='/m'"],
    ['file=/m', "file='/m'"],
    ['file=rel', "file='rel'"],
    ['file=/m,snapshot=external', "snapshot='external' file='/m'"],
    ['snapshot=no', "snapshot='no'"],
    ['/a,,b', "file='/a,b'"],
    ['file=/a&b', "file='/a&amp;b'"],
  ])('%s', (memspec, attributes) => {
    expect(content({ memspec })).toBe(`  <memory ${attributes}/>\n`);
  });

  test.each(['rel', 'foo=bar', '/a,/b', 'file=/a,/b', 'snapshot=no,snapshot=internal', 'file=/a,'])(
    '%s cannot be parsed',
    (memspec) => {
      expect(refused({ memspec })).toBe(`unable to parse memspec: ${memspec}`);
    },
  );
});

describe('--diskspec', () => {
  test.each([
    ['vda', "<disk name='vda'/>"],
    ['/path/img,snapshot=external', "<disk name='/path/img' snapshot='external'/>"],
    ['vda,snapshot=bogus', "<disk name='vda' snapshot='bogus'/>"],
    ['vda,stype=block', "<disk name='vda' type='block'/>"],
    ['vda,file=/x', "<disk name='vda'>\n      <source file='/x'/>\n    </disk>"],
    ['vda,file=/a,,b', "<disk name='vda'>\n      <source file='/a,b'/>\n    </disk>"],
    ['vda,stype=block,file=/dev/x', "<disk name='vda' type='block'>\n      <source dev='/dev/x'/>\n    </disk>"],
    [
      'vda,file=/x,driver=qcow2,snapshot=external',
      "<disk name='vda' snapshot='external'>\n      <driver type='qcow2'/>\n      <source file='/x'/>\n    </disk>",
    ],
  ])('%s', (diskspec, disk) => {
    expect(content({ diskspecs: [diskspec] })).toBe(`  <disks>\n    ${disk}\n  </disks>\n`);
  });

  test('comes as often as there are disks', () => {
    expect(content({ diskspecs: ['vda', 'vdb'] })).toBe(
      "  <disks>\n    <disk name='vda'/>\n    <disk name='vdb'/>\n  </disks>\n",
    );
  });

  test.each(['', ',snapshot=no', 'vda,foo=bar', 'vda,snapshot=no,snapshot=no', 'vda,/x'])(
    '%j cannot be parsed',
    (diskspec) => {
      expect(refused({ diskspecs: [diskspec] })).toBe(`unable to parse diskspec: ${diskspec}`);
    },
  );

  test('a storage type is a file or a block device', () => {
    expect(refused({ diskspecs: ['vda,stype=network,file=/x'] })).toBe(
      "Unknown storage type: 'network'\nerror: unable to parse diskspec: vda,stype=network,file=/x",
    );
  });
});
