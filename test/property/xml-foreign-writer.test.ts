/** A snapshot means the same in whatever hand its document is written. */

import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseXml } from '../../src/xml/engine/parse.ts';
import { readSnapshot, readSnapshotRequest } from '../../src/xml/snapshot/read.ts';
import { writeSnapshot } from '../../src/xml/snapshot/write.ts';
import { simpleSnapshots } from '../support/xml/any-snapshot.ts';
import { hands, writeInHand } from '../support/xml/foreign-writer.ts';

/** Documents of which each of these was seen; checked at the end, so that the test cannot pass over plain ones alone. */
const SIGNS: readonly RegExp[] = [/="/, /<!\[CDATA\[/, /&#x/, /<!-- /, /\r\n/, /^<\?xml/, /\t</];

test('a stored snapshot is read as the same from any hand', () => {
  const seen = new Set<RegExp>();
  fc.assert(
    fc.property(simpleSnapshots, fc.boolean(), hands, (snapshot, current, hand) => {
      const written = writeSnapshot(snapshot, { secure: true, current });
      const foreign = writeInHand(parseXml(written, 'domain_snapshot'), hand);
      for (const sign of SIGNS) if (sign.test(foreign)) seen.add(sign);
      expect(readSnapshot(foreign, { internal: true })).toEqual({ snapshot, current });
    }),
    { numRuns: 300 },
  );
  expect([...seen].toSorted()).toEqual([...SIGNS].toSorted());
});

test('a redefinition and a request, too', () => {
  fc.assert(
    fc.property(simpleSnapshots, hands, (snapshot, hand) => {
      const written = writeSnapshot(snapshot, { secure: true });
      const foreign = writeInHand(parseXml(written, 'domain_snapshot'), hand);
      expect(readSnapshot(foreign, { internal: false })).toEqual(readSnapshot(written, { internal: false }));
      const options = { offline: snapshot.memory.location === 'no', now: 1n };
      expect(readSnapshotRequest(foreign, options)).toEqual(readSnapshotRequest(written, options));
    }),
    { numRuns: 200 },
  );
});
