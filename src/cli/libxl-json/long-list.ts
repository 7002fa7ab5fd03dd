import { DOMAIN_SNAPSHOT } from '../../libxl/structs.ts';
import type { DomainRef } from '../../model/domain.ts';
import { readSnapshot } from '../../xml/snapshot/read.ts';
import type { Session } from '../session.ts';
import { foldersOf } from '../storage/daemon-folders.ts';
import { libxlSnapshotOf } from './convert.ts';

/** Returns an array of libxl_domain_snapshot in libxl-json, as `xl list --long` has one of libxl_domain_config. */
export async function longList(session: Session, domain: DomainRef, documents: readonly string[]): Promise<string> {
  const { memoryDir } = await foldersOf({}, session);
  const structs = documents.map((xml) =>
    libxlSnapshotOf(domain, readSnapshot(xml, { internal: false }).snapshot, memoryDir),
  );
  return `${JSON.stringify(
    (await Promise.all(structs)).map((struct) => DOMAIN_SNAPSHOT.write(struct)),
    undefined,
    4,
  )}\n`;
}
