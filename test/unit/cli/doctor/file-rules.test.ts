import { describe, expect, test } from '@jest/globals';
import {
  type DoctorFinding,
  hasRecord,
  journalFindings,
  type Known,
  memoryFindings,
  metadataFindings,
} from '../../../../src/cli/doctor/file-rules.ts';
import type { StoredItem } from '../../../../src/cli/doctor/folder-contents.ts';
import { volumeFindings } from '../../../../src/cli/doctor/volume-rules.ts';
import { LibvirtError } from '../../../../src/errors.ts';
import { domainOf, factsOf, UUID } from '../../../support/snapshot-facts.ts';

const OTHER = '11111111-2222-3333-4444-555555555555';
const NOW = 10_000_000;
const OLD = NOW - 120_000;

const file = (path: string, changed = OLD): StoredItem => ({
  ...{ path, changed, bytes: 4096, inside: undefined },
  name: path.slice(path.lastIndexOf('/') + 1),
});
const folder = (path: string, ...inside: readonly StoredItem[]): StoredItem => ({ ...file(path), inside });

const record = (operation: 'create' | 'revert' | 'delete' | 'redefine', flags = 0) => ({
  ...{ domain: { name: 'vm', uuid: UUID, id: 1 }, operation, snapshot: 's', flags },
  phase: 'begun' as const,
});

const known = (more: Partial<Known> = {}, id = 1): Known => ({
  domains: [domainOf([factsOf('s1', { memory: { path: `/m/${UUID}/s1.save`, allocatedBytes: 1 } })], {}, id)],
  ...{ records: [], broken: new Set<string>(), working: new Set<string>(), now: NOW },
  ...more,
});

const removals = (findings: readonly DoctorFinding[]) => findings.flatMap(({ removal }) => removal?.path ?? []);
const problems = (findings: readonly DoctorFinding[]) =>
  findings.filter(({ level }) => level === 'problem').map(({ problem }) => problem);

describe('memory images', () => {
  const images = (...names: readonly string[]) => [
    folder(`/m/${UUID}`, ...names.map((name) => file(`/m/${UUID}/${name}`))),
  ];

  test('that a snapshot names are nobody’s business', () => {
    expect(memoryFindings(images('s1.save'), known())).toEqual([]);
  });

  test('that were never finished may be removed', () => {
    expect(removals(memoryFindings(images('s1.save', 's9.save.partial'), known()))).toEqual([
      `/m/${UUID}/s9.save.partial`,
    ]);
  });

  test('that are whole and have no snapshot are reported, never removed', () => {
    const [finding, ...others] = memoryFindings(images('s2.save'), known());
    expect(others).toEqual([]);
    expect(finding?.removal).toBeUndefined();
    expect(finding?.problem).toContain("snapshot 's2' of domain 'vm', which has no metadata");
    expect(finding?.orphan).toEqual({ uuid: UUID, snapshot: 's2', memoryPath: `/m/${UUID}/s2.save` });
  });

  test('of a domain that is gone are kept: they may be all that is left of it', () => {
    const findings = memoryFindings([folder(`/m/${OTHER}`, file(`/m/${OTHER}/s.save`))], known());
    expect(findings[0]?.wayOut).toContain(`to bring the domain back: virsh restore /m/${OTHER}/s.save`);
    expect(findings[0]?.orphan).toBeUndefined();
    expect(removals(findings)).toEqual([]);
  });

  test('a saved domain that runs again needs its scratch file no more, one that is off may', () => {
    const scratch = [file(`/m/${UUID}.save`)];
    expect(removals(memoryFindings(scratch, known()))).toEqual([`/m/${UUID}.save`]);
    const off = memoryFindings(scratch, known({}, -1));
    expect(removals(off)).toEqual([]);
    expect(off[0]?.wayOut).toContain('virsh restore');
  });

  test('an empty folder may go', () => {
    expect(removals(memoryFindings([folder(`/m/${OTHER}`)], known()))).toEqual([`/m/${OTHER}`]);
  });

  test('what xlsnapd would not write is left alone, and nothing wrong', () => {
    const items = [file('/m/notes.txt'), folder(`/m/${UUID}`, file(`/m/${UUID}/x.raw`), folder(`/m/${UUID}/y.save`))];
    const findings = memoryFindings(items, known());
    expect(findings.map(({ level }) => level)).toEqual(['note', 'note', 'note']);
    expect(removals(findings)).toEqual([]);
  });

  test('nothing is removed of a domain with a record, nor what was just written to', () => {
    const items = images('s9.save.partial', 's2.save');
    const withRecord = memoryFindings(items, known({ records: [record('create')] }));
    expect(removals(withRecord)).toEqual([]);
    expect(problems(withRecord)).toEqual([]);
    const fresh = memoryFindings([folder(`/m/${UUID}`, file('/m/x.save.partial', NOW - 1_000))], known());
    expect(removals(fresh)).toEqual([]);
    expect(fresh[0]?.level).toBe('note');
  });
});

