import { describe, expect, test } from '@jest/globals';
import type { LibvirtError } from '../../../src/errors.ts';
import { CREATE, DELETE, REVERT } from '../../../src/model/flags.ts';
import {
  CREATE_RULES,
  checkFlagRules,
  checkKnownFlags,
  DELETE_RULES,
  REVERT_RULES,
} from '../../../src/snapshots/flag-rules.ts';

const thrown = (check: () => void): LibvirtError => {
  try {
    check();
  } catch (error) {
    return error as LibvirtError;
  }
  throw new Error('nothing was refused');
};

describe('unknown bits', () => {
  test('are refused alone, the known ones not mentioned', () => {
    const error = thrown(() => checkKnownFlags('libxlDomainRevertToSnapshot', REVERT.FORCE | 0x100));
    expect(error.message).toBe('unsupported flags (0x100) in function libxlDomainRevertToSnapshot');
    expect(error.fields).toMatchObject({ code: 8, str1: 'libxlDomainRevertToSnapshot', str2: 'flags', int1: 0 });
  });

  test('bit 31 is printed unsigned', () => {
    expect(thrown(() => checkKnownFlags('libxlDomainSnapshotNum', 0x80000000 | 0)).message).toContain('(0x80000000)');
  });

  test('a lookup takes no flags at all', () => {
    expect(thrown(() => checkKnownFlags('libxlDomainSnapshotLookupByName', 1)).message).toContain('(0x1)');
  });

  test('every bit of create and delete is known', () => {
    expect(() => checkKnownFlags('libxlDomainSnapshotCreateXML', 0x3ff)).not.toThrow();
    expect(() => checkKnownFlags('libxlDomainSnapshotDelete', 0x7)).not.toThrow();
  });
});

describe('flags that do not go together', () => {
  test.each([
    [
      CREATE_RULES,
      CREATE.CURRENT,
      "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT'",
    ],
    [
      CREATE_RULES,
      CREATE.REDEFINE | CREATE.NO_METADATA,
      "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' and 'VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA' are mutually exclusive",
    ],
    [
      CREATE_RULES,
      CREATE.REDEFINE | CREATE.HALT,
      "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' and 'VIR_DOMAIN_SNAPSHOT_CREATE_HALT' are mutually exclusive",
    ],
    [
      CREATE_RULES,
      CREATE.QUIESCE,
      "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE'",
    ],
    [
      CREATE_RULES,
      CREATE.LIVE | CREATE.REDEFINE,
      "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_LIVE' and 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' are mutually exclusive",
    ],
    [
      REVERT_RULES,
      REVERT.RUNNING | REVERT.PAUSED,
      "Flags 'VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING' and 'VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED' are mutually exclusive",
    ],
    [
      DELETE_RULES,
      DELETE.CHILDREN | DELETE.CHILDREN_ONLY,
      "Flags 'VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN' and 'VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY' are mutually exclusive",
    ],
  ])('are refused as libvirt words it (%#)', (rules, flags, text) => {
    const error = thrown(() => checkFlagRules(rules, flags));
    expect(error.message).toBe(text);
    expect(error.fields.code).toBe(8);
  });

  test.each([
    [CREATE_RULES, CREATE.REDEFINE | CREATE.CURRENT | CREATE.DISK_ONLY | CREATE.VALIDATE],
    [CREATE_RULES, CREATE.QUIESCE | CREATE.DISK_ONLY | CREATE.ATOMIC],
    [REVERT_RULES, REVERT.PAUSED | REVERT.FORCE],
    [DELETE_RULES, DELETE.CHILDREN | DELETE.METADATA_ONLY],
  ])('others pass (%#)', (rules, flags) => {
    expect(() => checkFlagRules(rules, flags)).not.toThrow();
  });

  test('a rule of the public API is an error of the snapshot domain, a rule of the driver one of libxl', () => {
    expect(thrown(() => checkFlagRules(CREATE_RULES, CREATE.CURRENT)).fields.domain).toBe(35);
    expect(thrown(() => checkFlagRules(CREATE_RULES, CREATE.QUIESCE)).fields.domain).toBe(41);
  });
});
