/** Serves clients in front of a libvirtd, each with a connection of its own to it. */

import type { Judge } from '../../access/acl.ts';
import { Authentication } from '../../access/authentication.ts';
import { isTrusted, processSubject } from '../../access/caller.ts';
import { judgedBlocks, judgedGuests } from '../../access/judged-blocks.ts';
import { judgedSaveImages } from '../../access/judged-save-images.ts';
import { judgedSnapshots } from '../../access/judged-snapshots.ts';
import { systemError } from '../../errors.ts';
import { blockAnswers } from '../server/calls/block-calls.ts';
import { guestAnswers, qemuAnswers } from '../server/calls/guest-calls.ts';
import { saveImageAnswers } from '../server/calls/save-calls.ts';
import { daemonAnswers } from '../server/daemon-calls.ts';
import type { ConnectionHandler } from '../server/server.ts';
import { snapshotAnswers } from '../server/snapshot-calls.ts';
import { descriptorOf, Inlet } from '../wire/inlet.ts';
import { Turns } from '../wire/turns.ts';
import { BusyPoll } from './busy-poll.ts';
import { ClientCalls } from './client-calls.ts';
import { proxyCalls } from './proxy-calls.ts';
import { type Behind, ProxyConnection } from './proxy-connection.ts';
import type { ProxyOptions } from './proxy-context.ts';
import { refuseFirstCall } from './refused-client.ts';

/**
 * Several frames of a stream, of 256 KiB each, so that passing them on waits less often. The kernel's default is
 * smaller than one.
 */
const SEND_BUFFER_BYTES = 1024 * 1024;

/** What clients' calls need of the options. */
type Calls = Pick<
  ProxyOptions,
  'snapshots' | 'blocks' | 'guests' | 'saveImages' | 'overlaid' | 'reverted' | 'upstreamUri' | 'status'
>;

/** Serves connections by an upstream libvirtd, except for the calls about snapshots. */
export function proxy(options: ProxyOptions): ConnectionHandler {
  const callsFor = judgedCalls(options);
  const unjudged = callsFor();
  const busyPoll = new BusyPoll();
  const turns = new Turns();
  return (accepted, arrived) => {
    const { readOnly, peer, qemuSystem } = arrived;
    const client = Inlet.over(accepted);
    const path = readOnly ? options.upstreamReadOnly() : options.upstream;
    const upstream = Inlet.connecting(path);
    const refuse = (error: Error): void => {
      upstream.socket.destroy();
      refuseFirstCall(client, turns, systemError(error, `Failed to connect socket to '${path}'`, 'RPC'));
    };
    upstream.socket.once('error', refuse);
    client.socket.once('close', () => upstream.socket.destroySoon());
    upstream.socket.once('connect', () => {
      upstream.socket.off('error', refuse);
      for (const { socket } of [client, upstream]) {
        const fd = descriptorOf(socket);
        if (fd !== undefined) options.sendBuffer(fd, SEND_BUFFER_BYTES);
      }
      const { hub, entries } = options;
      const gone = new AbortController();
      client.socket.once('close', () => gone.abort());
      const authentication = new Authentication(entries, { ...arrived, signal: gone.signal });
      const behalf = entries === undefined || isTrusted(peer?.uid) ? undefined : { peer };
      const judgedAs: Behind['judgedAs'] = (who) => {
        const judge = isTrusted(who?.uid) ? undefined : options.acl?.judge(who, gone.signal);
        return { judge, calls: judge ? callsFor(judge) : unjudged };
      };
      const forwards = isTrusted(peer?.uid);
      const shared = { path, hub, busyPoll, turns, qemuSystem, readOnly, authentication, behalf, forwards };
      const judged = behalf ? judgedAs(processSubject(behalf.peer)) : { judge: undefined, calls: unjudged };
      const hasJudges = options.acl !== undefined;
      new ProxyConnection(client, upstream, { ...shared, judged, judgedAs, hasJudges });
    });
  };
}

/** Returns the calls of clients whom `judge` judges; without one: of those who may do all that their socket allows. */
export function judgedCalls(options: Calls): (judge?: Judge) => ClientCalls {
  const { status, blocks, guests, saveImages } = options;
  const calls = proxyCalls(options);
  return (judge) => {
    const snapshots = judge ? judgedSnapshots(options.snapshots, judge) : options.snapshots;
    const ofGuests = guests && judge ? judgedGuests(guests, judge) : guests;
    const answers = new Map([
      ...snapshotAnswers(snapshots),
      ...(ofGuests ? guestAnswers(ofGuests) : []),
      ...(saveImages ? saveImageAnswers(judge ? judgedSaveImages(saveImages, judge) : saveImages) : []),
      ...(blocks ? blockAnswers(judge ? judgedBlocks(blocks, judge) : blocks) : []),
    ]);
    const daemon = daemonAnswers(status, snapshots);
    return new ClientCalls({ answers, daemon, qemu: ofGuests ? qemuAnswers(ofGuests) : new Map() }, calls);
  };
}
