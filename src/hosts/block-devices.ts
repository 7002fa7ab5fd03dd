/** Block jobs and sizes of disks, by the QMP monitor of a domain's device model: the same for every host. */

import { probedFormat } from '../disks/chain/chains.ts';
import {
  blockJobState,
  cancelBlockJob,
  dismissBlockJob,
  finishBlockJob,
  setBlockJobSpeed,
  startBlockJob,
} from '../disks/overlays/block-jobs.ts';
import { type Released, resizeDisk } from '../disks/overlays/resize-disk.ts';
import { imageSizes } from '../disks/qemu/image-info.ts';
import { LibvirtError } from '../errors.ts';
import type { BlockInfo, BlockJob, BlockJobState } from '../model/blocks/block-job.ts';
import type { DiskImage } from '../model/disk-image.ts';
import type { Domain } from '../model/domain.ts';
import type { BlockDevices } from '../snapshots/block-jobs/ports.ts';

/** What a host knows of the monitor of an active domain. Refuses a domain that has ended or was started again. */
export type MonitorOf = (domain: Domain) => Promise<string>;

interface BlockDevicesOptions {
  /** After a reboot of its guest, a transient domain runs on the images that its owner knows. */
  readonly forgetsTransient?: boolean;
  /** Absent: a disk can get another size at any time. */
  readonly released?: Released;
}

/** BlockDevices of the policy. */
export class QemuBlockDevices implements BlockDevices {
  readonly #monitorOf: MonitorOf;
  readonly #forgetsTransient: boolean;
  readonly #released: Released | undefined;

  constructor(monitorOf: MonitorOf, { forgetsTransient = false, released }: BlockDevicesOptions = {}) {
    this.#monitorOf = monitorOf;
    this.#forgetsTransient = forgetsTransient;
    this.#released = released;
  }

  async formatOf(path: string): Promise<string> {
    return await probedFormat(path);
  }

  async start(domain: Domain, job: BlockJob, speed: number): Promise<void> {
    if (job.kind === 'copy' && this.#forgetsTransient && !domain.persistent) {
      const text =
        `a copy of disk '${job.disk}' of transient domain '${domain.ref.name}' is not supported: after a reboot it would run ` +
        'on the image that it has now; define the domain first';
      throw new LibvirtError('OPERATION_INVALID', text);
    }
    await startBlockJob(await this.#monitorOf(domain), job, speed);
  }

  async state(domain: Domain, job: BlockJob): Promise<BlockJobState | undefined> {
    return await blockJobState(await this.#monitorOf(domain), job);
  }

  async setSpeed(domain: Domain, job: BlockJob, speed: number): Promise<void> {
    await setBlockJobSpeed(await this.#monitorOf(domain), job, speed);
  }

  async cancel(domain: Domain, job: BlockJob): Promise<void> {
    await cancelBlockJob(await this.#monitorOf(domain), job);
  }

  async dismiss(domain: Domain, job: BlockJob): Promise<void> {
    await dismissBlockJob(await this.#monitorOf(domain), job);
  }

  async finish(domain: Domain, job: BlockJob, moved: () => Promise<void>): Promise<void> {
    await finishBlockJob(await this.#monitorOf(domain), job, moved);
  }

  async resize(domain: Domain, disk: string, image: DiskImage, bytes: number): Promise<void> {
    await resizeDisk(await this.#monitorOf(domain), disk, image, bytes, this.#released);
  }

  async info(image: DiskImage): Promise<BlockInfo> {
    const { virtualBytes, allocatedBytes, fileBytes } = await imageSizes(image);
    return { capacity: virtualBytes, allocation: allocatedBytes, physical: fileBytes };
  }
}
