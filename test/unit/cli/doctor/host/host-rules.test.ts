import { expect, test } from '@jest/globals';
import { guestFindings, versionFindings } from '../../../../../src/cli/doctor/host/host-rules.ts';

const GUEST = { name: "it's", uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 3 };
const MEMORY = { title: 'with memory', options: [] } as const;
const DISKS = { title: 'of the disks alone', options: ['--disk-only'] } as const;

test('a guest of which every kind can be taken is not mentioned', () => {
  expect(guestFindings(GUEST, [{ ...MEMORY, refusal: undefined }])).toEqual([]);
});

test('a guest of which one kind cannot be taken is a note, which says what to take instead', () => {
  const [found, ...others] = guestFindings(GUEST, [
    { ...MEMORY, refusal: 'not enough space' },
    { ...DISKS, refusal: undefined },
  ]);
  expect(others).toEqual([]);
  expect(found?.level).toBe('note');
  expect(found?.problem).toBe("a snapshot with memory of domain 'it's' would be refused: not enough space");
  expect(found?.wayOut).toMatch(/^take a snapshot of the disks alone, or remove the cause; to ask again: xlsnap /);
});

test('a guest of which none can be taken is a problem for each, with a command that can be pasted', () => {
  const found = guestFindings(GUEST, [
    { ...MEMORY, refusal: 'a' },
    { ...DISKS, refusal: 'b' },
  ]);
  expect(found.map(({ level }) => level)).toEqual(['problem', 'problem']);
  expect(found[1]?.wayOut).toBe(
    String.raw`remove the cause; to ask again: xlsnap snapshot-create-as 'it'\''s' --disk-only --check`,
  );
});

test('only versions that nobody has tested are noted', () => {
  expect(versionFindings({ Xen: '4.17', libvirt: '11.3' })).toEqual([]);
  const [found] = versionFindings({ Xen: '4.19', QEMU: '7.2' });
  expect(found).toMatchObject({ level: 'note', problem: expect.stringContaining('Xen 4.19, but with 4.17, 4.20') });
});
