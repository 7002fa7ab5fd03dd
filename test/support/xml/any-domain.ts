/** Any domain that libvirt's schema allows, with one disk that can be captured; and requests for snapshots of it. */

import fc from 'fast-check';
import { childAt, childElements, element, type XmlElement, type XmlNode } from '../../../src/model/element.ts';
import { CREATE } from '../../../src/model/flags.ts';
import { targetOf } from '../../../src/xml/domain/disks.ts';
import { Schema } from './relax-ng.ts';

/** Characters that readers or writers of XML treat in their own way, Unicode's outermost, and code points of no character. */
const ODD = [...'\t\n\r <>&\'"%,/.', ']]>', '&amp;', '\u007f', '\u0085', '\u2028', '\u00a0', '\ufdd0', '\u{1ffff}'];
const character = fc.oneof(
  fc.constantFrom(...ODD),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
);
/** Any text that XML can hold. */
export const text = fc
  .array(character, { maxLength: 8 })
  .map((parts) => parts.join('').replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, ''));

/** An empty name or description is none, to libvirt. */
const written = text.filter((given) => given !== '');

const plain = fc.stringMatching(/^[a-z][a-z0-9._-]{0,7}$/);
const path = fc.oneof({ weight: 3, arbitrary: plain }, { weight: 1, arbitrary: text }).map((name) => `/d/${name}`);
const values = { absFilePath: path, diskTargetDev: fc.constant('xvda') };

let schemas: { readonly domain: Schema; readonly snapshot: Schema } | undefined;

/** Reading them takes seconds. */
function libvirts(): NonNullable<typeof schemas> {
  schemas ??= {
    domain: new Schema('domain.rng', text, values),
    snapshot: new Schema('domainsnapshot.rng', text, values),
  };
  return schemas;
}

/** The targets of the domain's disks besides `xvda`. */
const OTHERS = ['xvdb', 'hdc', 'fda'] as const;

/** `<domain>` elements; the disk `xvda` can be captured, others are as they come. `image`: its file. */
function domains(uuid: string, image: string): fc.Arbitrary<XmlElement> {
  const { domain } = libvirts();
  const disks = fc.tuple(
    domain.elements('disk').map(capturable(image)),
    fc.array(domain.elements('disk'), { maxLength: 3 }),
  );
  return fc
    .tuple(domain.elements('domain'), disks, domain.elements('devices'))
    .map(([[found], [first, more], [devices]]) => {
      const all = [first, ...more.flat()].map((disk, index) => withTarget(disk, ['xvda', ...OTHERS][index] ?? ''));
      const others = childElements(devices ?? element('devices')).filter(({ name }) => name !== 'disk');
      const fixed = [
        element('name', {}, ['g']),
        element('uuid', {}, [uuid]),
        element('memory', { unit: 'KiB' }, ['4096']),
        element('os', {}, [
          element('type', {}, ['hvm']),
          ...childElements(childAt(found ?? element(''), 'os') ?? element('')).filter(({ name }) => name !== 'type'),
        ]),
        element('devices', {}, [...all, ...others]),
      ];
      const names = fixed.map(({ name }) => name);
      const rest = (found?.children ?? []).filter((child) => typeof child === 'string' || !names.includes(child.name));
      return element('domain', { ...found?.attributes, type: 'xen' }, [...fixed, ...rest]);
    });
}

/** The same disk as a qcow2 file that QEMU serves. What the driver and the source say besides stays. */
const capturable =
  (image: string) =>
  ([disk]: readonly XmlElement[]): XmlElement => {
    const { device: _, type: __, snapshot: ___, ...attributes } = disk?.attributes ?? {};
    const driver = childAt(disk ?? element(''), 'driver');
    const source = childAt(disk ?? element(''), 'source');
    const kept = (children: readonly XmlNode[] = [], ...out: readonly string[]) =>
      children.filter((child) => typeof child === 'string' || !out.includes(child.name));
    return element('disk', { type: 'file', device: 'disk', ...attributes }, [
      element('driver', { ...driver?.attributes, name: 'qemu', type: 'qcow2' }, driver?.children),
      element('source', { file: image }, childElements(source ?? element(''), 'seclabel')),
      ...kept(disk?.children, 'driver', 'source', 'encryption', 'readonly', 'shareable', 'backenddomain', 'auth'),
    ]);
  };

function withTarget(disk: XmlElement, target: string): XmlElement {
  const found = childAt(disk, 'target')?.attributes;
  const rest = disk.children.filter((child) => typeof child === 'string' || child.name !== 'target');
  return { ...disk, children: [...rest, element('target', { ...found, dev: target })] };
}

/** What is captured, and of which domain. */
export interface Situation {
  readonly active: boolean;
  readonly flags: number;
  readonly external: boolean;
  readonly memory: boolean;
}

const SITUATIONS: readonly Situation[] = [
  { active: true, flags: 0, external: false, memory: false },
  { active: true, flags: 0, external: true, memory: true },
  { active: true, flags: CREATE.DISK_ONLY, external: true, memory: false },
  { active: false, flags: 0, external: false, memory: false },
  { active: false, flags: CREATE.DISK_ONLY, external: true, memory: false },
];

/** `<disk>` of a request, for the disk `xvda`. */
function requestedDisks({ external }: Situation): fc.Arbitrary<XmlElement> {
  const parts = { file: fc.option(path), type: fc.option(fc.constant('qcow2')), named: fc.boolean() };
  const simple = fc
    .record(parts)
    .map(({ file, type, named }) =>
      element('disk', { name: 'xvda', ...(named && { snapshot: external ? 'external' : 'internal' }) }, [
        ...(type && (external || named) ? [element('driver', { type })] : []),
        ...(file && external ? [element('source', { file })] : []),
      ]),
    );
  const any = libvirts()
    .snapshot.elements('disksnapshot')
    .map(([disk]) => disk ?? element('disk'));
  return fc.oneof({ weight: 2, arbitrary: simple }, { weight: 1, arbitrary: any });
}

/** A domain, and a `<domainsnapshot>` that asks for a snapshot of it, which leaves out some of the domain's other disks. */
export function requests(uuid: string, image: string) {
  const optional = <T>(part: fc.Arbitrary<T>) => fc.array(part, { maxLength: 1 });
  const all = SITUATIONS.map((situation) =>
    fc.record({
      situation: fc.constant(situation),
      domain: domains(uuid, image),
      name: fc.oneof({ weight: 3, arbitrary: plain }, { weight: 1, arbitrary: written }),
      description: optional(written),
      memory: path,
      disks: optional(requestedDisks(situation)),
      leftOut: fc.subarray([...OTHERS], { minLength: situation.external ? OTHERS.length : 0 }),
    }),
  );
  return fc.oneof(...all).map(({ situation, domain, name, description, memory, disks, leftOut }) => {
    const targets = childElements(childAt(domain, 'devices') ?? domain, 'disk').map(targetOf);
    const others = leftOut.filter((target) => targets.includes(target));
    const request = element('domainsnapshot', {}, [
      element('name', {}, [name]),
      ...description.map((given) => element('description', {}, [given])),
      ...(situation.memory ? [element('memory', { snapshot: 'external', file: memory })] : []),
      element('disks', {}, [...disks, ...others.map((target) => element('disk', { name: target, snapshot: 'no' }))]),
    ]);
    return { situation, domain, request };
  });
}
