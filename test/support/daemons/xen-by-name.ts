/** A real libvirtd that calls its test driver Xen: for what a daemon does on a Xen host whose libxl it cannot use. */

import { once } from 'node:events';
import { chown, rm, stat } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { FrameSplitter } from '../../../src/rpc/wire/frame-splitter.ts';
import { type FrameHeader, PROGRAM, TYPE } from '../../../src/rpc/wire/frames.ts';
import { replyFrame } from '../../../src/rpc/wire/messages.ts';
import { PROCEDURES } from '../../../src/rpc/wire/procedures.ts';
import type { Libvirtd } from './libvirtd.ts';

const { number, result } = PROCEDURES.CONNECT_GET_TYPE;

const isType = ({ program, type, procedure }: FrameHeader): boolean =>
  program === PROGRAM.REMOTE && type === TYPE.REPLY && procedure === number;

export interface XenByName extends AsyncDisposable {
  readonly socket: string;
}

/** A socket of its own before `libvirtd`, through which everything passes but the driver's name. */
export async function xenByName(libvirtd: Libvirtd): Promise<XenByName> {
  const path = join(libvirtd.directory, 'xen-sock');
  const server = createServer((client) => {
    const upstream = connect(libvirtd.socket);
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
    client.pipe(upstream);
    const splitter = new FrameSplitter({
      begin: (header) => (isType(header) ? 'whole' : 'pass'),
      whole: (header) => client.write(replyFrame(header, result, { value: 'Xen' })),
      pass: (bytes) => client.write(bytes),
    });
    upstream.on('data', (chunk) => splitter.push(chunk));
  });
  server.listen(path);
  await once(server, 'listening');
  const { uid, gid } = await stat(libvirtd.socket);
  await chown(path, uid, gid);
  return {
    socket: path,
    async [Symbol.asyncDispose]() {
      server.close();
      await rm(path, { force: true });
    },
  };
}
