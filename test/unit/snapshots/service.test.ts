import { expect, test } from '@jest/globals';
import type { Domain } from '../../../src/model/domain.ts';
import { XML } from '../../../src/model/flags.ts';
import type { SnapshotContext } from '../../../src/snapshots/context.ts';
import { Jobs } from '../../../src/snapshots/jobs.ts';
import type { Journal } from '../../../src/snapshots/ports/journal.ts';
import { SnapshotService } from '../../../src/snapshots/service.ts';
import { parseDefinition } from '../../../src/xml/domain/definition.ts';
import { GUEST, RecordedWorld } from '../../support/fakes/recorded-world.ts';
import { MemoryStore } from '../../support/fakes/store-in-memory.ts';

const domain: Domain = {
  ref: { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: -1 },
  state: 'shutoff',
  persistent: true,
};

async function opened(world: RecordedWorld): Promise<SnapshotService> {
  const { context } = world;
  return await SnapshotService.open({ ...context, host: { ...context.host, onGone: () => {}, onRenamed: () => {} } });
}

test('passwords are in a document only if they are asked for', async () => {
  await using world = await RecordedWorld.open();
  const secret = parseDefinition(
    `<domain type='xen'><name>g</name><uuid>${GUEST.uuid}</uuid><os><type>linux</type></os><memory>1</memory><devices>` +
      "<graphics type='vnc' port='-1' passwd='tellnobody'/></devices></domain>",
  );
  await world.snapshots(world.snapshot('s1', 'base', undefined, { domain: secret }));
  const service = await opened(world);
  expect(await service.getXMLDesc({ domain: GUEST, name: 's1' }, XML.SECURE)).toContain('tellnobody');
  expect(await service.getXMLDesc({ domain: GUEST, name: 's1' }, 0)).not.toContain('tellnobody');
});

test('the snapshots of a domain that is still there are not forgotten', async () => {
  await using world = await RecordedWorld.open();
  await world.snapshots(world.snapshot('s1', 'base'));
  const service = await opened(world);
  await service.forget(GUEST.uuid);
  expect(service.count(GUEST.uuid)).toBe(1);
  expect(world.steps).toEqual([]);
});

test('who wants to undefine a domain waits until the job on it has ended', async () => {
  const entry = { phase: async () => {}, plan: async () => {}, definition: async () => {}, end: async () => {} };
  const journal: Journal = { begin: async () => entry, pending: async () => [], end: async () => {} };
  const jobs = new Jobs(journal);
  const host = { lookup: async () => domain, list: async () => [domain], onGone: () => {}, onRenamed: () => {} };
  const context = { host, store: new MemoryStore(), jobs, journal, log: () => {} } as unknown as SnapshotContext;
  const service = await SnapshotService.open(context);
  const ended: string[] = [];
  let end = () => {};
  const work = new Promise<void>((resolve) => {
    end = resolve;
  });
  const job = jobs.run(domain.ref, { operation: 'delete', snapshot: 's', flags: 0 }, () => work);
  const asked = service.checkUndefine(domain.ref, true).then(() => ended.push('may be undefined'));
  await new Promise(setImmediate);
  expect(ended).toEqual([]);
  end();
  await Promise.all([job.then(() => ended.push('job')), asked]);
  expect(ended).toEqual(['job', 'may be undefined']);
});
