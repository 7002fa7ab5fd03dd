/** Reading a socket's frames, at the pace that what they cause can be taken. */

import type { Socket } from 'node:net';
import { type FrameSink, FrameSplitter } from './frame-splitter.ts';

/**
 * Bytes that may wait in a socket before the side they come from is left alone: a few of the frames that streams are made
 * of (256 KiB), so that a stream does not stop and start with every one.
 */
export const HIGH_WATER_BYTES = 1024 * 1024;

/** Feeds the socket's frames to `sink`. A stream that cannot be one of frames ends the connection; nobody else's. */
export function readFrames(socket: Socket, sink: FrameSink, regulate: () => void): void {
  const splitter = new FrameSplitter(sink);
  socket.on('data', (chunk) => {
    try {
      splitter.push(chunk);
      regulate();
    } catch {
      socket.destroy();
    }
  });
  socket.on('drain', regulate);
}

/** Reads on, or leaves what comes in the kernel until it can be taken. */
export function setFlow(socket: Socket, flow: boolean): void {
  if (flow && socket.isPaused()) socket.resume();
  if (!flow && !socket.isPaused()) socket.pause();
}
