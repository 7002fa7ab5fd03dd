/** Connects to the daemon that a libvirt URI names. */

import { addressOf } from '../client/address.ts';
import { RpcClient } from '../rpc/client/client.ts';
import { dialProgram } from '../rpc/client/transport.ts';

interface ConnectOptions {
  readonly uri: string;
  readonly readOnly: boolean;
  readonly signal?: AbortSignal;
}

/** Connects. Rejects with libvirt's own messages. */
export function connect({ uri, readOnly, signal }: ConnectOptions): Promise<RpcClient> {
  const { command, ...address } = addressOf(uri, readOnly);
  const dial = command && ((stop: AbortSignal) => dialProgram(command, stop));
  return RpcClient.connect({ ...address, readOnly, ...(dial && { dial }), ...(signal && { signal }) });
}
