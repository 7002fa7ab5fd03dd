import { describe, expect, test } from '@jest/globals';
import type { LibvirtError } from '../../../src/errors.ts';
import { CREATE, DELETE, REVERT } from '../../../src/model/flags.ts';
import { checkFlags, type DriverFunction } from '../../../src/snapshots/flag-rules.ts';

const thrown = (check: () => void): LibvirtError => {
  try {
    check();
  } catch (error) {
    return error as LibvirtError;
  }
  throw new Error('nothing was refused');
};

/** What is said of these flags; empty where they pass. */
const messageOf = (call: DriverFunction, flags: number): string => {
  try {
    checkFlags(call, flags);
    return '';
  } catch (error) {
    return (error as LibvirtError).message;
  }
};

describe('unknown bits', () => {
  test('are refused alone, the known ones not mentioned', () => {
    const error = thrown(() => checkFlags('libxlDomainRevertToSnapshot', REVERT.FORCE | 0x100));
    expect(error.message).toBe('unsupported flags (0x100) in function libxlDomainRevertToSnapshot');
    expect(error.fields).toMatchObject({ code: 8, str1: 'libxlDomainRevertToSnapshot', str2: 'flags', int1: 0 });
  });

  test('bit 31 is printed unsigned', () => {
    expect(thrown(() => checkFlags('libxlDomainSnapshotNum', 0x80000000 | 0)).message).toContain('(0x80000000)');
  });

  test('a lookup takes no flags at all', () => {
    expect(thrown(() => checkFlags('libxlDomainSnapshotLookupByName', 1)).message).toContain('(0x1)');
  });

  test.each<[DriverFunction, number]>([
    ['libxlDomainSnapshotCreateXML', 0x3ff],
    ['libxlDomainSnapshotGetXMLDesc', 0x1],
    ['libxlDomainSnapshotNum', 0x7ff],
    ['libxlDomainSnapshotListNames', 0x7ff],
    ['libxlDomainListAllSnapshots', 0x7ff],
    ['libxlDomainSnapshotNumChildren', 0x7ff],
    ['libxlDomainSnapshotListChildrenNames', 0x7ff],
    ['libxlDomainSnapshotListAllChildren', 0x7ff],
    ['libxlDomainSnapshotLookupByName', 0],
    ['libxlDomainHasCurrentSnapshot', 0],
    ['libxlDomainSnapshotCurrent', 0],
    ['libxlDomainSnapshotGetParent', 0],
    ['libxlDomainSnapshotIsCurrent', 0],
    ['libxlDomainSnapshotHasMetadata', 0],
    ['libxlDomainRevertToSnapshot', 0xf],
    ['libxlDomainSnapshotDelete', 0x7],
  ])('%s knows 0x%x', (call, known) => {
    for (let bit = 0; bit < 32; bit++) {
      const flag = 2 ** bit;
      const isKnown = (known & flag) !== 0;
      const text = `unsupported flags (0x${flag.toString(16)}) in function ${call}`;
      expect([bit, messageOf(call, flag).includes(text)]).toEqual([bit, !isKnown]);
    }
  });
});

/** libvirt's public function first (`C`, `N`, `H`), then the driver (`Q`, `L`); `.` passes. On the diagonal, a flag alone. */
const PAIRS = `
  REDEFINE     . . N H . . Q . L .
  CURRENT      . C C C C C C C C C
  NO_METADATA  N C . . . . Q . . .
  HALT         H C . . . . Q . . .
  DISK_ONLY    . C . . . . . . . .
  REUSE_EXT    . C . . . . Q . . .
  QUIESCE      Q C Q Q . Q Q Q Q Q
  ATOMIC       . C . . . . Q . . .
  LIVE         L C . . . . Q . . .
  VALIDATE     . C . . . . Q . . .`;

const CREATE_REFUSALS: Readonly<Record<string, string>> = {
  C: "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT'",
  N: "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' and 'VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA' are mutually exclusive",
  H: "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' and 'VIR_DOMAIN_SNAPSHOT_CREATE_HALT' are mutually exclusive",
  Q: "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE'",
  L: "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_LIVE' and 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' are mutually exclusive",
  '.': '',
};

describe('pairs of create’s flags', () => {
  const rows = PAIRS.trim()
    .split('\n')
    .map((line) => line.trim().split(/ +/));
  const names = Object.keys(CREATE) as (keyof typeof CREATE)[];
  test.each(rows)('%s', (row, ...answers) => {
    const bit = CREATE[row as keyof typeof CREATE];
    const refusals = names.map((name) => messageOf('libxlDomainSnapshotCreateXML', bit | CREATE[name]));
    expect(refusals).toEqual(answers.map((answer) => CREATE_REFUSALS[answer]));
  });

  test('are all there', () => {
    expect(rows.map(([name]) => name)).toEqual(names);
  });
});

describe('flags that do not go together', () => {
  test.each([0x1, 0x2, 0x4, 0x5, 0x6, 0x3, 0x7])('revert 0x%x', (flags) => {
    const both = (flags & REVERT.RUNNING) !== 0 && (flags & REVERT.PAUSED) !== 0;
    expect(messageOf('libxlDomainRevertToSnapshot', flags)).toBe(
      both
        ? "Flags 'VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING' and 'VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED' are mutually exclusive"
        : '',
    );
  });

  test.each([0x1, 0x2, 0x3, 0x4, 0x6, 0x5, 0x7])('delete 0x%x', (flags) => {
    const both = (flags & DELETE.CHILDREN) !== 0 && (flags & DELETE.CHILDREN_ONLY) !== 0;
    expect(messageOf('libxlDomainSnapshotDelete', flags)).toBe(
      both
        ? "Flags 'VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN' and 'VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY' are mutually exclusive"
        : '',
    );
  });

  test('a rule of the public API is an error of the snapshot domain, a rule of the driver one of libxl', () => {
    const create = 'libxlDomainSnapshotCreateXML';
    expect(thrown(() => checkFlags(create, CREATE.CURRENT)).fields).toMatchObject({ code: 8, domain: 35 });
    expect(thrown(() => checkFlags(create, CREATE.QUIESCE)).fields).toMatchObject({ code: 8, domain: 41 });
  });

  test('the public API comes before unknown bits, and those before the driver’s rules', () => {
    expect(messageOf('libxlDomainSnapshotCreateXML', CREATE.CURRENT | 0x1000)).toContain('is required by');
    expect(messageOf('libxlDomainSnapshotCreateXML', CREATE.QUIESCE | 0x1000)).toContain('(0x1000)');
  });
});
