/** Refuses creates before anything is touched. */

import { LibvirtError } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import { requireDescriptors } from '../../files/descriptors.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import type { SnapshotRequest } from '../../model/snapshot.ts';
import { startFiles } from '../../xml/domain/start-files.ts';
import { describeUser, sharedImages, type Touched } from '../chains/shared-images.ts';
import { externalDisks, overlaysOf } from '../chains/snapshot-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { checkNoManagedSave } from '../managed-save-rule.ts';
import { ownFileAt } from '../own-files.ts';
import { checkCapture } from './capture-rules.ts';
import { checkMemoryFile } from './memory-file-rules.ts';
import type { CreatePlan } from './plan.ts';

/** Refuses (67) what decides how an overlay is written or who can read it, and would be left out. */
export function checkHonoured({ unhonoured }: SnapshotRequest): void {
  if (!unhonoured) return;
  const { disk, part } = unhonoured;
  throw new LibvirtError(
    'CONFIG_UNSUPPORTED',
    `${part} of disk '${disk}' is not supported for a new overlay: leave it out`,
  );
}

/** Refuses a request that does not fit the domain's state. */
export function checkRequest(domain: Domain, { memory }: SnapshotRequest, flags: number): void {
  const savesMemory = isActive(domain) && memory.location !== 'no' && !(flags & CREATE.DISK_ONLY);
  if (flags & CREATE.LIVE && !savesMemory) {
    const text = 'live snapshot creation is supported only during full system snapshots';
    throw new LibvirtError('OPERATION_UNSUPPORTED', text);
  }
  const { state } = domain;
  if (state === 'nostate' || state === 'blocked') {
    throw new LibvirtError('INTERNAL_ERROR', `Invalid domain state ${state}`);
  }
  if (state === 'pmsuspended') {
    throw new LibvirtError('OPERATION_UNSUPPORTED', "libxl doesn't support taking snapshots of PMSUSPENDED guests");
  }
}

interface Asked {
  readonly context: SnapshotContext;
  readonly snapshots: DomainSnapshots;
  readonly domain: Domain;
  readonly plan: CreatePlan;
  readonly flags: number;
}

type Needs = Readonly<Record<string, (asked: Asked) => Promise<void>>>;

/** What of the request could not be carried out, or not be reverted to, in the order in which it is asked. Each reads only. */
const PLAN_NEEDS: Needs = {
  async 'captured disks'({ plan }) {
    checkCapture(plan.snapshot);
  },

  async 'block jobs'({ context, domain, plan }) {
    context.jobs.refuseBusyDisks(
      domain.ref.uuid,
      (plan.args.disks ?? []).map(({ disk }) => disk.vdev),
    );
  },

  'places of overlays': checkTargets,

  async 'new active images'({ context, domain, plan }) {
    if (externalDisks(plan.snapshot).length === 0) return;
    await context.host.checkSetDisks(domain);
    checkNoManagedSave(domain, 'an external snapshot');
  },

  async 'memory file'({ context, snapshots, domain, plan, flags }) {
    await checkMemoryFile(context, snapshots, domain, plan.snapshot, flags);
  },

  'an image for each disk': checkDistinct,
  'given overlays': checkReused,

  async 'new overlays'({ context, plan }) {
    const overlays = (plan.args.disks ?? []).filter(({ external }) => external);
    await context.images.checkFree(plan.snapshot.name, overlays);
  },

  async name({ snapshots, plan }) {
    const { name } = plan.snapshot;
    if (!snapshots.tree.has(name)) return;
    throw new LibvirtError('OPERATION_FAILED', `domain moment ${name} already exists`, { domain: 'DOMAIN' });
  },

  async document({ context, domain, plan, flags }) {
    if (!(flags & CREATE.NO_METADATA)) context.store.check(domain.ref, plan.snapshot);
  },
};

