/** The frames of a buffer that holds whole ones. */

import { FrameSplitter } from '../../../src/rpc/wire/frame-splitter.ts';

export function framesOf(bytes: Buffer): readonly Buffer[] {
  const frames: Buffer[] = [];
  const splitter = new FrameSplitter({
    begin: () => 'whole',
    whole: (_header, frame) => frames.push(frame),
    pass: () => {},
  });
  splitter.push(bytes);
  return frames;
}
