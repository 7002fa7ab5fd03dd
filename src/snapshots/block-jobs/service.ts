/** libvirt's calls about block jobs and block devices over one host: virDomainBlockCommit and the like. */

import { LibvirtError } from '../../errors.ts';
import type { BlockInfo } from '../../model/blocks/block-job.ts';
import { type Domain, type DomainDefinition, type DomainRef, isActive } from '../../model/domain.ts';
import {
  allFlags,
  COMMIT,
  COPY,
  JOB_ABORT,
  JOB_INFO,
  JOB_SPEED,
  PULL,
  RESIZE,
  refuseUnknownFlags,
} from '../../model/flags.ts';
import type { BlockApi, BlockJobInfo, CopyRequest } from '../api.ts';
import type { SnapshotContext } from '../context.ts';
import { bandwidthOf, speedOf } from './bandwidth.ts';
import { activeImage, diskByName } from './chain.ts';
import { type CommitRequest, planCommit } from './plan-commit.ts';
import { checkGranularity, checkPivot, planCopy, readDestination } from './plan-copy.ts';
import { planPull } from './plan-pull.ts';
import { bytesOf, resizeDisk } from './resize.ts';
import { type BlockJobParts, isMirror, type RunningJob, RunningJobs } from './running-jobs.ts';
import { SharedQuestions } from './shared-questions.ts';

/** Disposing stops watching the jobs, which go on. */
export class BlockService implements BlockApi, AsyncDisposable {
  readonly #context: SnapshotContext;
  readonly #parts: BlockJobParts;
  readonly #running: RunningJobs;
  readonly #domains = new SharedQuestions<Looked>();
  readonly #states = new SharedQuestions<RunningJob['state'] | undefined>();
  readonly #sizes = new SharedQuestions<BlockInfo>();

  private constructor(context: SnapshotContext, parts: BlockJobParts) {
    this.#context = context;
    this.#parts = parts;
    this.#running = new RunningJobs(context, parts);
  }

  /** Finds the jobs that an earlier daemon has started. */
  static async open(context: SnapshotContext, parts: BlockJobParts): Promise<BlockService> {
    const service = new BlockService(context, parts);
    await service.#running.resume();
    return service;
  }

  async commit(ref: DomainRef, request: CommitRequest, bandwidth: bigint): Promise<void> {
    const { flags } = request;
    refuseUnknownFlags(flags, allFlags(COMMIT), 'libxlDomainBlockCommit');
    const speed = speedOf(bandwidth, (flags & COMMIT.BANDWIDTH_BYTES) !== 0);
    await this.#start(ref, request.disk, speed, (domain) => planCommit(this.#context, domain, request));
  }

  async pull(
    ref: DomainRef,
    { disk, base, flags }: { readonly disk: string; readonly base?: string | undefined; readonly flags: number },
    bandwidth: bigint,
  ): Promise<void> {
    refuseUnknownFlags(flags, allFlags(PULL), 'libxlDomainBlockPull');
    const speed = speedOf(bandwidth, (flags & PULL.BANDWIDTH_BYTES) !== 0);
    await this.#start(ref, disk, speed, (domain) => planPull(this.#context, domain, { disk, base, flags }));
  }

  async copy(ref: DomainRef, request: CopyRequest): Promise<void> {
    refuseUnknownFlags(request.flags, allFlags(COPY), 'libxlDomainBlockCopy');
    const destination = readDestination(request);
    const speed = speedOf(request.bandwidth, request.bytes);
    checkGranularity(request.granularity);
    await this.#start(ref, request.disk, speed, (domain) =>
      planCopy(this.#context, this.#parts.devices, domain, request, destination),
    );
  }

  async jobInfo(ref: DomainRef, name: string, flags: number): Promise<BlockJobInfo | undefined> {
    refuseUnknownFlags(flags, allFlags(JOB_INFO), 'libxlDomainGetBlockJobInfo');
    const { running } = await this.#find(ref, name);
    if (!running) return undefined;
    const { domain, job } = running;
    const asked = this.#states.ask(`${domain.ref.uuid} ${job.disk}`, () => this.#parts.devices.state(domain, job));
    const state = (await asked.catch(() => undefined)) ?? running.state;
    const bandwidth = bandwidthOf(state.speed, (flags & JOB_INFO.BANDWIDTH_BYTES) !== 0);
    return { kind: job.kind, bandwidth, ...shownProgress(running, state) };
  }

