/** The calls about domains, if there is no upstream libvirtd and the domains are ours. */

import { LibvirtError } from '../../errors.ts';
import { DOMAIN_STATES, type DomainRef, type DomainSummary, isActive } from '../../model/domain.ts';
import { refuseUnknownFlags } from '../../model/flags.ts';
import type { PowerAction } from '../../model/guests/agent.ts';
import type { GuestApi, SnapshotApi } from '../../snapshots/api.ts';
import { BY_AGENT, PROCEDURES as P, UNDEFINE } from '../wire/procedures.ts';
import { type Answers, answer, checkArraySize } from './answers.ts';
import type { DomainApi } from './domain-api.ts';
import { passesDomainFilter } from './domain-filter.ts';

/** VIR_CONNECT_LIST_DOMAINS_*. */
export const LIST_KNOWN = 0xffff;

/** VIR_DOMAIN_START_PAUSED. */
const START_PAUSED = 0x1;

/** VIR_DOMAIN_UNDEFINE_*: our own domains have no NVRAM and no checkpoints, so those bits have no effect. */
const UNDEFINE_KNOWN = 0x1f;

/** VIR_DOMAIN_DESTROY_GRACEFUL, and every VIR_DOMAIN_SHUTDOWN_* or VIR_DOMAIN_REBOOT_* that chooses a way to do it. */
const DESTROY_KNOWN = 0x1;
const SHUTDOWN_KNOWN = 0x1f;

