/** A domain of an xl host at one moment: as libxl has it, as a file configures it, or both. */

import { LibvirtError } from '../../errors.ts';
import type { DomainInfo, DomainName } from '../../libxl/helper/protocol.ts';
import { type DomainDefinition, type DomainRef, type DomainState, REASONS } from '../../model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../model/events.ts';
import { definitionOf } from '../../xml/domain/definition.ts';
import { inactiveFormat } from '../../xml/domain/formats.ts';
import type { XlConfig } from '../../xml/xl/config.ts';
import { domainOfConfig } from '../../xml/xl/domain.ts';
import type { ConfiguredDomain } from './config-files.ts';

/** Of Domain-0, which has none in libxl. */
const NO_UUID = '00000000-0000-0000-0000-000000000000';

/** One of `running` and `configured` is always there. */
export interface XlDomain {
  readonly ref: DomainRef;
  readonly state: DomainState;
  readonly running?: DomainName;
  readonly configured?: ConfiguredDomain;
}

/**
 * Puts the running domains and the configured ones together. A name belongs to one domain: libxl makes no second one of it. So
 * the UUID of a domain is the one that its file says, also while it runs with another, which xl has made up.
 */
export function joined(running: readonly DomainName[], configured: readonly ConfiguredDomain[]): readonly XlDomain[] {
  const byName = new Map(configured.map((domain) => [domain.name, domain]));
  // A domain without a name is only being made, or is what is left of one.
  const active = running.flatMap((info): readonly XlDomain[] => {
    const { name, domid, uuid = NO_UUID } = info;
    if (name === '') return [];
    const file = byName.get(name);
    const ref = { name, uuid: file?.uuid ?? uuid, id: domid };
    return [{ ref, state: stateOf(info), running: info, ...(file && { configured: file }) }];
  });
  const names = new Set(active.map(({ ref }) => ref.name));
  const off = configured.filter(({ name }) => !names.has(name));
  return [
    ...active,
    ...off.map(
      (file): XlDomain => ({
        ref: { name: file.name, uuid: file.uuid, id: -1 },
        state: 'shutoff',
        configured: file,
      }),
    ),
  ];
}

/** Refuses (OPERATION_INVALID) a domain that has another id, or none, than the caller knows. */
export function checkSameRun({ ref: now }: XlDomain, { name, id }: DomainRef): void {
  if (now.id === id) return;
  throw new LibvirtError('OPERATION_INVALID', `domain '${name}' has ended or was started again in the meantime`);
}

/** A guest that is suspended is being saved, and continues. */
function stateOf({ paused, shutdown, shutdown_reason, dying }: DomainInfo): DomainState {
  if (dying) return 'shutdown';
  if (shutdown) return shutdown_reason === 'suspend' ? 'paused' : shutdown_reason === 'crash' ? 'crashed' : 'shutdown';
  return paused ? 'paused' : 'running';
}

/** virDomainGetState's reason if nothing else is known of it. */
export function reasonOf({ state }: XlDomain): number {
  if (state === 'running') return REASONS.running.booted;
  return state === 'paused' ? REASONS.paused.user : 0;
}

/** The event of the end of a domain that was last seen like this. */
export function endOf({ state }: XlDomain): LifecycleEvent {
  if (state === 'crashed') return LIFECYCLE.STOPPED_CRASHED;
  return state === 'shutdown' ? LIFECYCLE.STOPPED_SHUTDOWN : LIFECYCLE.STOPPED_DESTROYED;
}

/** The definition of a domain with this config, under the UUID that clients know. */
export function definitionOfConfig(config: XlConfig, uuid: string): DomainDefinition {
  // xl chooses another id for each run.
  const { domid: _, ...c_info } = config.c_info;
  return definitionOf(inactiveFormat(domainOfConfig({ ...config, c_info: { ...c_info, uuid } })));
}

/** Domain-0 is no guest: libxl keeps no config of it. */
export function configOfDomain0({ name, current_memkb, vcpu_online = 1 }: DomainName): XlConfig {
  return {
    c_info: { type: 'pv', name, uuid: NO_UUID },
    b_info: { max_vcpus: vcpu_online, max_memkb: current_memkb, target_memkb: current_memkb },
  };
}
