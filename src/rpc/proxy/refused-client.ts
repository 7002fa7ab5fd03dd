/** A client for which there is no upstream. */

import type { LibvirtError } from '../../errors.ts';
import { FrameOutlet } from '../wire/frame-outlet.ts';
import type { FrameSink } from '../wire/frame-splitter.ts';
import { TYPE } from '../wire/frames.ts';
import type { Inlet } from '../wire/inlet.ts';
import { errorFrame } from '../wire/messages.ts';
import type { Turns } from '../wire/turns.ts';

/**
 * For a client that connects while the upstream is down: its first call is answered with the reason, then the
 * connection ends.
 */
export function refuseFirstCall(client: Inlet, turns: Turns, error: LibvirtError): void {
  const outlet = new FrameOutlet(client.socket);
  let refused = false;
  const sink: FrameSink = {
    begin(header) {
      if (header.type === TYPE.CALL && !refused) {
        refused = true;
        outlet.send(errorFrame(header, error));
        outlet.close(error);
      }
      return 'drop';
    },
    whole: () => {},
    pass: () => {},
  };
  client.start({ sink, regulate: () => {}, takeTurns: (step) => turns.join('read-only', step) });
}
