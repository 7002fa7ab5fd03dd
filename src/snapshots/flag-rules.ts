/** Which flags each call takes, and which do not go together: libvirt's public API and the checks of a driver, as tables. */

import { LibvirtError } from '../errors.ts';
import { CREATE, DELETE, LIST, REVERT, XML } from '../model/flags.ts';

const FILTERS = Object.values(LIST).reduce((all, bit) => all | bit, 0);
const all = (bits: Readonly<Record<string, number>>): number => Object.values(bits).reduce((sum, bit) => sum | bit, 0);

/** The bits each driver function knows. Function names are those a libxl driver would have; errors carry them. */
const KNOWN = {
  libxlDomainSnapshotCreateXML: all(CREATE),
  libxlDomainSnapshotGetXMLDesc: XML.SECURE,
  libxlDomainSnapshotNum: FILTERS,
  libxlDomainSnapshotListNames: FILTERS,
  libxlDomainListAllSnapshots: FILTERS,
  libxlDomainSnapshotNumChildren: FILTERS,
  libxlDomainSnapshotListChildrenNames: FILTERS,
  libxlDomainSnapshotListAllChildren: FILTERS,
  libxlDomainSnapshotLookupByName: 0,
  libxlDomainHasCurrentSnapshot: 0,
  libxlDomainSnapshotCurrent: 0,
  libxlDomainSnapshotGetParent: 0,
  libxlDomainSnapshotIsCurrent: 0,
  libxlDomainSnapshotHasMetadata: 0,
  libxlDomainRevertToSnapshot: REVERT.RUNNING | REVERT.PAUSED | REVERT.FORCE,
  libxlDomainSnapshotDelete: all(DELETE),
} as const;

export type DriverFunction = keyof typeof KNOWN;

/** Raises libvirt's "unsupported flags" for bits the function does not know. */
export function checkKnownFlags(driverFunction: DriverFunction, flags: number): void {
  const unknown = (flags & ~KNOWN[driverFunction]) >>> 0;
  if (unknown === 0) return;
  throw new LibvirtError('INVALID_ARG', `unsupported flags (0x${unknown.toString(16)}) in function ${driverFunction}`, {
    argument: { function: driverFunction, name: 'flags' },
  });
}

interface Rule {
  readonly kind: 'excludes' | 'requires';
  readonly a: number;
  readonly b: number;
  /** Full names as the error spells them, `a` first. */
  readonly names: readonly [string, string];
  /** The C function that libvirt's error names. */
  readonly function: string;
}

const named = (prefix: string, a: string, b: string): readonly [string, string] => [`${prefix}_${a}`, `${prefix}_${b}`];
const CREATE_NAME = 'VIR_DOMAIN_SNAPSHOT_CREATE';

/** Checks of virDomainSnapshotCreateXML, in libvirt's order, then the qemu driver's two. */
export const CREATE_RULES: readonly Rule[] = [
  {
    kind: 'requires',
    a: CREATE.CURRENT,
    b: CREATE.REDEFINE,
    names: named(CREATE_NAME, 'CURRENT', 'REDEFINE'),
    function: 'virDomainSnapshotCreateXML',
  },
  {
    kind: 'excludes',
    a: CREATE.REDEFINE,
    b: CREATE.NO_METADATA,
    names: named(CREATE_NAME, 'REDEFINE', 'NO_METADATA'),
    function: 'virDomainSnapshotCreateXML',
  },
  {
    kind: 'excludes',
    a: CREATE.REDEFINE,
    b: CREATE.HALT,
    names: named(CREATE_NAME, 'REDEFINE', 'HALT'),
    function: 'virDomainSnapshotCreateXML',
  },
  {
    kind: 'requires',
    a: CREATE.QUIESCE,
    b: CREATE.DISK_ONLY,
    names: named(CREATE_NAME, 'QUIESCE', 'DISK_ONLY'),
    function: 'libxlDomainSnapshotCreateXML',
  },
  {
    kind: 'excludes',
    a: CREATE.LIVE,
    b: CREATE.REDEFINE,
    names: named(CREATE_NAME, 'LIVE', 'REDEFINE'),
    function: 'libxlDomainSnapshotCreateXML',
  },
];

export const REVERT_RULES: readonly Rule[] = [
  {
    kind: 'excludes',
    a: REVERT.RUNNING,
    b: REVERT.PAUSED,
    names: named('VIR_DOMAIN_SNAPSHOT_REVERT', 'RUNNING', 'PAUSED'),
    function: 'virDomainRevertToSnapshot',
  },
];

export const DELETE_RULES: readonly Rule[] = [
  {
    kind: 'excludes',
    a: DELETE.CHILDREN,
    b: DELETE.CHILDREN_ONLY,
    names: named('VIR_DOMAIN_SNAPSHOT_DELETE', 'CHILDREN', 'CHILDREN_ONLY'),
    function: 'virDomainSnapshotDelete',
  },
];

/** Raises the first broken rule, worded as virCheckFlags' relatives word it. */
export function checkFlagRules(rules: readonly Rule[], flags: number): void {
  for (const { kind, a, b, names, function: cFunction } of rules) {
    const both = (flags & a) !== 0 && (flags & b) !== 0;
    const lone = (flags & a) !== 0 && (flags & b) === 0;
    if (kind === 'excludes' && both) {
      throw invalid(`Flags '${names[0]}' and '${names[1]}' are mutually exclusive`, cFunction);
    }
    if (kind === 'requires' && lone) {
      throw invalid(`Flag '${names[1]}' is required by flag '${names[0]}'`, cFunction);
    }
  }
}

function invalid(text: string, cFunction: string): LibvirtError {
  const domain = cFunction.startsWith('vir') ? 'DOMAIN_SNAPSHOT' : 'LIBXL';
  return new LibvirtError('INVALID_ARG', text, { domain, argument: { function: cFunction, name: 'flags' } });
}
