/** The client's side of the calls that find a volume of a storage pool. */

import type { StorageVolume } from '../../model/domain.ts';
import { CALLS } from './calls.ts';
import type { Send } from './connection.ts';

/** Returns the function that asks for a volume's path. */
export function volumePathCall(send: Send): (volume: StorageVolume) => Promise<string> {
  return async ({ pool: poolName, name }) => {
    const { pool } = await send(CALLS.storagePoolLookupByName, { name: poolName });
    const { volume } = await send(CALLS.storageVolLookupByName, { pool, name });
    return (await send(CALLS.storageVolGetPath, { volume })).name;
  };
}
