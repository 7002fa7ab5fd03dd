/** A revert ends the guest only if the host has the memory that the guest had in the snapshot. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { checkHostMemory, type WantedMemory } from '../../../src/hosts/host-memory.ts';
import { memoryByLibvirt } from '../../../src/hosts/libvirt/resources/upstream-memory.ts';
import type { HostMemory } from '../../../src/libxl/host-memory.ts';
import { parseDefinition } from '../../../src/xml/domain/definition.ts';
import { GUEST, Record, RecordedUpstream } from '../../support/hosts/recorded-upstream.ts';

const MIB = 1024;
const DOM0 = { id: 0, name: 'Domain-0', uuid: '00000000-0000-0000-0000-000000000000' };
const OTHER = { id: 9, name: "it's big", uuid: '99999999-9999-9999-9999-999999999999' };

let folder: string;
let conf: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'host-memory-'));
  conf = join(folder, 'libxl.conf');
});

afterEach(() => rm(folder, { recursive: true }));

const guest = (type: string, maxMib: number, currentMib = maxMib, vcpus = 1) =>
  parseDefinition(
    `<domain type='xen'><name>g</name><uuid>${GUEST.uuid}</uuid><memory unit='MiB'>${maxMib}</memory>` +
      `<currentMemory unit='MiB'>${currentMib}</currentMemory><vcpu>${vcpus}</vcpu><os><type>${type}</type></os></domain>`,
  );

/** MiB of the guest as it runs, of another one, of Domain-0, and free; Xen has given Domain-0 a fixed size. */
const host = (own: number, other: number, dom0: number, free: number, more: Partial<HostMemory> = {}): HostMemory => ({
  freeKib: free * MIB,
  domains: [
    { ...DOM0, kib: dom0 * MIB },
    { ...GUEST, kib: own * MIB },
    { ...OTHER, kib: other * MIB },
  ],
  xenCommandLine: 'placeholder dom0_mem=512M,max:512M loglvl=all',
  ...more,
});

const refusal = (memory: HostMemory, wanted: WantedMemory) =>
  checkHostMemory(memory, GUEST, wanted, conf).then(
    () => undefined,
    ({ message }: Error) => message,
  );

const pv = (maxMib: number, currentMib?: number) => guest('linux', maxMib, currentMib);

describe('case D: the guest was ballooned down since the snapshot', () => {
  const wanted = { definition: pv(1024), live: pv(1024, 512) };

  test('and another one has taken the rest: refused with the numbers and a command', async () => {
    expect(await refusal(host(512, 2048, 512, 100), wanted)).toBe(
      "Requested operation is not valid: the host has too little memory for domain 'g': 1025 MiB are needed, and there are " +
        "513 MiB that it has now, 100 MiB free; to take some from domain 'it's big': " +
        `virsh setmem 'it'\\''s big' ${1636 * MIB} --live`,
    );
  });

  test('and there is room: accepted, to the last page', async () => {
    expect(await refusal(host(512, 2048, 512, 512), wanted)).toBeUndefined();
    expect(await refusal(host(512, 2048, 512, 511), wanted)).toMatch('511 MiB free');
  });

  test('and it would take more than half of the other: that one has to end', async () => {
    expect(await refusal(host(512, 600, 512, 0), wanted)).toMatch(
      /; to end another domain: virsh shutdown 'it'\\''s big'$/,
    );
  });

  test('and there is nobody else: no command is printed', async () => {
    const alone = { ...host(512, 0, 512, 0), domains: [{ ...GUEST, kib: 512 * MIB }] };
    expect(await refusal(alone, wanted)).toMatch(/0 MiB free$/);
  });
});

test('a guest that is as it was always comes back, whatever its tables take', async () => {
  for (const type of ['linux', 'xen', 'xenpvh', 'hvm']) {
    const definition = guest(type, 4096, 4096, 16);
    expect(await refusal(host(4096, 2048, 512, 0), { definition, live: definition })).toBeUndefined();
  }
});

test('a guest that Xen translates addresses for needs tables, too: by its vCPUs and its most memory', async () => {
  const definition = guest('hvm', 1024, 512, 4);
  // 4 MiB for the vCPUs, 8 for the page tables, 2 more.
  expect(await refusal(host(0, 2048, 512, 526), { definition })).toBeUndefined();
  expect(await refusal(host(0, 2048, 512, 525), { definition })).toMatch('526 MiB are needed');
});

test('a guest that is off has nothing to give', async () => {
  expect(await refusal(host(512, 2048, 512, 1024), { definition: pv(1024) })).toMatch('there are 1024 MiB free');
});

test('a guest has no more pages than its memory image', async () => {
  const wanted = { definition: pv(1024), live: pv(1024, 512), imageBytes: 520 * MIB * 1024 };
  expect(await refusal(host(512, 2048, 512, 8), wanted)).toBeUndefined();
  expect(await refusal(host(512, 2048, 512, 7), wanted)).toBeDefined();
});

test('a guest whose memory is unknown is not refused', async () => {
  const wanted = { definition: pv(1024), live: pv(512) };
  expect(await refusal({ freeKib: 0, domains: [] }, wanted)).toBeUndefined();
});

describe('what libvirtd takes from Domain-0 counts', () => {
  const definition = pv(1024);
  const freed = host(0, 0, 1153, 0, { xenCommandLine: 'loglvl=all' });

  test('unless Xen has given it a fixed size; down to the least that libxl leaves it', async () => {
    expect(await refusal(freed, { definition })).toBeUndefined();
    expect(await refusal(host(0, 0, 1152, 0, { xenCommandLine: '' }), { definition })).toMatch(
      '0 MiB free, 1024 MiB that Domain-0 can give',
    );
    for (const option of ['dom0_mem=1G', 'a dom0_mem=max:4096M b', 'dom0_mem=512M,min:256m,max:1024M']) {
      expect(await refusal({ ...freed, xenCommandLine: option }, { definition })).toMatch('0 MiB free');
    }
    expect(await refusal({ ...freed, xenCommandLine: 'xdom0_mem=1G' }, { definition })).toBeUndefined();
  });

  test('unless libxl.conf says otherwise', async () => {
    await writeFile(conf, '#autoballoon = 1\n  autoballoon = 0\n');
    expect(await refusal(freed, { definition })).toMatch('0 MiB free');
    await writeFile(conf, 'autoballoon = 0\nautoballoon = 1\n');
    expect(await refusal({ ...freed, xenCommandLine: 'dom0_mem=1G' }, { definition })).toBeUndefined();
  });
});

test('without libxl the numbers are those of libvirtd', async () => {
  const memory = await memoryByLibvirt(new RecordedUpstream(new Record()));
  expect(memory).toEqual({ freeKib: MIB * MIB, domains: [{ ...GUEST, kib: 65_536 }] });
});
