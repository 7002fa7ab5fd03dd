/**
 * What is accepted is kept: a snapshot holds every part of the request and of the domain, in its document, after a restart, after
 * a redefinition and a revert; or its creation is refused. Over libvirt's own schemas, and all of XML's characters.
 */

import { rm } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LibvirtError } from '../../src/errors.ts';
import { readDefinition } from '../../src/hosts/embedded/definitions.ts';
import type { DomainDefinition } from '../../src/model/domain.ts';
import { childAt, childElements, textOf, type XmlElement } from '../../src/model/element.ts';
import { CREATE } from '../../src/model/flags.ts';
import type { SnapshotContext } from '../../src/snapshots/context.ts';
import { createSnapshot } from '../../src/snapshots/create/create.ts';
import { DomainSnapshots } from '../../src/snapshots/domain-snapshots.ts';
import { redefineSnapshot } from '../../src/snapshots/redefine.ts';
import { revertToSnapshot } from '../../src/snapshots/revert/revert.ts';
import { SnapshotFiles } from '../../src/store/snapshot-files.ts';
import { parseXml } from '../../src/xml/engine/parse.ts';
import { writeElement } from '../../src/xml/engine/write.ts';
import { GUEST, OFF, RecordedWorld, RUNNING } from '../support/fakes/recorded-world.ts';
import { requests } from '../support/xml/any-domain.ts';

/** More with `npm run test:faults`. */
const RUNS = Number(process.env.XLSNAP_KEPT_RUNS ?? 40);

/** Parts of a requested disk that say nothing: `<driver name='qemu'>` is what every overlay has, `index` is libvirt's own count. */
const SAYS_NOTHING: readonly string[] = ['driver@name', 'source@index'];

/** The parts of `asked` that `kept` does not have. */
function missing(asked: XmlElement, kept: XmlElement | undefined): readonly string[] {
  const attributes = Object.entries(asked.attributes).flatMap(([name, value]) => {
    const part = `${asked.name}@${name}`;
    return SAYS_NOTHING.includes(part) || kept?.attributes[name] === value ? [] : [part];
  });
  const children = asked.children.flatMap((child) => {
    if (typeof child === 'string') return kept && textOf(kept) === child ? [] : [`text of ${asked.name}`];
    return missing(child, kept && counterpart(child, kept));
  });
  return [...attributes, ...children];
}

/** The snapshot names every disk by its target; a request may name one by its path. */
function counterpart(asked: XmlElement, kept: XmlElement): XmlElement | undefined {
  const { name } = asked.attributes;
  const named = childElements(kept, asked.name).find(({ attributes }) => attributes.name === name);
  return asked.name === 'disk' ? named : childAt(kept, asked.name);
}

/** What a disk of a definition has besides its image. */
function besidesImage(disk: XmlElement): XmlElement {
  const { type: _, ...attributes } = disk.attributes;
  const children = childElements(disk).flatMap((child) => {
    if (child.name === 'backingStore') return [];
    const { file: __, type: ___, name: ____, ...rest } = child.attributes;
    return [['driver', 'source'].includes(child.name) ? { ...child, attributes: rest } : child];
  });
  return { ...disk, attributes, children };
}

function disksOf({ element: domain }: DomainDefinition): readonly XmlElement[] {
  return childElements(childAt(domain, 'devices') ?? domain, 'disk');
}

test('from its creation to a revert, every part of what was accepted is the same', async () => {
  await using world = await RecordedWorld.open();
  const folder = world.path('snapshots');
  const counts = { accepted: 0, refused: 0 };
  const image = world.path('base');
  const property = fc.asyncProperty(requests(GUEST.uuid, image), async ({ domain, request, situation }) => {
    const log: string[] = [];
    const open = async () => {
      const store = new SnapshotFiles(folder, (line) => log.push(line));
      return { store, snapshots: await DomainSnapshots.load(GUEST, store, (line) => log.push(line)) };
    };
    let definition: DomainDefinition;
    try {
      definition = readDefinition(writeElement(domain));
    } catch (error) {
      expect(error).toBeInstanceOf(LibvirtError);
      return;
    }
    await rm(folder, { recursive: true, force: true });
    world.domain = situation.active ? RUNNING : OFF;
    const first = await open();
    const started: DomainDefinition[] = [];
    const context: SnapshotContext = {
      ...world.context,
      store: first.store,
      host: {
        ...world.context.host,
        definition: async () => definition,
        restore: async (_, __, options) => void started.push(options.definition),
        define: async (defined) => void started.push(defined),
      },
    };
    let name: string;
    try {
      name = await createSnapshot(context, first.snapshots, writeElement(request), situation.flags);
    } catch (error) {
      counts.refused += 1;
      expect(error).toBeInstanceOf(LibvirtError);
      return;
    }
    counts.accepted += 1;
    const printed = await first.snapshots.describe(name, true);
    const kept = parseXml(printed, 'domain_snapshot');

    // Everything that was asked for is in the document, and the domain.
    expect(missing(request, kept)).toEqual([]);
    expect(childAt(kept, 'domain')).toEqual(definition.element);

    // The document is the same after a restart, a redefinition, and one where nothing was left of it.
    const again = await open();
    expect(await again.snapshots.describe(name, true)).toBe(printed);
    await redefineSnapshot({ ...context, store: again.store }, again.snapshots, printed, CREATE.REDEFINE);
    expect(await again.snapshots.describe(name, true)).toBe(printed);
    await again.snapshots.remove(name);
    await redefineSnapshot({ ...context, store: again.store }, again.snapshots, printed, CREATE.REDEFINE);
    const last = await open();
    expect(await last.snapshots.describe(name, true)).toBe(printed);

    // A revert starts the same domain: but for the images of disks whose overlays are new.
    await revertToSnapshot({ ...context, store: last.store }, last.snapshots, name, 0);
    expect(started.length).toBeGreaterThan(0);
    for (const now of started) {
      const external = childElements(childAt(kept, 'disks') ?? kept, 'disk').filter(
        ({ attributes }) => attributes.snapshot === 'external',
      );
      expect(disksOf(now).map(besidesImage)).toEqual(disksOf(definition).map(besidesImage));
      if (external.length === 0) expect(writeElement(now.element)).toBe(writeElement(definition.element));
    }
    expect(log).toEqual([]);
  });
  await fc.assert(property, { numRuns: RUNS, endOnFailure: true });
  expect(counts.accepted).toBeGreaterThan(RUNS / 5);
}, 600_000);
