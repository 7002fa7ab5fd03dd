/** The libvirt host over a real libvirtd's test driver: snapshots of active domains through libvirt. */

import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { OfflineImages } from '../../src/disks/offline-snapshots.ts';
import { LibvirtError } from '../../src/errors.ts';
import { textAt } from '../../src/model/element.ts';
import { LIFECYCLE } from '../../src/model/events.ts';
import { parseDefinition, renamed } from '../../src/xml/domain/definition.ts';
import {
  args,
  clientSees,
  definition,
  disks,
  gone,
  guest,
  host,
  image,
  job,
  libvirtd,
  memory,
  now,
  OTHER_UUID,
  open,
  revert,
  run,
  saved,
  seen,
  settled,
  UUID,
  xmlOf,
} from '../support/daemons/libvirt-host.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { refusal } from '../support/refusal.ts';
import { until } from '../support/until.ts';

const { STOPPED_FROM_SNAPSHOT, STARTED_FROM_SNAPSHOT, RESUMED_FROM_SNAPSHOT, SUSPENDED_FROM_SNAPSHOT } = LIFECYCLE;

describe('over the test driver', () => {
  beforeEach(() => open('test:///default'));

  test('domains are listed and looked up with state and persistence', async () => {
    const transient = await guest('create', 'paused');
    expect(transient).toEqual({
      ref: { name: 'g', uuid: UUID, id: expect.any(Number) },
      state: 'paused',
      persistent: false,
    });
    const all = await host.list();
    expect(all.map(({ ref, state, persistent }) => [ref.name, state, persistent]).sort()).toEqual([
      ['g', 'paused', false],
      ['test', 'running', true],
    ]);
    expect((await refusal(host.lookup({ name: 'g', uuid: OTHER_UUID, id: 1 }))).code).toBe('NO_DOMAIN');
  });

  test('definitions are in inactive format: live as it runs, persistent as it will start', async () => {
    const domain = await guest('define');
    const file = join(libvirtd.directory, 'guest.xml');
    await writeFile(file, xmlOf('g', UUID).replace('<memory>65536', '<memory>131072'));
    await run('define', file);
    const live = await host.definition(domain, 'live');
    const persistent = await host.definition(domain, 'persistent');
    expect(live.element.attributes).toEqual({ type: 'test' });
    expect(persistent.element.attributes).toEqual({ type: 'test' });
    expect(textAt(live.element, 'memory')).toBe('65536');
    expect(textAt(persistent.element, 'memory')).toBe('131072');
    await run('destroy', 'g');
    expect(textAt((await host.definition(await now(), 'live')).element, 'memory')).toBe('131072');
  });

  test.each(['running', 'paused'] as const)('a %s domain is saved with its disk and goes on, unseen', async (state) => {
    const domain = await guest('define', state);
    const recorded = job();
    await host.checkSave(domain, args());
    let result: unknown;
    const events = await clientSees(async () => {
      result = await host.save(domain, 's1', args(), recorded);
    });
    expect(events).toEqual([]);
    expect(result).toEqual({
      name: 's1',
      memory: true,
      memory_path: memory,
      memory_bytes: (await readFile(memory)).length,
      creation_time: expect.any(Number),
      disks: disks(),
    });
    expect(recorded.phases).toEqual(['saving', 'saved', 'restoring']);
    expect(await snapshotsIn(image)).toEqual(['s1']);
    const after = await now();
    expect(after.state).toBe(state);
    expect(after.ref.id).toBeGreaterThan(domain.ref.id);
  });

  test.each([
    ['running', false, RESUMED_FROM_SNAPSHOT],
    ['paused', true, SUSPENDED_FROM_SNAPSHOT],
  ])('a revert to %s is told as libvirt tells one', async (state, paused, last) => {
    const domain = await guest('define');
    await host.save(domain, 's1', args(), job());
    const events = await clientSees(() => revert(paused));
    expect(events).toEqual([STOPPED_FROM_SNAPSHOT, STARTED_FROM_SNAPSHOT, last]);
    expect((await now()).state).toBe(state);
    expect(existsSync(memory)).toBe(true);
  });

  test.each([
    ['running', false, [LIFECYCLE.RESUMED_UNPAUSED, STARTED_FROM_SNAPSHOT]],
    ['paused', true, [STARTED_FROM_SNAPSHOT, SUSPENDED_FROM_SNAPSHOT]],
  ])('a start into %s is told as from a snapshot', async (state, paused, expected) => {
    await guest('define');
    await run('destroy', 'g');
    const off = await now();
    const kept = await definition();
    expect(await clientSees(() => host.start(off, { paused, definition: kept }))).toEqual(expected);
    expect((await now()).state).toBe(state);
  });

  test('a definition is unheard of, new or not, and is the persistent one then', async () => {
    const definition = parseDefinition(xmlOf('g', UUID));
    expect(await clientSees(() => host.define(definition))).toEqual([]);
    expect(await clientSees(() => host.define(definition))).toEqual([]);
    expect((await now()).persistent).toBe(true);
    expect((await refusal(host.define(renamed(definition, 'h')))).message).toContain(`domain 'g' is already defined`);
  });

  test('events of others pass while we work', async () => {
    const domain = await guest('define');
    const recorded = job(async (phase) => {
      if (phase === 'saved') await run('suspend', 'test');
    });
    await clientSees(() => host.save(domain, 's1', args(), recorded));
    expect(seen.filter(({ domain: { name } }) => name === 'test').map(({ event }) => event)).toEqual([
      LIFECYCLE.SUSPENDED_PAUSED,
    ]);
  });

  test('internal snapshots of a running domain are deleted while it is away for a moment, unseen', async () => {
    const domain = await guest('define');
    await host.save(domain, 's1', args(), job());
    expect(await clientSees(() => host.deleteDiskSnapshots(domain, 's1', disks()))).toEqual([]);
    expect(await snapshotsIn(image)).toEqual([]);
    expect((await now()).state).toBe('running');
    expect(existsSync(join(libvirtd.directory, 'home', `${UUID}.save`))).toBe(false);
    const { id } = (await now()).ref;
    await host.deleteDiskSnapshots(domain, 's1', []);
    expect((await now()).ref.id).toBe(id);
  });

  describe('a save that fails', () => {
    test('for its disk leaves domain and folder as they were', async () => {
      const domain = await guest('define');
      await new OfflineImages().create('s1', disks(), new Set());
      const error = await refusal(host.save(domain, 's1', args(), job()));
      expect(error.message).toBe(
        `operation failed: disk 'vda' already has an internal snapshot 's1' in '${image}': choose another name`,
      );
      expect((await now()).state).toBe('running');
      expect(existsSync(memory)).toBe(false);
      expect(await snapshotsIn(image)).toEqual(['s1']);
    });

    test('for its memory leaves everything untouched', async () => {
      const domain = await guest('define');
      const nowhere = join(libvirtd.directory, 'nowhere', 's1.save');
      const error = await refusal(host.save(domain, 's1', { ...args(), memory_path: nowhere }, job()));
      expect(error.fields.code).toBe(38);
      expect(error.message).toContain(nowhere);
      expect(await now()).toEqual(domain);
      expect(await snapshotsIn(image)).toEqual([]);
    });

    test('because it was cancelled before it began leaves everything untouched', async () => {
      const domain = await guest('define');
      const cancelled = job((_phase, abort) => abort());
      expect((await refusal(host.save(domain, 's1', args(), cancelled))).code).toBe('OPERATION_ABORTED');
      expect(cancelled.phases).toEqual(['saving']);
      expect(await now()).toEqual(domain);
    });

    test('because it was cancelled later brings the domain back', async () => {
      const domain = await guest('define', 'paused');
      const cancelled = job((phase, abort) => {
        if (phase === 'saved') abort();
      });
      expect((await refusal(host.save(domain, 's1', args(), cancelled))).code).toBe('OPERATION_ABORTED');
      expect((await now()).state).toBe('paused');
      expect(existsSync(memory)).toBe(false);
      expect(await snapshotsIn(image)).toEqual([]);
    });

    test.each(['saved', 'restoring'])(
      'because the journal fails in phase %s brings the domain back',
      async (failing) => {
        const domain = await guest('define');
        const full = job((phase) => {
          if (phase === failing) throw new LibvirtError('SYSTEM_ERROR', 'No space left on device');
        });
        expect((await refusal(host.save(domain, 's1', args(), full))).message).toBe('No space left on device');
        expect((await now()).state).toBe('running');
        expect(existsSync(memory)).toBe(false);
        expect(await snapshotsIn(image)).toEqual([]);
      },
    );

    test('to bring the domain back keeps its memory and names the command that does', async () => {
      const domain = await guest('create');
      const error = await refusal(
        host.save(
          domain,
          's1',
          args(),
          job(async (phase) => {
            if (phase !== 'restoring') return;
            await writeFile(`${memory}.copy`, await readFile(memory));
            await writeFile(memory, 'damaged');
          }),
        ),
      );
      expect(error.code).toBe('OPERATION_FAILED');
      expect(error.message).toContain(`domain 'g' was saved and could not be restored`);
      expect(error.message).toContain(`this starts it again: virsh restore ${memory}`);
      expect(error.message).toContain(`snapshot 's1' is left in its images`);
      await writeFile(memory, await readFile(`${memory}.copy`));
      await run('restore', memory);
      expect((await now()).state).toBe('running');
      expect(gone).toEqual([]);
    });
  });

  describe('a memory image', () => {
    test('of the domain is accepted', async () => {
      const domain = await guest('define');
      await host.save(domain, 's1', args(), job());
      await expect(host.checkRestore(await now(), saved(), await definition())).resolves.toBeUndefined();
    });

    test('of another domain is refused in libvirt’s words', async () => {
      const domain = await guest('define');
      await host.save(domain, 's1', args(), job());
      const other = { ...domain, ref: { ...domain.ref, name: 'h', uuid: OTHER_UUID } };
      expect((await refusal(host.checkRestore(other, saved(), await definition()))).message).toBe(
        `operation failed: cannot restore domain 'h' uuid ${OTHER_UUID} from a file which belongs to domain 'g' uuid ${UUID}`,
      );
    });

    test('that was edited brings nothing but RAM into the domain', async () => {
      const domain = await guest('define');
      await host.save(domain, 's1', args(), job());
      const edited = join(libvirtd.directory, 'edited.xml');
      const evil = `<interface type='ethernet'><script path='/home/bob/run'/></interface></devices>`;
      const xml = (await run('save-image-dumpxml', memory)).replace('</devices>', evil);
      await writeFile(edited, xml.replace('</os>', '<kernel>/home/bob/kernel</kernel></os>'));
      await run('save-image-define', memory, edited);
      expect(await run('save-image-dumpxml', memory)).toContain('bob');
      await revert(false);
      expect(await run('dumpxml', 'g')).not.toContain('bob');
    });

    test('that is missing or damaged is refused', async () => {
      const domain = await guest('define');
      expect((await refusal(host.checkRestore(domain, saved(), await definition()))).message).toContain(memory);
      await writeFile(memory, 'damaged');
      expect((await refusal(host.checkRestore(domain, saved(), await definition()))).message).toContain(
        `incomplete save header in '${memory}'`,
      );
    });
  });

  describe('a domain has gone', () => {
    test('when it is undefined, not when it only becomes transient', async () => {
      await guest('define');
      await run('undefine', 'g');
      await settled();
      expect(gone).toEqual([]);
      await run('destroy', 'g');
      await until(() => gone.length > 0);
      await guest('define');
      await run('destroy', 'g');
      await run('undefine', 'g');
      await until(() => gone.length > 1);
      expect(gone).toEqual(['g', 'g']);
    });

    test('when a transient one ends, not when it is saved, or destroyed to be reverted', async () => {
      const domain = await guest('create');
      await host.save(domain, 's1', args(), job());
      await host.deleteDiskSnapshots(domain, 's1', disks());
      const active = await now();
      expect(active.persistent).toBe(false);
      const kept = await definition();
      await host.destroy(active);
      await host.restore(active, memory, { paused: false, definition: kept });
      await settled();
      expect(gone).toEqual([]);
      await run('destroy', 'g');
      await until(() => gone.length > 0);
      expect(gone).toEqual(['g']);
    });

    test('not when its end could not be brought about', async () => {
      const domain = await guest('create');
      await run('destroy', 'g');
      await until(() => gone.length === 1);
      await refusal(host.destroy(domain));
      await guest('create');
      await run('destroy', 'g');
      await until(() => gone.length === 2);
    });
  });

  test.each([['live', { live: true }, 84, 'take the snapshot without the live flag']] as const)(
    'what cannot be done through libvirt is refused up front: %s',
    async (_what, changed, code, text) => {
      const error = await refusal(host.checkSave(await guest('define'), { ...args(), ...changed }));
      expect(error.fields.code).toBe(code);
      expect(error.message).toContain(text);
    },
  );
});
