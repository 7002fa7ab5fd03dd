import { describe, expect, test } from '@jest/globals';
import { isLibvirtError } from '../../../../src/errors.ts';
import { element } from '../../../../src/model/element.ts';
import { readSnapshot, readSnapshotRequest } from '../../../../src/xml/snapshot/read.ts';
import { virshRefusal } from '../../../support/xml/virsh-document.ts';

const request = (content: string, offline = false) =>
  readSnapshotRequest(`<domainsnapshot>${content}</domainsnapshot>`, { offline, now: 1386166249n });

const REQUIRED = '<name>x</name><creationTime>1</creationTime><state>running</state>';
const whole = (content: string) => readSnapshot(`<domainsnapshot>${content}</domainsnapshot>`, { internal: false });

const message = (read: () => unknown): string | undefined => {
  try {
    read();
    return undefined;
  } catch (error) {
    if (isLibvirtError(error)) return error.message;
    throw error;
  }
};

describe('a request', () => {
  test('nothing given: the time is the name', () => {
    expect(request('')).toEqual({
      name: '1386166249',
      creationTime: 1386166249n,
      memory: { location: 'default' },
      disks: [],
    });
  });

  test('an empty name or description is none, blanks are kept', () => {
    expect(request('<name></name><description></description>')).toEqual(request(''));
    expect(request('<name> s p </name>').name).toBe(' s p ');
  });

  test('time, state, parent, definitions and revertDisks in the text do not count', () => {
    const text =
      '<creationTime>5</creationTime><state>bogus</state><parent><name>p</name></parent><domain type="x"/>' +
      '<inactiveDomain/><revertDisks><disk/></revertDisks><active>q</active><cookie/><unknown/>';
    expect(request(text)).toEqual(request(''));
  });

  test('disks of any element name; a path or a format makes them external', () => {
    expect(
      request(
        "<disks><disk name='a'/><other name='b'><source file='/b'/></other><disk name='c'><driver type='qcow2'/></disk>" +
          "<disk name='d' snapshot='no'/></disks>",
      ).disks,
    ).toEqual([
      { name: 'a', location: 'default' },
      { name: 'b', location: 'external', target: { type: 'file', path: '/b' } },
      { name: 'c', location: 'external', target: { type: 'file', format: 'qcow2' } },
      { name: 'd', location: 'no' },
    ]);
  });

  test('a type other than file is known even where nothing else is', () => {
    expect(request("<disks><disk name='a' type='block'/></disks>").disks).toEqual([
      { name: 'a', location: 'default', target: { type: 'block' } },
    ]);
  });

  test('what a source says beyond its path stays an element', () => {
    expect(
      request("<disks><disk name='a'><source file='/f' fdgroup='g'><seclabel relabel='no'/></source></disk></disks>")
        .disks,
    ).toEqual([
      {
        name: 'a',
        location: 'external',
        target: {
          type: 'file',
          path: '/f',
          source: element('source', { fdgroup: 'g' }, [element('seclabel', { relabel: 'no' })]),
        },
      },
    ]);
  });

  test.each([
    [
      'memory=internal',
      "<memory snapshot='internal'/>",
      'memory state cannot be saved with offline or disk-only snapshot',
    ],
    ['memory=file', "<memory file='/m'/>", 'memory state cannot be saved with offline or disk-only snapshot'],
    [
      'external without a file comes first',
      "<memory snapshot='external'/>",
      'external memory snapshots require a filename',
    ],
  ])('offline, %s: refused', (_, memory, text) => {
    expect(message(() => request(memory, true))).toBe(`XML error: ${text}`);
  });

  test.each(['', '<memory/>', "<memory snapshot='no'/>"])('offline with %j is fine', (memory) => {
    expect(message(() => request(memory, true))).toBeUndefined();
  });

  describe('is refused as libvirt refuses it', () => {
    test.each([
      "<memory snapshot='manual'/>",
      "<memory snapshot='bogus'/>",
      "<memory snapshot='default'/>",
      "<memory file='x' snapshot='no'/>",
      "<memory file='' snapshot='external'/>",
      "<memory file='x'/>",
      "<memory file=''/>",
      "<memory snapshot='external'/>",
      '<disks><disk/></disks>',
      "<disks><disk name='a' snapshot=''/></disks>",
      "<memory file='x'/><disks><disk/></disks>",
      "<disks><disk name='a' type='dir' snapshot='bogus'/></disks>",
      "<disks><disk name='a' snapshot='no'><source file='x'/><driver type='bogus'/></disk></disks>",
    ])('%s', (content) => {
      const said = virshRefusal(`<domainsnapshot>${content}</domainsnapshot>`);
      expect(said).toBeDefined();
      expect(message(() => request(content))).toBe(said?.trimEnd());
    });
  });
});

