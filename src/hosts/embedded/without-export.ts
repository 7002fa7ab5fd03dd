/**
 * QEMU does not resize a node that an NBD export uses. So the export is removed while the size changes; its clients have to
 * connect again.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Released } from '../../disks/overlays/resize-disk.ts';
import { Qmp } from '../../disks/qemu/qmp.ts';
import { LibvirtError, neverAborted } from '../../errors.ts';

const POLL_MS = 10;
/** For an export whose clients are being disconnected. */
const GONE_TIMEOUT_MS = 5_000;

/** An entry of query-block-exports. */
interface BlockExport {
  readonly id: string;
  readonly 'node-name': string;
}

/** Exports the disk again afterwards, also if the work fails. */
export const withoutExport: Released = async (socket, disk, node, work) => {
  const subject = `disk '${disk}'`;
  const ask = async (command: string, args: object): Promise<unknown> => {
    await using qmp = await Qmp.connect(socket, neverAborted());
    return await qmp.execute(command, args, subject);
  };
  const find = async (): Promise<BlockExport | undefined> =>
    ((await ask('query-block-exports', {})) as readonly BlockExport[]).find((each) => each['node-name'] === node);
  const exported = await find();
  const holder = `${disk}-resize`;
  // A node that QEMU has opened by itself, below one that is gone since, ends with its last user.
  await ask('blockdev-add', { driver: 'raw', 'node-name': holder, file: node });
  try {
    if (exported) await ask('block-export-del', { id: exported.id, mode: 'hard' });
    for (const end = Date.now() + GONE_TIMEOUT_MS; exported && (await find()); await sleep(POLL_MS)) {
      if (Date.now() > end) throw new LibvirtError('OPERATION_TIMEOUT', `clients of ${subject} do not disconnect`);
    }
    await work();
  } finally {
    if (exported && !(await find())) {
      await ask('block-export-add', { type: 'nbd', id: exported.id, 'node-name': node, name: disk, writable: true });
    }
    await ask('blockdev-del', { 'node-name': holder });
  }
};
