/** Calls about a domain that the upstream carries out, after what is known here of its snapshots and overlays allows it. */

import type { DomainPermission } from '../../access/acl.ts';
import { LibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { PowerAction } from '../../model/guests/agent.ts';
import type { ActiveJob, GuestApi, SaveApi, SnapshotApi } from '../../snapshots/api.ts';
import { encodeFrame, type FrameHeader } from '../wire/frames.ts';
import { errorFrame, replyFrame } from '../wire/messages.ts';
import { BY_AGENT, type Procedure, UNDEFINE } from '../wire/procedures.ts';
import { type ProxyCall, proxyCall } from './proxy-call.ts';
import type { OverlaidDomains } from './proxy-context.ts';

/** The upstream undefines the domain, after its snapshots have been checked here. */
export function undefineCall<A extends { readonly domain: DomainRef }>(
  snapshots: SnapshotApi,
  overlaid: OverlaidDomains,
  procedure: Procedure<A, void>,
  flagsOf: (args: A) => number,
): [number, ProxyCall] {
  return proxyCall(procedure, async (connection, call, _frame, args) => {
    const flags = flagsOf(args);
    await connection.judge?.domain(args.domain, 'delete');
    await overlaid.checkUndefine(args.domain);
    await snapshots.checkUndefine(args.domain, (flags & UNDEFINE.SNAPSHOTS_METADATA) !== 0);
    const stripped = encodeFrame(call, procedure.args, {
      ...args,
      flags: (flags & ~UNDEFINE.SNAPSHOTS_METADATA) >>> 0,
    });
    connection.toUpstream(call, stripped, (reply, bytes) => forgotten(snapshots, args.domain, reply, bytes));
  });
}

/** The upstream would save a definition with the base images, and restore the domain on those: such a domain is saved here. */
export function saveCall<A extends { readonly domain: DomainRef }>(
  { overlaid, saves }: { readonly overlaid: OverlaidDomains; readonly saves: SaveApi | undefined },
  procedure: Procedure<A, void>,
  save: (api: SaveApi, args: A) => Promise<void>,
): [number, ProxyCall] {
  return proxyCall(procedure, async (connection, call, frame, args) => {
    await connection.judge?.domain(args.domain, 'hibernate');
    if (!saves || !overlaid.has(args.domain.uuid)) {
      connection.toUpstream(call, frame);
      return;
    }
    await save(saves, args);
    connection.toClient(replyFrame(call, procedure.result, undefined));
  });
}

/** virDomainSaveParams, which libvirt's xen driver does not have. */
export async function refuseParameters({ name }: DomainRef): Promise<void> {
  const text = `domain '${name}' runs on overlays of external snapshots that its own libvirtd does not know: save it without parameters`;
  throw new LibvirtError('OPERATION_UNSUPPORTED', text);
}

/** Between a detach and the attach of the same image libvirtd's definition lacks the disk: seen then, or never. */
export function deviceCall<A extends { readonly domain: DomainRef }>(
  overlaid: OverlaidDomains,
  procedure: Procedure<A, void>,
): [number, ProxyCall] {
  return proxyCall(
    procedure,
    (connection, call, frame, { domain }) => {
      const isOverlaid = overlaid.has(domain.uuid);
      connection.toUpstream(call, frame, async (_reply, bytes) => {
        // The devices have changed: a failure here is none of the client's.
        if (isOverlaid) await overlaid.devicesChanged(domain).catch(() => {});
        return bytes;
      });
    },
    () => overlaid.any(),
  );
}

/** A domain with snapshots is not migrated: they would stay behind (qemuMigrationSrcIsAllowed). */
export function migrateCall<A extends { readonly domain: DomainRef }>(
  snapshots: SnapshotApi,
  overlaid: OverlaidDomains,
  procedure: Procedure<A, unknown>,
): [number, ProxyCall] {
  return proxyCall(procedure, async (connection, call, frame, { domain }) => {
    await connection.judge?.domain(domain, 'migrate');
    const count = snapshots.count(domain.uuid);
    if (count > 0) throw new LibvirtError('OPERATION_INVALID', `cannot migrate domain with ${count} snapshots`);
    await overlaid.checkMigrate(domain);
    connection.toUpstream(call, frame);
  });
}

/** By the guest's agent, if that is asked for, which libvirt's xen driver does not do; and if it fails, in the other ways asked for. */
export function powerCall(
  guests: GuestApi | undefined,
  procedure: Procedure<{ readonly domain: DomainRef; readonly flags: number }, void>,
  mode: PowerAction,
): [number, ProxyCall] {
  return proxyCall(
    procedure,
    async (connection, call, frame, args) => {
      if (!guests || !(args.flags & BY_AGENT)) {
        connection.toUpstream(call, frame);
        return;
      }
      await connection.judge?.domain(args.domain, 'init-control', 'write');
      const flags = args.flags & ~BY_AGENT;
      const failure = await guests.power(args.domain, mode).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (failure === undefined) connection.toClient(replyFrame(call, procedure.result, undefined));
      else if (flags === 0) throw failure;
      else connection.toUpstream(call, encodeFrame(call, procedure.args, { ...args, flags }));
    },
    () => guests !== undefined,
  );
}

/** Answers for a job of ours on the domain; the upstream answers for all other jobs. */
export function jobCall<A extends { readonly domain: DomainRef }, R>(
  snapshots: SnapshotApi,
  procedure: Procedure<A, R>,
  permission: DomainPermission,
  run: (job: ActiveJob, args: A) => R,
): [number, ProxyCall] {
  return proxyCall(procedure, async (connection, call, frame, args) => {
    await connection.judge?.domain(args.domain, permission);
    const job = snapshots.job(args.domain.uuid);
    if (!job) connection.toUpstream(call, frame);
    else connection.toClient(replyFrame(call, procedure.result, run(job, args)));
  });
}

/** Forgets the snapshots of an undefined domain, and returns the upstream's reply. */
async function forgotten(
  snapshots: SnapshotApi,
  { uuid }: DomainRef,
  reply: FrameHeader,
  bytes: Buffer,
): Promise<Buffer> {
  try {
    await snapshots.forget(uuid);
    return bytes;
  } catch (error) {
    return errorFrame(reply, error);
  }
}
