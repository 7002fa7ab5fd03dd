/** Looking into qcow2 images from outside, also while somebody has them open. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Names of the internal snapshots in an image, oldest first. */
export async function snapshotsIn(path: string): Promise<readonly string[]> {
  const { stdout } = await promisify(execFile)('qemu-img', ['info', '-U', '--output=json', path]);
  const { snapshots = [] } = JSON.parse(stdout) as { snapshots?: readonly { readonly name: string }[] };
  return snapshots.map(({ name }) => name);
}
