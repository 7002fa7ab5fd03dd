/**
 * Real documents, mutated from a seed, through every reader of XML: each is read or refused in words. XLSNAP_FUZZ_DOCUMENTS
 * and XLSNAP_FUZZ_SEED choose a longer run or another one; `npm run test:faults` takes a million.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from '@jest/globals';
import { LibvirtError } from '../../src/errors.ts';
import { defaultDefinition } from '../../src/hosts/embedded/definitions.ts';
import { parseDefinition } from '../../src/xml/domain/definition.ts';
import { writeElement } from '../../src/xml/engine/write.ts';
import { readSnapshot, readSnapshotEntry, readSnapshotRequest } from '../../src/xml/snapshot/read.ts';
import { writeSnapshot } from '../../src/xml/snapshot/write.ts';
import { numbers } from '../support/random.ts';

const WANTED = Number(process.env.XLSNAP_FUZZ_DOCUMENTS ?? 200_000);
/** A slower machine gets less far. */
const LIMIT_MS = WANTED / 2;
const LEAST = WANTED / 20;
const SEED = Number(process.env.XLSNAP_FUZZ_SEED ?? 5);
/** The readers keep nothing: what many documents leave behind would show. */
const GROWTH_MIB = 512;

const domain = writeElement(defaultDefinition('/var/lib/libvirt/images/a.qcow2').element);

/** What clients send, what is stored, and what both hold. */
const documents: readonly string[] = [
  domain,
  '<domainsnapshot/>',
  `<domainsnapshot><name>a</name><description>one &amp; two</description></domainsnapshot>`,
  `<domainsnapshot><name>a</name><memory snapshot='external' file='/m'/><disks><disk name='xvda' snapshot='external' type='file'>
     <driver type='qcow2'/><source file='/o'/></disk><disk name='xvdb' snapshot='no'/></disks></domainsnapshot>`,
  ...['running', 'paused', 'shutoff', 'disk-snapshot'].map(
    (state) => `<domainsnapshot><name>a</name><state>${state}</state><parent><name>b</name></parent>
      <creationTime>1795527892</creationTime><memory snapshot='${state === 'running' ? 'internal' : 'no'}'/>
      <disks><disk name='xvda' snapshot='internal'/></disks>${domain}<active>1</active></domainsnapshot>`,
  ),
];

/** What stands in documents that mean harm. */
const WORDS = [
  ...['<', '>', '&', "'", '"', '/>', '</', '<!--', '-->', '<![CDATA[', ']]>', '<?xml', '&#0;', '&#x1F600;', '&lol;'],
  ...['<!DOCTYPE a [<!ENTITY lol "lol">]>', '<!ENTITY x SYSTEM "file:///etc/passwd">', '\0', '\u{ffff}', '\ud800'],
  ...[
    '<name>',
    '</name>',
    '<name>../../x</name>',
    '<domain>',
    '</domain>',
    '<disks>',
    "snapshot='external'",
    "file='/x'",
  ],
  ...['-1', '18446744073709551616', '1e999', 'NaN', '<state>running</state>', '<parent>', "xmlns:a='a'", '<a:b/>'],
];

/** Still a document: a value, a text or an empty element of it is another one. */
function bent(text: string, random: (limit: number) => number): string {
  const parts = [/='[^']*'/g, />[^<>]+</g, /<\w+[^<>]*\/>/g][random(3)] ?? /='[^']*'/g;
  const found = [...text.matchAll(parts)];
  const match = found[random(Math.max(1, found.length))];
  if (!match) return text;
  const word = (WORDS[random(WORDS.length)] ?? '').replace(/[<>&'\0\ud800\uffff]/g, '');
  const put = match[0].startsWith('=') ? `='${word}'` : match[0].startsWith('>') ? `>${word}<` : '';
  return text.slice(0, match.index) + put + text.slice(match.index + match[0].length);
}

/** Most likely no document any more. */
function broken(text: string, random: (limit: number) => number): string {
  const at = random(text.length + 1);
  const end = Math.min(text.length, at + random(40));
  const other = documents[random(documents.length)] ?? '';
  const word = WORDS[random(WORDS.length)] ?? '';
  const mutants = [
    text.slice(0, at) + text.slice(end),
    text.slice(0, at) + word + text.slice(at),
    text.slice(0, at) + word + text.slice(end),
    text.slice(0, at) + other.slice(random(other.length)),
    text.slice(0, end) + text.slice(at),
  ];
  return mutants[random(mutants.length)] ?? text;
}

function mutant(random: (limit: number) => number): string {
  let text = documents[random(documents.length)] ?? '';
  for (let times = 1 + random(4); times > 0; times -= 1) text = bent(text, random);
  return random(3) === 0 ? broken(text, random) : text;
}

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Bytes that are really kept: V8 is in no hurry to collect where there is memory. */
function resident(): number {
  collectGarbage();
  return process.memoryUsage().rss;
}

const READERS: readonly ((text: string) => unknown)[] = [
  (text) => readSnapshotRequest(text, { offline: false, now: 1n }),
  (text) => writeSnapshot(readSnapshot(text, { internal: true }).snapshot, { secure: true, current: false }),
  (text) => readSnapshot(text, { internal: false }),
  (text) => readSnapshotEntry(text),
  (text) => parseDefinition(text).disks,
];

test(
  `${WANTED} mutated documents are read, or refused in words`,
  async () => {
    const random = numbers(SEED);
    const until = performance.now() + LIMIT_MS;
    const before = resident();
    let read = 0;
    let accepted = 0;
    while (read < WANTED && performance.now() < until) {
      const text = mutant(random);
      const reader = READERS[random(READERS.length)] ?? readSnapshotEntry;
      read += 1;
      try {
        await reader(text);
        accepted += 1;
      } catch (error) {
        if (error instanceof LibvirtError && error.message !== '') continue;
        throw new Error(`${JSON.stringify(text)}: ${(error as Error).stack}`);
      }
    }
    const growth = (resident() - before) / 2 ** 20;
    process.stdout.write(
      `${read} mutated documents, seed ${SEED}: ${accepted} accepted; ${Math.round(growth)} MiB more\n`,
    );
    expect(read).toBeGreaterThan(LEAST);
    expect(accepted).toBeGreaterThan(read / 20);
    expect(growth).toBeLessThan(GROWTH_MIB);
  },
  LIMIT_MS + 60_000,
);
