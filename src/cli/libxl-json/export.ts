/** `xlsnap export` and `xlsnap import`: snapshots as libxl-json, for tools that speak libxl. */

import { readFile } from 'node:fs/promises';
import { systemError } from '../../errors.ts';
import { DOMAIN_SNAPSHOT, DOMAIN_SNAPSHOT_ARGS, fromLibxlJson, toLibxlJson } from '../../libxl/structs.ts';
import { CREATE } from '../../model/flags.ts';
import { domainCommand } from '../../model/messages/shell-command.ts';
import { MemoryFiles } from '../../store/memory-folder.ts';
import { toSnapshotArgs } from '../../xml/snapshot/libxl-args.ts';
import { readSnapshot } from '../../xml/snapshot/read.ts';
import { writeSnapshot } from '../../xml/snapshot/write.ts';
import { command, DOMAIN, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import { orNone } from '../session.ts';
import { foldersOf, MEMORY_DIR } from '../storage/daemon-folders.ts';
import { documentOf, libxlSnapshotOf } from './convert.ts';

/** `xlsnap export`. */
export const EXPORT = command({
  description:
    'Prints libxl_domain_snapshot as libxl-json (schemas/libxl_snapshot.idl), or with --args the libxl_domain_snapshot_args ' +
    'that would take such a snapshot again, by the library or by snapshot-create.',
  options: [
    DOMAIN,
    { name: 'snapshot', type: 'data', help: 'snapshot name', completes: 'snapshot' },
    { name: 'libxl-json', type: 'bool', help: 'as libxl-json, the only format' },
    { name: 'args', type: 'bool', help: 'print the parameters instead of the result' },
    MEMORY_DIR,
  ],
  async run(values, session) {
    const { snapshots } = await session.client();
    const domain = await session.domain(values.domain);
    const ref = await snapshots.lookupByName(domain, values.snapshot, 0);
    const { snapshot } = readSnapshot(await snapshots.getXMLDesc(ref, 0), { internal: false });
    const { memoryDir } = await foldersOf(values, session);
    if (values.args) {
      const disks = snapshot.domain?.disks ?? [];
      const memoryPath = new MemoryFiles(memoryDir).path(domain, snapshot.name);
      session.print(
        toLibxlJson(DOMAIN_SNAPSHOT_ARGS, toSnapshotArgs(snapshot, disks, { memoryPath, live: false, reuse: false })),
      );
    } else {
      session.print(toLibxlJson(DOMAIN_SNAPSHOT, await libxlSnapshotOf(domain, snapshot, memoryDir)));
    }
  },
});

/** `xlsnap import`. */
export const IMPORT = command({
  description:
    'Reads libxl_domain_snapshot as libxl-json, as export prints it, and redefines the snapshot: its data must exist, its ' +
    'metadata must not. Takes what the struct does not hold from the memory image and from the domain.',
  options: [
    DOMAIN,
    { name: 'file', type: 'data', help: 'file with libxl-json' },
    { name: 'current', type: 'bool', help: 'make it the current snapshot' },
    JSON_OPTION,
    MEMORY_DIR,
  ],
  async run(values, session) {
    const client = await session.client();
    const domain = await session.domain(values.domain);
    const json = await readFile(values.file, 'utf8').catch((error) => {
      throw systemError(error, `cannot read file '${values.file}'`);
    });
    const struct = fromLibxlJson(DOMAIN_SNAPSHOT, json);
    const { name } = struct;
    if (await client.snapshots.lookupByName(domain, name, 0).catch(orNone('NO_DOMAIN_SNAPSHOT'))) {
      const deletion = { command: 'snapshot-delete', domain, args: [name], options: ['--metadata'] };
      const wayOut = `to delete its metadata and keep its data: ${domainCommand({ program: 'xlsnap', ...deletion })}`;
      throw failure(`snapshot '${name}' of domain '${domain.name}' already exists: ${wayOut}`);
    }
    const { memoryDir } = await foldersOf(values, session);
    const document = writeSnapshot(await documentOf(client, domain, struct, memoryDir), { secure: true });
    const imported = await client.snapshots.createXML(
      domain,
      document,
      CREATE.REDEFINE | (values.current ? CREATE.CURRENT : 0),
    );
    session.done(values.json, imported, `Domain snapshot ${name} imported from ${values.file}\n`);
  },
});
