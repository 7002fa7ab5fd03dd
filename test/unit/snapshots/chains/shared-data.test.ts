import { expect, test } from '@jest/globals';
import type { LibvirtError } from '../../../../src/errors.ts';
import type { Domain } from '../../../../src/model/domain.ts';
import { entryOf, type MemorySnapshot, type SnapshotDef } from '../../../../src/model/snapshot.ts';
import { SnapshotTree } from '../../../../src/model/tree.ts';
import { checkOnlyOwner } from '../../../../src/snapshots/chains/shared-data.ts';
import type { Looking } from '../../../../src/snapshots/context.ts';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';

const domainOf = (name: string): Domain => ({
  ref: { name, uuid: `uuid of ${name}`, id: -1 },
  state: 'shutoff',
  persistent: true,
});

const snapshot = (name: string, path: string, location: 'internal' | 'no', memory: MemorySnapshot): SnapshotDef => ({
  ...{ name, state: 'shutoff', creationTime: 1n, memory, revertDisks: [] },
  disks: [{ name: 'xvda', location }],
  domain: parseDefinition(
    `<domain type='xen'><name>g</name><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>` +
      `<source file='${path}'/><target dev='xvda'/></disk></devices></domain>`,
  ),
});
const inImage = (name: string, path: string) => snapshot(name, path, 'internal', { location: 'no' });
const inMemory = (name: string, file: string) => snapshot(name, '/d/x', 'no', { location: 'external', file });

/** The refusal to delete snapshot `s1` of domain `own`, if domain `copy` has this snapshot. */
async function refusal(own: SnapshotDef, theirs: SnapshotDef): Promise<string | undefined> {
  const { tree } = SnapshotTree.of([entryOf(theirs)]);
  const looking = {
    host: { list: async () => [domainOf('own'), domainOf('copy')] },
    images: { fileKey: async (path: string) => path.replace('/link/', '/d/') },
    snapshotsOf: async ({ name }: Domain['ref']) => ({ tree: name === 'copy' ? tree : SnapshotTree.of([]).tree }),
  } as unknown as Looking;
  return await checkOnlyOwner(looking, domainOf('own'), [own]).then(
    () => undefined,
    ({ code, detail }: LibvirtError) => `${code}: ${detail}`,
  );
}

const WAY_OUT =
  'which would lose its data; to forget this one and keep the data: virsh snapshot-delete own s1 --metadata';

test('a snapshot of the same name in the same image, by whatever name of the file', async () => {
  expect(await refusal(inImage('s1', '/link/a'), inImage('s1', '/d/a'))).toBe(
    `OPERATION_INVALID: image '/d/a' of snapshot 's1' of domain 'own' is also that of snapshot 's1' of domain 'copy', ${WAY_OUT}`,
  );
});

test('a snapshot of any name with the same memory file', async () => {
  expect(await refusal(inMemory('s1', '/link/m'), inMemory('s2', '/d/m'))).toBe(
    `OPERATION_INVALID: memory image '/d/m' of snapshot 's1' of domain 'own' is also that of snapshot 's2' of domain 'copy', ${WAY_OUT}`,
  );
});

test.each([
  ['another image', inImage('s1', '/d/b')],
  ['another snapshot in the image', inImage('s2', '/d/a')],
  ['a snapshot that left the image out', snapshot('s1', '/d/a', 'no', { location: 'no' })],
])('%s loses nothing', async (_, theirs) => {
  expect(await refusal(inImage('s1', '/d/a'), theirs)).toBeUndefined();
});

test('another memory file, or memory of xlsnapd’s own, is not lost', async () => {
  expect(await refusal(inMemory('s1', '/d/m'), inMemory('s1', '/d/n'))).toBeUndefined();
  expect(await refusal(inMemory('s1', '/d/m'), snapshot('s1', '/d/x', 'no', { location: 'internal' }))).toBeUndefined();
});