/** Answers for the domains of `api`. */
export function domainAnswers(api: DomainApi, snapshots: SnapshotApi, guests?: GuestApi): Answers {
  const active = async () => (await api.domains()).filter(isActive);
  const inactive = async () => (await api.domains()).filter((domain) => !isActive(domain));

  const find = async (matches: (domain: DomainSummary) => boolean, described: string) => {
    const found = (await api.domains()).find(matches);
    if (!found) throw new LibvirtError('NO_DOMAIN', `no domain with matching ${described}`);
    return { domain: found.ref };
  };

  /** By the agent, if that is asked for; and if it fails, in the other ways asked for. */
  const byAgent = async (ref: DomainRef, flags: number, mode: PowerAction, otherwise: () => Promise<void>) => {
    if (!guests || !(flags & BY_AGENT)) return await otherwise();
    await guests.power(ref, mode).catch(async (error) => {
      if ((flags & ~BY_AGENT) === 0) throw error;
      await otherwise();
    });
  };

  const none = async ({ domain }: { readonly domain: DomainRef }) => {
    await api.domain(domain);
    return { value: 0 };
  };

  const checkManagedSave = async (ref: DomainRef, remove: boolean): Promise<void> => {
    if (!(await api.domain(ref)).managedSave) return;
    if (!remove) {
      const text = 'Refusing to undefine while domain managed save image exists';
      throw new LibvirtError('OPERATION_INVALID', text);
    }
    await api.removeManagedSave?.(ref);
  };

  const undefine = async (ref: DomainRef, flags: number): Promise<void> => {
    refuseUnknownFlags(flags, UNDEFINE_KNOWN, 'virDomainUndefineFlags');
    await snapshots.checkUndefine(ref, (flags & UNDEFINE.SNAPSHOTS_METADATA) !== 0);
    await checkManagedSave(ref, (flags & UNDEFINE.MANAGED_SAVE) !== 0);
    await api.undefine(ref);
    await snapshots.forget(ref.uuid);
  };

  return new Map([
    answer(P.CONNECT_LIST_ALL_DOMAINS, async ({ needResults, flags }) => {
      refuseUnknownFlags(flags, LIST_KNOWN, 'virConnectListAllDomains');
      const passed = (await api.domains()).filter((domain) =>
        passesDomainFilter(flags, { ...domain, hasSnapshots: snapshots.count(domain.ref.uuid) > 0 }),
      );
      return { domains: needResults === 0 ? [] : passed.map(({ ref }) => ref), count: passed.length };
    }),
    answer(P.CONNECT_NUM_OF_DOMAINS, async () => ({ value: (await active()).length })),
    answer(P.CONNECT_LIST_DOMAINS, async ({ maxids }) => ({
      ids: firstOf(await active(), 'maxids', maxids).map(({ ref }) => ref.id),
    })),
    answer(P.CONNECT_NUM_OF_DEFINED_DOMAINS, async () => ({ value: (await inactive()).length })),
    answer(P.CONNECT_LIST_DEFINED_DOMAINS, async ({ maxnames }) => ({
      names: firstOf(await inactive(), 'maxnames', maxnames).map(({ ref }) => ref.name),
    })),

    answer(P.DOMAIN_LOOKUP_BY_NAME, ({ name }) => find(({ ref }) => ref.name === name, `name '${name}'`)),
    answer(P.DOMAIN_LOOKUP_BY_UUID, ({ uuid }) => find(({ ref }) => ref.uuid === uuid, `uuid '${uuid}'`)),
    answer(P.DOMAIN_LOOKUP_BY_ID, ({ id }) => find(({ ref }) => id >= 0 && ref.id === id, `id ${id}`)),

    answer(P.DOMAIN_GET_STATE, async ({ domain, flags }) => {
      refuseUnknownFlags(flags, 0, 'virDomainGetState');
      const { state, reason } = await api.domain(domain);
      return { state: DOMAIN_STATES.indexOf(state), reason };
    }),
    answer(P.DOMAIN_GET_INFO, async ({ domain }) => {
      const { state, maxMemoryKib, memoryKib, vcpus, cpuTime = 0n } = await api.domain(domain);
      const numbers = { maxMemory: maxMemoryKib, memory: memoryKib, vcpus, cpuTime };
      return { state: DOMAIN_STATES.indexOf(state), ...numbers };
    }),
    answer(P.DOMAIN_GET_OS_TYPE, async ({ domain }) => ({ value: (await api.domain(domain)).osType })),
    answer(P.DOMAIN_GET_MAX_MEMORY, async ({ domain }) => ({ value: (await api.domain(domain)).maxMemoryKib })),
    answer(P.DOMAIN_GET_MAX_VCPUS, async ({ domain }) => ({ value: (await api.domain(domain)).vcpus })),
    answer(P.DOMAIN_IS_ACTIVE, async ({ domain }) => ({ value: Number(isActive(await api.domain(domain))) })),
    answer(P.DOMAIN_IS_PERSISTENT, async ({ domain }) => ({ value: Number((await api.domain(domain)).persistent) })),
    answer(P.DOMAIN_GET_XML_DESC, async ({ domain, flags }) => ({ value: await api.xmlDesc(domain, flags) })),

    answer(P.DOMAIN_HAS_MANAGED_SAVE_IMAGE, async ({ domain, flags }) => {
      refuseUnknownFlags(flags, 0, 'virDomainHasManagedSaveImage');
      return { value: Number((await api.domain(domain)).managedSave ?? false) };
    }),

    // Our own domains have none of these; a missing domain is still an error.
    answer(P.DOMAIN_IS_UPDATED, none),
    answer(P.DOMAIN_GET_AUTOSTART, async ({ domain }) => ({
      value: Number((await api.domain(domain)).autostart ?? false),
    })),
    answer(P.DOMAIN_GET_METADATA, async ({ domain }) => {
      await api.domain(domain);
      const detail = 'Requested metadata element is not present';
      throw new LibvirtError('NO_DOMAIN_METADATA', detail, { domain: 'DOMAIN' });
    }),

    answer(P.DOMAIN_DEFINE_XML, async ({ xml }) => ({ domain: await api.define(xml) })),
    answer(P.DOMAIN_DEFINE_XML_FLAGS, async ({ xml, flags }) => {
      refuseUnknownFlags(flags, 0, 'virDomainDefineXMLFlags');
      return { domain: await api.define(xml) };
    }),
    answer(P.DOMAIN_UNDEFINE, ({ domain }) => undefine(domain, 0)),
    answer(P.DOMAIN_UNDEFINE_FLAGS, ({ domain, flags }) => undefine(domain, flags)),
    answer(P.DOMAIN_RENAME, async ({ domain, newName, flags }) => {
      refuseUnknownFlags(flags, 0, 'virDomainRename');
      await api.rename(domain, newName ?? '');
      return { value: 0 };
    }),
    answer(P.DOMAIN_CREATE, async ({ domain }) => {
      await api.create(domain, { paused: false });
    }),
    answer(P.DOMAIN_CREATE_WITH_FLAGS, async ({ domain, flags }) => {
      refuseUnknownFlags(flags, START_PAUSED, 'virDomainCreateWithFlags');
      return { domain: await api.create(domain, { paused: (flags & START_PAUSED) !== 0 }) };
    }),
    answer(P.DOMAIN_CREATE_XML, async ({ xml, flags }) => {
      refuseUnknownFlags(flags, 0, 'virDomainCreateXML');
      return { domain: await api.createXML(xml) };
    }),
    answer(P.DOMAIN_DESTROY, ({ domain }) => api.destroy(domain)),
    answer(P.DOMAIN_DESTROY_FLAGS, ({ domain, flags }) => {
      refuseUnknownFlags(flags, DESTROY_KNOWN, 'virDomainDestroyFlags');
      return api.destroy(domain);
    }),
    answer(P.DOMAIN_SHUTDOWN, ({ domain }) => api.shutdown(domain)),
    answer(P.DOMAIN_SHUTDOWN_FLAGS, ({ domain, flags }) => {
      refuseUnknownFlags(flags, SHUTDOWN_KNOWN, 'virDomainShutdownFlags');
      return byAgent(domain, flags, 'powerdown', () => api.shutdown(domain));
    }),
    answer(P.DOMAIN_REBOOT, ({ domain, flags }) => {
      refuseUnknownFlags(flags, SHUTDOWN_KNOWN, 'virDomainReboot');
      return byAgent(domain, flags, 'reboot', () => api.reboot(domain));
    }),
    answer(P.DOMAIN_SUSPEND, ({ domain }) => api.suspend(domain)),
    answer(P.DOMAIN_RESUME, ({ domain }) => api.resume(domain)),
  ]);
}

/** Returns as many as the caller's array holds. */
function firstOf<T>(items: readonly T[], argument: 'maxnames' | 'maxids', size: number): readonly T[] {
  checkArraySize(argument, size, 'REMOTE_DOMAIN_LIST_MAX');
  return items.slice(0, size);
}
