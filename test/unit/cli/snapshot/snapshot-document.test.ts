import { describe, expect, test } from '@jest/globals';
import { readDocument } from '../../../../src/cli/snapshot/snapshot-document.ts';

const wrap = (content: string): string => `<domainsnapshot>${content}</domainsnapshot>`;
const minimum = '<name>s</name><state>running</state><creationTime>1795527892</creationTime>';

test('everything that is there is read', () => {
  const xml = wrap(`${minimum}<description>d</description><parent><name>p</name></parent>
    <memory snapshot='external' file='/m'/>
    <disks>
      <disk name='xvda' snapshot='external' type='file'><driver type='qcow2'/><source file='/o.qcow2'/></disk>
      <disk name='xvdb' snapshot='external' type='block'><source dev='/dev/vg/o'/></disk>
      <disk name='xvdc' snapshot='no'/>
      <disk name='xvdd'/>
    </disks>
    <domain type='xen'><name>other</name><devices><disk name='no'/></devices></domain>`);
  expect(readDocument(xml)).toEqual({
    name: 's',
    description: 'd',
    state: 'running',
    parent: 'p',
    creationTime: 1795527892,
    location: 'external',
    memory: { snapshot: 'external', file: '/m' },
    disks: [
      { name: 'xvda', snapshot: 'external', source: '/o.qcow2' },
      { name: 'xvdb', snapshot: 'external', source: '/dev/vg/o' },
      { name: 'xvdc', snapshot: 'no' },
      { name: 'xvdd' },
    ],
  });
});

test('what is missing is left out', () => {
  expect(readDocument(wrap(minimum))).toEqual({
    name: 's',
    state: 'running',
    creationTime: 1795527892,
    location: 'internal',
    disks: [],
  });
});

describe('where it lies', () => {
  test.each([
    ['internal', "<memory snapshot='internal'/><disks><disk name='a' snapshot='internal'/></disks>"],
    ['internal', "<memory snapshot='no'/><disks><disk name='a' snapshot='internal'/></disks>"],
    [
      'external',
      "<memory snapshot='no'/><disks><disk name='a' snapshot='internal'/><disk name='b' snapshot='external'/></disks>",
    ],
    ['external', "<memory snapshot='external' file='/m'/>"],
    ['internal', "<disks><disk name='a' snapshot='external'/></disks>"],
  ])('%s: %s', (location, content) => {
    expect(readDocument(wrap(minimum + content)).location).toBe(location);
  });

  test('an old document of disks alone is external', () => {
    expect(readDocument(wrap(minimum.replace('running', 'disk-snapshot'))).location).toBe('external');
  });
});

test('what is no XML is libxml2’s own error', () => {
  expect(() => readDocument('<domainsnapshot>')).toThrow(/^\(domain_snapshot\):1: Premature end of data/);
});
