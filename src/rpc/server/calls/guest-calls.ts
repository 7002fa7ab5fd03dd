/** The calls that a guest's agent answers. */

import type { GuestVcpu } from '../../../model/guests/agent.ts';
import { formatCpuMap } from '../../../model/guests/cpu-map.ts';
import type { GuestApi } from '../../../snapshots/api.ts';
import { PROCEDURES as P } from '../../wire/procedures.ts';
import { AGENT_COMMAND } from '../../wire/qemu-program.ts';
import type { TypedParam } from '../../wire/typed-params.ts';
import { type Answers, answer } from '../answers.ts';

/** Answers for the guests of `api`. */
export function guestAnswers(api: GuestApi): Answers {
  return new Map([
    answer(P.DOMAIN_FSFREEZE, async ({ domain, mountpoints, flags }) => ({
      value: await api.freeze(domain, mountpoints, flags),
    })),
    answer(P.DOMAIN_FSTHAW, async ({ domain, mountpoints, flags }) => ({
      value: await api.thaw(domain, mountpoints, flags),
    })),
    answer(P.DOMAIN_GET_TIME, async ({ domain, flags }) => {
      const { seconds, nanoseconds } = await api.time(domain, flags);
      return { seconds, nseconds: nanoseconds };
    }),
    answer(P.DOMAIN_SET_TIME, ({ domain, seconds, nseconds, flags }) =>
      api.setTime(domain, { seconds, nanoseconds: nseconds }, flags),
    ),
    answer(P.DOMAIN_GET_GUEST_INFO, async ({ domain, types, flags }) => ({
      params: await api.information(domain, types, flags),
    })),
    answer(P.DOMAIN_GET_GUEST_VCPUS, async ({ domain, flags }) => {
      const vcpus = await api.vcpus(domain, flags);
      const list = (field: string, has: (vcpu: GuestVcpu) => boolean): TypedParam => ({
        field,
        type: 'string',
        value: formatCpuMap(vcpus.filter(has).map(({ id }) => id)),
      });
      return {
        params: [
          list('vcpus', () => true),
          list('online', ({ online }) => online),
          list('offlinable', ({ offlinable }) => offlinable),
        ],
      };
    }),
    answer(P.DOMAIN_SET_GUEST_VCPUS, ({ domain, cpumap, state, flags }) => api.setVcpus(domain, cpumap, state, flags)),
    answer(P.DOMAIN_GET_FSINFO, async ({ domain, flags }) => {
      const found = await api.fileSystems(domain, flags);
      const info = found.map(({ mountpoint, name, type, disks }) => ({
        mountpoint,
        name,
        fstype: type,
        devAliases: disks,
      }));
      return { info, ret: info.length };
    }),
  ]);
}

/** Answers of libvirt's QEMU program. */
export function qemuAnswers(api: GuestApi): Answers {
  return new Map([
    answer(AGENT_COMMAND, async ({ domain, cmd, timeout, flags }) => ({
      result: await api.agentCommand(domain, cmd, timeout, flags),
    })),
  ]);
}
