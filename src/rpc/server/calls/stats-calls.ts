/** virConnectGetAllDomainStats (virsh domstats), if the domains are ours: what is known of them without asking a guest. */

import { LibvirtError } from '../../../errors.ts';
import { DOMAIN_STATES, type DomainSummary } from '../../../model/domain.ts';
import { refuseUnknownFlags } from '../../../model/flags.ts';
import { PROCEDURES as P } from '../../wire/procedures.ts';
import type { TypedParam } from '../../wire/typed-params.ts';
import { type Answers, answer } from '../answers.ts';
import type { DomainApi } from '../domain-api.ts';
import { passesDomainFilter } from '../domain-filter.ts';

/** VIR_CONNECT_GET_ALL_DOMAINS_STATS_*: filters as of a list (ACTIVE to OTHER), and how stats are gathered. */
const FLAGS = { FILTERS: 0xff, NOWAIT: 1 << 29, BACKING: 1 << 30, ENFORCE_STATS: 1 << 31 } as const;
const FLAGS_KNOWN = FLAGS.FILTERS | FLAGS.NOWAIT | FLAGS.BACKING | FLAGS.ENFORCE_STATS;

type Group = (domain: DomainSummary) => readonly TypedParam[];

const int = (field: string, value: number): TypedParam => ({ field, type: 'int', value });
const uint = (field: string, value: number): TypedParam => ({ field, type: 'uint', value });
const ullong = (field: string, value: bigint): TypedParam => ({ field, type: 'ullong', value });

/** By the bits of virDomainStatsTypes. */
const GROUPS: ReadonlyMap<number, Group> = new Map<number, Group>([
  [0x1, ({ state, reason }) => [int('state.state', DOMAIN_STATES.indexOf(state)), int('state.reason', reason)]],
  [
    0x4,
    ({ memoryKib, maxMemoryKib }) => [ullong('balloon.current', memoryKib), ullong('balloon.maximum', maxMemoryKib)],
  ],
  [0x8, ({ vcpus }) => [uint('vcpu.current', vcpus), uint('vcpu.maximum', vcpus)]],
]);
const GROUPS_KNOWN = [...GROUPS.keys()].reduce((sum, bit) => sum | bit, 0);

/** Groups that are not known are left out, as in libvirt; with ENFORCE_STATS they are refused. */
export function statsAnswers(api: DomainApi): Answers {
  return new Map([
    answer(P.CONNECT_GET_ALL_DOMAIN_STATS, async ({ domains, stats, flags }) => {
      refuseUnknownFlags(flags, FLAGS_KNOWN, 'virConnectGetAllDomainStats');
      const unknown = (stats & ~GROUPS_KNOWN) >>> 0;
      if (unknown !== 0 && (flags & FLAGS.ENFORCE_STATS) !== 0) {
        const text = `Stats types bits 0x${unknown.toString(16)} are not supported by this daemon`;
        throw new LibvirtError('ARGUMENT_UNSUPPORTED', text);
      }
      const chosen =
        domains.length === 0 ? await api.domains() : await Promise.all(domains.map((ref) => api.domain(ref)));
      const asked = [...GROUPS].filter(([bit]) => stats === 0 || (stats & bit) !== 0);
      const records = chosen
        .filter((domain) => passesDomainFilter(flags & FLAGS.FILTERS, { ...domain, hasSnapshots: false }))
        .map((domain) => ({ domain: domain.ref, params: asked.flatMap(([, paramsOf]) => paramsOf(domain)) }));
      return { records };
    }),
  ]);
}
