/** `xlsnap verify`: checks whether listed snapshots can be reverted to. */

import type { DomainRef } from '../../model/domain.ts';
import { printable } from '../../model/messages/printable.ts';
import { command, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import { foldersOf, MEMORY_DIR, SNAPSHOT_DIR } from '../storage/daemon-folders.ts';
import { findingText } from '../storage/finding.ts';
import { type Verified, verifyDomain } from './verify-domain.ts';
import { memoryFormatOf } from './verify-snapshot.ts';

/** `xlsnap verify`. */
export const VERIFY = command({
  description:
    'Reads the metadata, the memory images and the disk images of the snapshots of one domain or of all, and reports ' +
    'problems with the way out of each. Fails if there are any. With --hash it also prints the SHA-256 of each memory image and ' +
    'of the contents of each disk as the guest would read them; that takes as long as reading them.',
  options: [
    { name: 'domain', type: 'string', help: 'domain name, id or uuid (default: all)', completes: 'domain' },
    { name: 'snapshot', type: 'string', help: 'only this snapshot', completes: 'snapshot' },
    { name: 'hash', type: 'bool', help: 'print hashes of memory and disks' },
    JSON_OPTION,
    MEMORY_DIR,
    SNAPSHOT_DIR,
  ],
  async run(values, session) {
    const client = await session.client();
    const options = {
      folders: await foldersOf(values, session),
      format: memoryFormatOf(await client.getType()),
      hash: values.hash,
      only: values.snapshot,
    };
    const domains = values.domain === undefined ? await client.listAllDomains() : [await session.domain(values.domain)];
    const found: (Verified & { readonly domain: string })[] = [];
    for (const domain of domains) {
      if (values.snapshot !== undefined) await client.snapshots.lookupByName(domain, values.snapshot, 0);
      for await (const verified of verifyDomain(client, domain, options)) {
        found.push({ domain: domain.name, ...verified });
        if (!values.json) session.print(text(domain, verified));
      }
    }
    if (values.json) session.json(found);
    const problems = found.reduce((sum, { findings }) => sum + findings.length, 0);
    if (problems > 0) throw failure(problems === 1 ? '1 problem found' : `${problems} problems found`);
  },
});

function text({ name }: DomainRef, { snapshot, findings, hashes }: Verified): string {
  const what = snapshot === undefined ? `domain ${name}, files and images` : `domain ${name}, snapshot ${snapshot}`;
  const lines = [
    ...(hashes?.memory === undefined ? [] : [`  sha256 of memory     ${hashes.memory}\n`]),
    ...Object.entries(hashes?.disks ?? {}).map(
      ([disk, hash]) => `  sha256 of disk ${disk.padEnd(5)} ${hash ?? 'none: a volume has the snapshot'}\n`,
    ),
  ];
  return `${printable(what)}: ${findings.length === 0 ? 'ok' : 'NOT ok'}\n${findings.map((finding) => findingText(finding, '  ')).join('')}${lines.join('')}`;
}