  async abort(ref: DomainRef, name: string, flags: number): Promise<void> {
    refuseUnknownFlags(flags, allFlags(JOB_ABORT), 'libxlDomainBlockJobAbort');
    const running = await this.#require(ref, name);
    const { job } = running;
    if (running.aborting || running.pivoting) {
      throw new LibvirtError('OPERATION_INVALID', `block job on disk '${job.disk}' is still being ended`);
    }
    const waits = (flags & JOB_ABORT.ASYNC) === 0;
    if ((flags & JOB_ABORT.PIVOT) === 0) {
      await this.#running.abort(running);
      if (waits) await running.ended;
      return;
    }
    if (!isMirror(job)) throw new LibvirtError('OPERATION_INVALID', `job type '${job.kind}' does not support pivot`);
    if (job.kind === 'copy') await checkPivot(this.#context, running.domain, job);
    if (running.state.state !== 'ready') {
      throw new LibvirtError('BLOCK_COPY_ACTIVE', `block job '${job.kind} of ${job.disk}' not ready for pivot yet`);
    }
    const pivoted = this.#context.jobs.exclusive(running.domain.ref, () => this.#running.pivot(running));
    if (!waits) {
      pivoted.catch((error) =>
        this.#context.log(`block job on disk '${job.disk}' failed while pivoting: ${error.message}`),
      );
      return;
    }
    await pivoted;
    await running.ended;
  }

  async setSpeed(ref: DomainRef, name: string, bandwidth: bigint, flags: number): Promise<void> {
    refuseUnknownFlags(flags, allFlags(JOB_SPEED), 'libxlDomainBlockJobSetSpeed');
    const speed = speedOf(bandwidth, (flags & JOB_SPEED.BANDWIDTH_BYTES) !== 0);
    const { domain, job } = await this.#require(ref, name);
    await this.#parts.devices.setSpeed(domain, job, speed);
  }

  async blockInfo(ref: DomainRef, name: string, flags: number): Promise<BlockInfo> {
    refuseUnknownFlags(flags, 0, 'libxlDomainGetBlockInfo');
    const { definition } = await this.#look(ref);
    const image = activeImage(definition, diskByName(definition, name), 'looked at');
    return await this.#sizes.ask(image.path, () => this.#parts.devices.info(image));
  }

  async resize(ref: DomainRef, name: string, size: bigint, flags: number): Promise<void> {
    refuseUnknownFlags(flags, allFlags(RESIZE), 'libxlDomainBlockResize');
    const bytes = bytesOf(size, flags);
    const { ref: known } = await this.#context.host.lookup(ref);
    await this.#context.jobs.exclusive(known, async () =>
      resizeDisk(this.#context, this.#parts.devices, await this.#active(ref), name, bytes),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running[Symbol.asyncDispose]();
  }

  /** Everything that can refuse is asked first; other operations on the domain wait until the job has begun. */
  async #start(
    ref: DomainRef,
    name: string,
    speed: number,
    plan: (domain: Domain) => Promise<Parameters<RunningJobs['start']>[1]>,
  ): Promise<void> {
    const { host, jobs } = this.#context;
    const { ref: known } = await host.lookup(ref);
    await jobs.exclusive(known, async () => {
      const domain = await this.#active(ref);
      const disk = diskByName(await host.definition(domain, 'live'), name);
      jobs.refuseBusyDisks(known.uuid, [disk]);
      await this.#running.start(domain, await plan(domain), speed);
    });
  }

  async #active(ref: DomainRef): Promise<Domain> {
    const domain = await this.#context.host.lookup(ref);
    requireActive(domain);
    return domain;
  }

  async #find(ref: DomainRef, name: string): Promise<FoundDisk> {
    const { domain, definition } = await this.#look(ref);
    requireActive(domain);
    const disk = diskByName(definition, name);
    return { disk, running: this.#running.of(ref, disk) };
  }

  async #look(ref: DomainRef): Promise<Looked> {
    return await this.#domains.ask(ref.uuid, async () => {
      const domain = await this.#context.host.lookup(ref);
      return { domain, definition: await this.#context.host.definition(domain, 'live') };
    });
  }

  async #require(ref: DomainRef, name: string): Promise<RunningJob> {
    const { disk, running } = await this.#find(ref, name);
    if (!running) throw new LibvirtError('INVALID_ARG', `disk ${disk} does not have an active block job`);
    return running;
  }
}

/** A disk of an active domain, and its block job. */
interface FoundDisk {
  readonly disk: string;
  readonly running: RunningJob | undefined;
}

/** A domain with its definition as of now. */
interface Looked {
  readonly domain: Domain;
  readonly definition: DomainDefinition;
}

function requireActive(domain: Domain): void {
  if (!isActive(domain)) throw new LibvirtError('OPERATION_INVALID', 'domain is not running');
}

/** As the qemu driver shows it: `cur` and `end` are equal only if all is copied (qemuBlockJobInfoTranslate). */
function shownProgress(
  { job }: RunningJob,
  { state, done, total }: RunningJob['state'],
): Pick<BlockJobInfo, 'cur' | 'end'> {
  const ready = state === 'ready';
  if (done === 0 && total === 0) return { cur: BigInt(isMirror(job) && ready ? 1 : 0), end: 1n };
  const behind = isMirror(job) && !ready && done === total && done > 0;
  return { cur: BigInt(behind ? done - 1 : done), end: BigInt(total) };
}