describe('a whole snapshot', () => {
  test('everything there is', () => {
    const domain = "<domain type='test'><name>d</name><memory>1</memory><os><type>hvm</type></os></domain>";
    const { snapshot, current } = readSnapshot(
      `<domainsnapshot>${REQUIRED}<description>t</description><parent><name>p</name></parent>
      <memory snapshot='external' file='/m'/><disks><disk name='a' snapshot='manual'/></disks>
      <revertDisks><disk name='a' snapshot='external'><snapshotDeleteInProgress/><source file='/r'/></disk></revertDisks>
      ${domain}${domain.replaceAll('domain', 'inactiveDomain')}<cookie><x/></cookie><active>-7</active></domainsnapshot>`,
      { internal: true },
    );
    expect(current).toBe(true);
    expect(snapshot).toMatchObject({
      name: 'x',
      description: 't',
      state: 'running',
      parent: 'p',
      creationTime: 1n,
      memory: { location: 'external', file: '/m' },
      disks: [{ name: 'a', location: 'manual' }],
      revertDisks: [{ name: 'a', location: 'external', deleteInProgress: true, target: { type: 'file', path: '/r' } }],
      domain: { element: { name: 'domain', attributes: { type: 'test' } } },
      inactiveDomain: { element: { name: 'domain', attributes: { type: 'test' } } },
    });
    expect(Object.keys(snapshot)).not.toContain('cookie');
  });

  test.each([
    ['running', 'internal'],
    ['paused', 'internal'],
    ['crashed', 'internal'],
    ['shutoff', 'no'],
    ['disk-snapshot', 'no'],
  ])('%s without <memory>: %s', (state, location) => {
    const { snapshot } = whole(`<name>x</name><creationTime>1</creationTime><state>${state}</state>`);
    expect(snapshot.memory).toEqual({ location });
  });

  test.each([' 12', '+12', '-12', '0', '00000000000000000000000000012', '9223372036854775807'])(
    'creationTime %j counts',
    (time) => {
      const { snapshot } = whole(`<name>x</name><creationTime>${time}</creationTime><state>running</state>`);
      expect(snapshot.creationTime).toBe(BigInt(time.replace('+', '')));
    },
  );

  test('a number of megabytes is refused at once', () => {
    const start = performance.now();
    const time = '9'.repeat(4_000_000);
    expect(message(() => whole(`<name>x</name><creationTime>${time}</creationTime><state>running</state>`))).toBe(
      'internal error: missing creationTime from existing snapshot',
    );
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test('a live definition is kept as an inactive one', () => {
    const live = "<domain type='xen' id='7'><name>d</name><memory>1</memory><os><type>hvm</type></os></domain>";
    expect(whole(`${REQUIRED}${live}`).snapshot.domain?.element.attributes).toEqual({
      type: 'xen',
    });
  });

  test('old documents have a <domain> that is no definition', () => {
    expect(whole(`${REQUIRED}<domain><uuid>22222222-2222-3333-4444-777777777777</uuid></domain>`).snapshot.domain).toBe(
      undefined,
    );
  });

  describe('is refused as libvirt refuses it', () => {
    const time = '<name>x</name><creationTime>1</creationTime>';
    const os = '<os><type>hvm</type></os>';
    test.each([
      '',
      '<name></name>',
      '<name>x</name>',
      ...['12 ', '0x1', '1.5', '9223372036854775808', ''].map(
        (text) => `<name>x</name><creationTime>${text}</creationTime>`,
      ),
      time,
      `${time}<state></state>`,
      `${time}<state>nostate</state>`,
      `${time}<state>Running</state>`,
      `${REQUIRED}<domain type='test'/><memory file='x' snapshot='no'/>`,
      `${REQUIRED}<domain type='test'><name>a</name><uuid>x</uuid></domain>`,
      `${REQUIRED}<domain type='bogus'><name>a</name></domain>`,
      `${REQUIRED}<domain type='test'><name>a</name></domain>`,
      `${REQUIRED}<domain type='test'><name>a</name><os><type>bogus</type></os></domain>`,
      `${REQUIRED}<domain type='test'><name>a</name>${os}</domain>`,
      `${REQUIRED}<domain type='test'><name>a</name>${os}<memory>x</memory></domain>`,
      `${REQUIRED}<domain type='test'><name>a</name>${os}<memory unit='zz'>1</memory></domain>`,
      `${REQUIRED}<domain type='test'><name>a/b</name>${os}<memory>1</memory></domain>`,
      `${REQUIRED}<domain type='test'><name>a</name>${os}<memory>1</memory><vcpu>x</vcpu></domain>`,
      `${REQUIRED}<inactiveDomain/>`,
      `${REQUIRED}<inactiveDomain><name>a</name></inactiveDomain>`,
      `${REQUIRED}<memory file='/x' snapshot='internal'/>`,
      `${time}<state>shutoff</state><memory snapshot='external' file='x'/>`,
    ])('%s', (content) => {
      const said = virshRefusal(`<domainsnapshot>${content}</domainsnapshot>`, '--redefine');
      expect(said).toBeDefined();
      expect(message(() => whole(content))).toBe(said?.trimEnd());
    });

    test('a stored one that does not say whether it is current', () => {
      const read = (active: string) => () =>
        readSnapshot(`<domainsnapshot>${REQUIRED}${active}</domainsnapshot>`, { internal: true });
      for (const active of ['', '<active/>', '<active>yes</active>', '<active>2147483648</active>']) {
        expect(message(read(active))).toBe("internal error: Could not find 'active' element");
      }
    });
  });
});

test('another root element is refused by name', () => {
  const read = () => readSnapshotRequest('<foo/>', { offline: false, now: 0n });
  expect(message(read)).toBe(virshRefusal('<foo/>')?.trimEnd());
});
