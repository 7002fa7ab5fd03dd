/**
 * The flags that each call accepts, and those that exclude each other: libvirt's public API and a driver's checks, as
 * tables.
 */

import { LibvirtError } from '../errors.ts';
import { allFlags, CREATE, DELETE, LIST, REVERT, XML } from '../model/flags.ts';

/** Two flags of one call, `a` first in libvirt's sentence. */
interface Rule {
  readonly kind: 'excludes' | 'requires';
  readonly a: Flag;
  readonly b: Flag;
}

interface Flag {
  readonly bit: number;
  readonly name: string;
}

interface Call {
  /** The bits that the driver knows. */
  readonly known: number;
  /** Checks of the public function, before the driver is called. */
  readonly api?: { readonly function: string; readonly rules: readonly Rule[] };
  /** Checks of the driver, after it has refused unknown bits. */
  readonly driver?: readonly Rule[];
}

const rules =
  <F extends string>(prefix: string, bits: Readonly<Record<F, number>>) =>
  (kind: Rule['kind'], a: F, b: F): Rule => ({
    kind,
    a: { bit: bits[a], name: `${prefix}_${a}` },
    b: { bit: bits[b], name: `${prefix}_${b}` },
  });

const create = rules('VIR_DOMAIN_SNAPSHOT_CREATE', CREATE);
const revert = rules('VIR_DOMAIN_SNAPSHOT_REVERT', REVERT);
const remove = rules('VIR_DOMAIN_SNAPSHOT_DELETE', DELETE);

/** By the names that a libxl driver's functions would have; errors carry them. */
const CALLS = {
  libxlDomainSnapshotCreateXML: {
    known: allFlags(CREATE),
    api: {
      function: 'virDomainSnapshotCreateXML',
      rules: [
        create('requires', 'CURRENT', 'REDEFINE'),
        create('excludes', 'REDEFINE', 'NO_METADATA'),
        create('excludes', 'REDEFINE', 'HALT'),
      ],
    },
    driver: [create('requires', 'QUIESCE', 'DISK_ONLY'), create('excludes', 'LIVE', 'REDEFINE')],
  },
  libxlDomainSnapshotGetXMLDesc: { known: XML.SECURE },
  libxlDomainSnapshotNum: { known: allFlags(LIST) },
  libxlDomainSnapshotListNames: { known: allFlags(LIST) },
  libxlDomainListAllSnapshots: { known: allFlags(LIST) },
  libxlDomainSnapshotNumChildren: { known: allFlags(LIST) },
  libxlDomainSnapshotListChildrenNames: { known: allFlags(LIST) },
  libxlDomainSnapshotListAllChildren: { known: allFlags(LIST) },
  libxlDomainSnapshotLookupByName: { known: 0 },
  libxlDomainHasCurrentSnapshot: { known: 0 },
  libxlDomainSnapshotCurrent: { known: 0 },
  libxlDomainSnapshotGetParent: { known: 0 },
  libxlDomainSnapshotIsCurrent: { known: 0 },
  libxlDomainSnapshotHasMetadata: { known: 0 },
  /**
   * RESET_NVRAM has no effect: the NVRAM of a Xen guest is in its memory, and a booted guest begins with a fresh one.
   */
  libxlDomainRevertToSnapshot: {
    known: allFlags(REVERT),
    api: { function: 'virDomainRevertToSnapshot', rules: [revert('excludes', 'RUNNING', 'PAUSED')] },
  },
  libxlDomainSnapshotDelete: {
    known: allFlags(DELETE),
    api: { function: 'virDomainSnapshotDelete', rules: [remove('excludes', 'CHILDREN', 'CHILDREN_ONLY')] },
  },
} as const satisfies Readonly<Record<string, Call>>;

/** The name of a call in CALLS. */
export type DriverFunction = keyof typeof CALLS;

/** Refuses flags (8) as libvirt would: its public function first, then its driver, the first broken rule of each. */
export function checkFlags(driverFunction: DriverFunction, flags: number): void {
  const { known, api, driver = [] }: Call = CALLS[driverFunction];
  for (const rule of api?.rules ?? []) checkRule(rule, flags, api?.function ?? driverFunction);
  const unknown = (flags & ~known) >>> 0;
  if (unknown !== 0) {
    throw invalid(`unsupported flags (0x${unknown.toString(16)}) in function ${driverFunction}`, driverFunction);
  }
  for (const rule of driver) checkRule(rule, flags, driverFunction);
}

/** In the words of VIR_EXCLUSIVE_FLAGS_RET and VIR_REQUIRE_FLAG_RET. */
function checkRule({ kind, a, b }: Rule, flags: number, cFunction: string): void {
  if (!(flags & a.bit)) return;
  const other = (flags & b.bit) !== 0;
  if (kind === 'excludes' && other)
    throw invalid(`Flags '${a.name}' and '${b.name}' are mutually exclusive`, cFunction);
  if (kind === 'requires' && !other) throw invalid(`Flag '${b.name}' is required by flag '${a.name}'`, cFunction);
}

function invalid(text: string, cFunction: string): LibvirtError {
  const domain = cFunction.startsWith('vir') ? 'DOMAIN_SNAPSHOT' : 'LIBXL';
  return new LibvirtError('INVALID_ARG', text, { domain, argument: { function: cFunction, name: 'flags' } });
}
