/** Any snapshot that can be stored, with any text that XML can hold. */

import fc from 'fast-check';
import { element } from '../../../src/model/element.ts';
import type {
  DiskSnapshot,
  DiskTarget,
  MemorySnapshot,
  SnapshotDef,
  SnapshotState,
} from '../../../src/model/snapshot.ts';
import { definitionOf } from '../../../src/xml/domain/definition.ts';

const text = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
  .map((value) => `${value.replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '')}.`);
const blank = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r', '\u0085', '\u2028', 'a', ']]>'), minLength: 1 });
const options = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> =>
  fc.record(model, { requiredKeys: [], noNullPrototype: true }) as fc.Arbitrary<Partial<T>>;

const extra = fc.constantFrom(
  element('source', {}, [element('slices', {}, [element('slice', { type: 'storage', offset: '1', size: '2' })])]),
  element('source', {}, [element('seclabel', { model: 'dac', relabel: 'no' })]),
  element('source', {}, [element('encryption', { format: 'luks' })]),
);

const OFFLINE: readonly SnapshotState[] = ['shutoff', 'disk-snapshot'];

function snapshotsWith(attribute: fc.Arbitrary<string>): fc.Arbitrary<SnapshotDef> {
  const path = attribute.map((value) => `/${value}`);

  const network = fc
    .record({ protocol: fc.constantFrom('nbd', 'rbd', 'https', 'iscsi'), path: attribute, host: attribute })
    .map(({ protocol, path: image, host }): DiskTarget => {
      const name = protocol === 'rbd' ? `pool/${image}` : image;
      const child = element('host', { name: host, port: '7' });
      return { type: 'network', path: image, source: element('source', { protocol, name }, [child]) };
    });

  const local = fc
    .tuple(
      fc.constantFrom<'file' | 'block'>('file', 'block'),
      path,
      options<Pick<DiskTarget & { format: string; metadataCacheMaxSize: bigint }, 'format' | 'metadataCacheMaxSize'>>({
        format: fc.constantFrom('qcow2', 'raw', 'qed'),
        metadataCacheMaxSize: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
      }),
      fc.option(extra, { nil: undefined }),
    )
    .map(([type, image, more, source]): DiskTarget => ({ type, path: image, ...more, ...(source && { source }) }));

  const disks: fc.Arbitrary<DiskSnapshot> = fc.oneof(
    fc.record(
      {
        name: attribute,
        location: fc.constantFrom('default', 'no', 'internal', 'manual'),
        deleteInProgress: fc.constant(true as const),
      },
      { requiredKeys: ['name', 'location'], noNullPrototype: true },
    ) as fc.Arbitrary<DiskSnapshot>,
    fc.record(
      {
        name: attribute,
        location: fc.constant('external' as const),
        target: fc.oneof(local, network, fc.constant<DiskTarget>({ type: 'file', format: 'qcow2' })),
      },
      { noNullPrototype: true },
    ),
  );

  const domain = attribute.map((name) =>
    element('domain', { type: 'xen' }, [
      element('name', {}, [name.replaceAll('/', '')]),
      element('metadata', {}, [element('a:b', { 'xmlns:a': 'u:a', c: name }, [name])]),
      element('memory', { unit: 'KiB' }, ['1024']),
      element('currentMemory', { unit: 'KiB' }, ['1024']),
      element('vcpu', { placement: 'static' }, ['1']),
      element('os', {}, [element('type', {}, ['linux'])]),
      element('clock', { offset: 'utc' }),
      ...['on_poweroff', 'on_reboot', 'on_crash'].map((event) => element(event, {}, ['destroy'])),
      element('devices', {}, [element('disk', { type: 'file' }, [element('target', { dev: name })])]),
    ]),
  );

  const definition = domain.map(definitionOf);

  return fc
    .tuple(
      fc.record(
        {
          name: attribute,
          state: fc.constantFrom<SnapshotState>('running', 'paused', 'blocked', 'crashed', 'shutoff', 'disk-snapshot'),
          // 0 is not printed.
          creationTime: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).filter((time) => time !== 0n),
          disks: fc.array(disks, { maxLength: 3 }),
          revertDisks: fc.array(disks, { maxLength: 2 }),
        },
        { noNullPrototype: true },
      ),
      fc.oneof<fc.Arbitrary<MemorySnapshot>[]>(
        fc.record({ location: fc.constantFrom('no', 'internal') }, { noNullPrototype: true }),
        fc.record({ location: fc.constant('external' as const), file: path }, { noNullPrototype: true }),
      ),
      options<Required<Pick<SnapshotDef, 'description' | 'parent' | 'domain' | 'inactiveDomain'>>>({
        description: attribute,
        parent: attribute,
        domain: definition,
        inactiveDomain: definition,
      }),
    )
    .map(([fixed, memory, more]) => ({
      ...fixed,
      memory: OFFLINE.includes(fixed.state) ? { location: 'no' as const } : memory,
      ...more,
    }));
}

/** Whole snapshots, all that `readSnapshot` gives for a stored file. */
export const snapshots = snapshotsWith(fc.oneof(text, blank));

/** Without what other readers and writers of XML lose: carriage returns, blanks alone, blanks in attributes. */
export const simpleSnapshots = snapshotsWith(text.map((value) => value.replace(/[\t\n\r]/g, ' ')));
