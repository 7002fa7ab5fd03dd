/** Block jobs and sizes of disks, by the QMP monitor of a domain's device model: the same for every host. */

import { stat } from 'node:fs/promises';
import {
  blockJobState,
  cancelBlockJob,
  dismissBlockJob,
  finishBlockJob,
  setBlockJobSpeed,
  startBlockJob,
} from '../disks/overlays/block-jobs.ts';
import { imageInfo } from '../disks/qemu/image-info.ts';
import type { BlockInfo, BlockJob, BlockJobState } from '../model/blocks/block-job.ts';
import type { DiskImage, LayerCommit } from '../model/disk-image.ts';
import type { Domain } from '../model/domain.ts';
import type { BlockDevices } from '../snapshots/block-jobs/ports.ts';

/** What a host knows of the monitor of an active domain. Refuses a domain that has ended or was started again. */
export type MonitorOf = (domain: Domain) => Promise<string>;

/** BlockDevices of the policy. */
export class QemuBlockDevices implements BlockDevices {
  readonly #monitorOf: MonitorOf;

  constructor(monitorOf: MonitorOf) {
    this.#monitorOf = monitorOf;
  }

  async start(domain: Domain, job: BlockJob, speed: number): Promise<void> {
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

  async finish(domain: Domain, job: BlockJob, merged: (layer: LayerCommit) => Promise<void>): Promise<void> {
    await finishBlockJob(await this.#monitorOf(domain), job, merged);
  }

  async info(image: DiskImage): Promise<BlockInfo> {
    const { virtualBytes, allocatedBytes } = await imageInfo(image);
    const { size } = await stat(image.path);
    // A block device has no size of its own in stat: all of it is allocated.
    const isFile = size > 0;
    return {
      capacity: virtualBytes,
      allocation: isFile ? allocatedBytes : virtualBytes,
      physical: isFile ? size : virtualBytes,
    };
  }
}
