/**
 * The vCPUs of a guest and its NUMA nodes, one by one (virDomainDefVcpuCheckAbiStability,
 * virDomainNumaCheckABIStability).
 */

import { childAt, childElements, type XmlElement } from '../../model/element.ts';
import { scaledValue } from '../engine/values.ts';
import { at, type Fact, members, type Read, ranges } from './read.ts';

/** Caches what is derived from a definition, for all facts that use it. */
function once<T extends object>(workOut: (domain: XmlElement) => T): (domain: XmlElement) => T {
  const known = new WeakMap<XmlElement, T>();
  return (domain) => {
    const result = known.get(domain) ?? workOut(domain);
    known.set(domain, result);
    return result;
  };
}

const listedVcpus = once(
  (domain) => new Map(members('vcpus', 'vcpu')(domain).map(({ attributes }) => [Number(attributes.id), attributes])),
);

const current = (domain: XmlElement): number => Number(at('vcpu/@current')(domain) ?? at('vcpu', '1')(domain));

/** If vCPUs are listed, those that are not are offline; else the first `current` are online. */
const isOnline =
  (id: number): Read =>
  (domain) => {
    const listed = listedVcpus(domain);
    return String(listed.size === 0 ? id < current(domain) : listed.get(id)?.enabled === 'yes');
  };

/** Compares only vCPUs at which something may change: there may be many. */
export function vcpuFacts(source: XmlElement, target: XmlElement): readonly Fact[] {
  const listed = [source, target].flatMap((domain) => [...listedVcpus(domain).keys()]);
  const ids = new Set([0, ...listed, ...listed.map((id) => id + 1), current(source), current(target)]);
  return ascending(ids).flatMap((id): readonly Fact[] => [
    [`State of vCPU '${id}' differs between source and destination definitions`, isOnline(id)],
    [
      `vcpu enable order of vCPU '${id}' differs between source and destination definitions`,
      (domain) => listedVcpus(domain).get(id)?.order,
    ],
  ]);
}

/** The distance if neither node states one. */
const LOCAL_DISTANCE = '10';
const REMOTE_DISTANCE = '20';

interface NumaNode {
  readonly cell: XmlElement;
  /** Distances to other nodes, as far as either of the two states them. */
  readonly distances: Map<number, string>;
}

const nodesOf = once((domain): ReadonlyMap<number, NumaNode> => {
  const cells = members('cpu', 'numa', 'cell')(domain);
  const nodes = new Map(
    cells.map((cell, index): [number, NumaNode] => [
      Number(cell.attributes.id ?? index),
      { cell, distances: new Map() },
    ]),
  );
  const said = [...nodes].flatMap(([from, { cell }]) => {
    const siblings = childAt(cell, 'distances');
    const distances = siblings ? childElements(siblings, 'sibling') : [];
    return distances.map(({ attributes: { id, value = '' } }) => ({ from, to: Number(id), value }));
  });
  for (const { from, to, value } of said) nodes.get(from)?.distances.set(to, value);
  for (const { from, to, value } of said) {
    const back = nodes.get(to)?.distances;
    if (!back?.has(from)) back?.set(from, value);
  }
  return nodes;
});

const ofNode =
  (id: number, read: (node: NumaNode) => string | undefined): Read =>
  (domain) => {
    const node = nodesOf(domain).get(id);
    return node && read(node);
  };

function sizeOf({ cell: { attributes } }: NumaNode): string {
  const bytes = scaledValue(attributes.memory ?? '', attributes.unit ?? '', 1024n, './@memory') ?? 0n;
  return String((bytes + 1023n) / 1024n);
}

/** Returns the nodes in their order, each with the distances that are stated. */
export function numaFacts(source: XmlElement, target: XmlElement): readonly Fact[] {
  const distancesFrom = (id: number): readonly number[] =>
    ascending([source, target].flatMap((domain) => [...(nodesOf(domain).get(id)?.distances.keys() ?? [])]));
  const distance = (from: number, to: number): Read =>
    ofNode(from, ({ distances }) => distances.get(to) ?? (from === to ? LOCAL_DISTANCE : REMOTE_DISTANCE));
  return [
    ["Target NUMA node count '%t' doesn't match source '%s'", (domain) => String(nodesOf(domain).size)],
    ...ascending(nodesOf(source).keys()).flatMap((id): readonly Fact[] => [
      [`Size of target NUMA node ${id} (%t) doesn't match source (%s)`, ofNode(id, sizeOf)],
      [
        `Processor mask of target NUMA node ${id} doesn't match source`,
        ofNode(id, ({ cell }) => ranges(cell.attributes.cpus ?? '')),
      ],
      ...distancesFrom(id).map(
        (to): Fact => [`Target NUMA distance from ${id} to ${to} doesn't match source`, distance(id, to)],
      ),
    ]),
  ];
}

function ascending(numbers: Iterable<number>): readonly number[] {
  return [...new Set(numbers)].toSorted((one, other) => one - other);
}
