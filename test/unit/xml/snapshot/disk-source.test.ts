import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { readSnapshotRequest } from '../../../../src/xml/snapshot/read.ts';
import { writeSnapshot } from '../../../../src/xml/snapshot/write.ts';

/**
 * Our own disks, and what libvirt 9.0.0's test driver printed (`snapshot-dumpxml --security-info`) or refused for each.
 * Cases whose outcome is decided by the alignment with a domain are not in it.
 */
interface Recorded {
  readonly disk: string;
  readonly printed?: readonly string[];
  readonly error?: string;
}

const recorded: readonly Recorded[] = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../../fixtures/xml/disk-sources.json'), 'utf8'),
);

const read = (disk: string) =>
  readSnapshotRequest(`<domainsnapshot><name>s</name><disks>${disk}</disks></domainsnapshot>`, {
    offline: false,
    now: 1n,
  });

const print = (disk: string): readonly string[] => {
  const text = writeSnapshot({ ...read(disk), state: 'running', revertDisks: [] }, { secure: true });
  return (/ {2}<disks>\n([\s\S]*?) {2}<\/disks>/.exec(text)?.[1] ?? '')
    .trimEnd()
    .split('\n')
    .map((line) => line.slice(4));
};

const taken = recorded.filter(({ printed }) => printed);
const refused = recorded.filter(({ error }) => error);

test('the recorded cases cover both outcomes', () => {
  expect(taken.length).toBeGreaterThan(40);
  expect(refused.length).toBeGreaterThan(40);
});

test.each(taken)('prints as libvirt does: $disk', ({ disk, printed }) => {
  expect(print(disk)).toEqual(printed);
});

test.each(refused)('refuses as libvirt does: $disk', ({ disk, error }) => {
  expect(() => read(disk)).toThrow(expect.objectContaining({ name: 'LibvirtError', message: error }));
});
