/** The calls about block jobs and to guests' agents with the permissions that remote_protocol.x declares for each (@acl). */

import type { BlockApi, GuestApi } from '../snapshots/api.ts';
import type { Judge } from './acl.ts';

/** The same calls, each of which is judged before it is carried out. */
export function judgedBlocks(api: BlockApi, judge: Judge): BlockApi {
  return {
    commit: async (domain, request, bandwidth) => {
      await judge.domain(domain, 'block-write');
      await api.commit(domain, request, bandwidth);
    },
    pull: async (domain, request, bandwidth) => {
      await judge.domain(domain, 'block-write');
      await api.pull(domain, request, bandwidth);
    },
    copy: async (domain, request) => {
      await judge.domain(domain, 'block-write');
      await api.copy(domain, request);
    },
    jobInfo: async (domain, disk, flags) => {
      await judge.domain(domain, 'read');
      return await api.jobInfo(domain, disk, flags);
    },
    abort: async (domain, disk, flags) => {
      await judge.domain(domain, 'write');
      await api.abort(domain, disk, flags);
    },
    setSpeed: async (domain, disk, bandwidth, flags) => {
      await judge.domain(domain, 'write');
      await api.setSpeed(domain, disk, bandwidth, flags);
    },
    blockInfo: async (domain, disk, flags) => {
      await judge.domain(domain, 'read');
      return await api.blockInfo(domain, disk, flags);
    },
    resize: async (domain, disk, size, flags) => {
      await judge.domain(domain, 'block-write');
      await api.resize(domain, disk, size, flags);
    },
  };
}

/** The same for calls to a guest's agent. */
export function judgedGuests(api: GuestApi, judge: Judge): GuestApi {
  return {
    freeze: async (domain, mountpoints, flags) => {
      await judge.domain(domain, 'fs-freeze');
      return await api.freeze(domain, mountpoints, flags);
    },
    thaw: async (domain, mountpoints, flags) => {
      await judge.domain(domain, 'fs-freeze');
      return await api.thaw(domain, mountpoints, flags);
    },
    agentCommand: async (domain, json, timeout, flags) => {
      await judge.domain(domain, 'write');
      return await api.agentCommand(domain, json, timeout, flags);
    },
    time: async (domain, flags) => {
      await judge.domain(domain, 'write');
      return await api.time(domain, flags);
    },
    setTime: async (domain, time, flags) => {
      await judge.domain(domain, 'set-time');
      await api.setTime(domain, time, flags);
    },
    information: async (domain, types, flags) => {
      await judge.domain(domain, 'write');
      return await api.information(domain, types, flags);
    },
    vcpus: async (domain, flags) => {
      await judge.domain(domain, 'write');
      return await api.vcpus(domain, flags);
    },
    setVcpus: async (domain, cpumap, state, flags) => {
      await judge.domain(domain, 'write');
      await api.setVcpus(domain, cpumap, state, flags);
    },
    power: async (domain, mode) => {
      await judge.domain(domain, 'init-control', 'write');
      await api.power(domain, mode);
    },
    fileSystems: async (domain, flags) => {
      await judge.domain(domain, 'fs-freeze');
      return await api.fileSystems(domain, flags);
    },
  };
}