describe('metadata', () => {
  const isDocument = (path: string) => path.includes('whole');

  test('files that were never finished may be removed; one that is read as a snapshot may not', () => {
    const items = [
      folder('/s/vm', ...['s1.xml', 's1.xml.new', 'cut.xml.new', 'whole.xml.new'].map((name) => file(`/s/vm/${name}`))),
    ];
    expect(removals(metadataFindings(items, known(), isDocument))).toEqual(['/s/vm/s1.xml.new', '/s/vm/cut.xml.new']);
  });

  test('of a domain that is not there is reported, its empty folder may go', () => {
    const items = [folder('/s/gone', file('/s/gone/a.xml')), folder('/s/empty')];
    const findings = metadataFindings(items, known(), isDocument);
    expect(removals(findings)).toEqual(['/s/empty']);
    expect(problems(findings)[0]).toContain("domain 'gone', which does not exist");
  });
});

describe('snapshot volumes', () => {
  const volume = (snapshot: string, vdev: string) => ({
    isOurs: true,
    ...{ snapshot, place: `vg/${vdev}.xlsnap.${snapshot}`, domain: { name: 'vm', uuid: UUID, id: 1 } },
    disk: { vdev, pdev_path: `/dev/vg/${vdev}` },
  });

  test('of one snapshot are one finding', () => {
    const found = [volume('s2', 'xvda'), volume('s3', 'xvda'), volume('s2', 'xvdb')];
    const findings = volumeFindings(found, known());
    expect(problems(findings)).toEqual([
      "'vg/xvda.xlsnap.s2', 'vg/xvdb.xlsnap.s2': belong to snapshot 's2' of domain 'vm', which has no metadata",
      "'vg/xvda.xlsnap.s3': belongs to snapshot 's3' of domain 'vm', which has no metadata",
    ]);
    expect(findings[0]?.orphan).toEqual({ uuid: UUID, snapshot: 's2', disks: [found[0]?.disk, found[2]?.disk] });
  });

  test('of a domain with a record are the record’s business', () => {
    expect(volumeFindings([volume('s2', 'xvda')], known({ records: [record('create')] }))).toEqual([]);
  });
});

describe('the journal', () => {
  test.each([
    ['revert', 0, 'virsh snapshot-revert vm s'],
    ['revert', 0x6, 'virsh snapshot-revert vm s --paused --force'],
    ['delete', 0x1, 'virsh snapshot-delete vm s --children'],
    ['create', 0, /^systemctl restart xlsnapd/],
    ['redefine', 0, /^systemctl restart xlsnapd/],
  ] as const)('an interrupted %s with flags %d has one command that ends it', (operation, flags, wayOut) => {
    const [finding] = journalFindings(known({ records: [record(operation, flags)] }));
    expect(finding?.wayOut).toEqual(typeof wayOut === 'string' ? wayOut : expect.stringMatching(wayOut));
    expect(finding?.problem).toContain("snapshot 's' of domain 'vm' was interrupted in phase 'begun'");
  });

  test('what is under way is no problem', () => {
    const [finding] = journalFindings(known({ records: [record('create')], working: new Set([UUID]) }));
    expect(finding).toMatchObject({ level: 'note', problem: expect.stringContaining('is under way') });
  });

  test('a record that cannot be read is told of as it is', () => {
    const damaged = new LibvirtError('INTERNAL_ERROR', "'/j/x.json' is not a record of an operation");
    const records = [{ uuid: UUID, error: damaged }];
    expect(problems(journalFindings(known({ records })))).toEqual([damaged.detail]);
    expect(hasRecord({ records }, UUID)).toBe(true);
  });
});