/** What the host or the images could not do of the plan, or could not do again for a revert. Each reads only. */
const CARRIER_NEEDS: Needs = {
  descriptors: requireDescriptors,

  // All that the guest has, or below new overlays the images alone: QEMU may have a file open that is gone.
  async files({ context, plan: { snapshot, args } }) {
    const below = new Set(externalDisks(snapshot).map((disk) => snapshot.domain.images.get(disk)?.path));
    const files = startFiles(snapshot.domain, 'restore').filter(({ path }) => args.memory || below.has(path));
    if (files.length > 0) await context.images.checkStart(files);
  },

  async host({ context, plan: { snapshot, args } }) {
    if (args.memory) await context.host.checkParts(snapshot.domain);
  },

  async 'images and memory'({ context, domain, plan: { snapshot, args } }) {
    if (isActive(domain)) await context.host.checkSave(domain, args);
    else await context.images.checkFree(snapshot.name, args.disks ?? []);
  },
};

/** All that a create needs, in the order in which it is asked. */
export const CREATE_NEEDS: readonly string[] = [PLAN_NEEDS, CARRIER_NEEDS].flatMap(Object.keys);

/** Refuses a plan that cannot be carried out, and one of a snapshot that could not be reverted to. Reads only. */
export async function checkCreate(asked: Asked): Promise<void> {
  for (const check of Object.values(PLAN_NEEDS)) await check(asked);
}

/** Refuses what the host or the images could not do. Reads only. */
export async function checkCarriers(asked: Asked): Promise<void> {
  for (const check of Object.values(CARRIER_NEEDS)) await check(asked);
}

/** An overlay on a block device needs an existing one: libvirt makes none. No overlay is among our own files. */
async function checkTargets({ context, plan }: Asked): Promise<void> {
  for (const { name, location, target } of plan.snapshot.disks) {
    const { type, path } = target ?? {};
    if (location !== 'external' || path === undefined) continue;
    const own = await ownFileAt(context, path);
    if (own !== undefined) {
      const text = `overlay '${path}' of disk '${name}' is among xlsnapd's own files, '${own}': choose another one`;
      throw new LibvirtError('CONFIG_UNSUPPORTED', text);
    }
    if (type !== 'block') continue;
    const found = await statIfThere(path);
    if (!found) throw new LibvirtError('OPERATION_UNSUPPORTED', `block device snapshot target '${path}' doesn't exist`);
    if (found.isBlockDevice()) continue;
    throw new LibvirtError(
      'CONFIG_UNSUPPORTED',
      `external snapshot target '${path}' of disk ${name} is not a block device`,
    );
  }
}

/** Two disks of one image, or with one overlay, by whatever names: what is done to one is done to the other. */
async function checkDistinct({ context: { images }, plan: { args } }: Asked): Promise<void> {
  const diskOf = new Map<string, string>();
  for (const { disk, external_path } of args.disks ?? []) {
    for (const path of [disk.pdev_path, external_path]) {
      if (path === undefined) continue;
      const key = await images.fileKey(path);
      const other = diskOf.get(key);
      diskOf.set(key, disk.vdev);
      // An overlay in its own disk’s chain is refused for what it is there.
      if (other === undefined || other === disk.vdev) continue;
      const text = `'${path}' of disk '${disk.vdev}' is an image of disk '${other}' as well: each needs one of its own`;
      throw new LibvirtError('CONFIG_UNSUPPORTED', text);
    }
  }
}

/**
 * A file that is given as overlay, or a block device that becomes one, gets a new header: refused if another domain uses it,
 * running or off.
 */
async function checkReused({ context, domain, plan: { snapshot } }: Asked): Promise<void> {
  const overlays: Touched[] = [];
  for (const disk of externalDisks(snapshot)) {
    for (const { path } of overlaysOf(snapshot, disk)) if (await statIfThere(path)) overlays.push({ disk, path });
  }
  for (const [path, user] of await sharedImages(context, domain, overlays)) {
    throw new LibvirtError(
      'CONFIG_UNSUPPORTED',
      `cannot use existing file '${path}' as overlay of domain '${domain.ref.name}': ${describeUser(user)} uses it`,
    );
  }
}
