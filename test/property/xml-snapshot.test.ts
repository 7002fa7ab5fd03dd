import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { entryOf } from '../../src/model/snapshot.ts';
import { readSnapshot, readSnapshotEntry } from '../../src/xml/snapshot/read.ts';
import { writeSnapshot } from '../../src/xml/snapshot/write.ts';
import { snapshots } from '../support/xml/any-snapshot.ts';

test('a stored snapshot reads back as it was written', () => {
  fc.assert(
    fc.property(snapshots, fc.boolean(), (snapshot, current) => {
      const written = writeSnapshot(snapshot, { secure: true, current });
      expect(readSnapshot(written, { internal: true })).toEqual({ snapshot, current });
    }),
    { numRuns: 300 },
  );
});

test('what lists need of a stored snapshot is what the whole of it says', () => {
  fc.assert(
    fc.property(snapshots, fc.boolean(), (snapshot, current) => {
      const written = writeSnapshot(snapshot, { secure: true, current });
      expect(readSnapshotEntry(written)).toEqual({ entry: entryOf(snapshot), current });
    }),
    { numRuns: 100 },
  );
});

test('a redefinition of what was printed changes no byte', () => {
  fc.assert(
    fc.property(snapshots, (snapshot) => {
      const printed = writeSnapshot(snapshot, { secure: true });
      const { snapshot: again } = readSnapshot(printed, { internal: false });
      expect(writeSnapshot(again, { secure: true })).toBe(printed);
    }),
    { numRuns: 300 },
  );
});
