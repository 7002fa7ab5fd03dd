/** `xlsnap/client` against a real xlsnapd on the embedded host, and a real libvirtd with its test driver. */

import { execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { type Connection, connect, type Domain, type DomainEvent, type JobStats } from '../../src/client/index.ts';
import { startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { refusal } from '../support/refusal.ts';
import { until } from '../support/until.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

jest.setTimeout(60_000);

let host: Xlsnapd;
let scratch: string;
let connection: Connection;
let guest: Domain;

beforeAll(async () => {
  host = await Xlsnapd.start();
  scratch = await mkdtemp(join(tmpdir(), 'xlsnap-farm-'));
  connection = await connect(host.uri);
  guest = await connection.lookupByName('test');
});

afterAll(async () => {
  await connection[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true });
});

const names = (found: readonly { readonly name: string }[]) => found.map(({ name }) => name);

/** The first of the events that this holds for. */
async function first(events: AsyncIterable<DomainEvent>, holds: (event: DomainEvent) => boolean): Promise<DomainEvent> {
  for await (const event of events) if (holds(event)) return event;
  throw new Error('the events ended');
}

test('finds domains by name, id and UUID, and says what they are', async () => {
  expect(guest).toMatchObject({ name: 'test', id: 1 });
  expect(await connection.lookupByUUID(guest.uuid)).toMatchObject({ name: 'test' });
  expect(await connection.lookupByID(1)).toMatchObject({ uuid: guest.uuid });
  expect(names(await connection.listAllDomains())).toEqual(['test']);
  expect(await connection.listAllDomains({ inactive: true })).toEqual([]);
  expect(await guest.getState()).toEqual({ state: 'running', reason: 1 });
  expect(await guest.isPersistent()).toBe(true);
  expect(await guest.getXMLDesc()).toContain("<domain type='xen' id='1'");
  expect(await guest.getXMLDesc({ inactive: true })).toContain("<domain type='xen'>");
  expect(await connection.daemonStatus()).toMatchObject({ mechanism: 'embedded' });
  const error = await refusal(connection.lookupByName('nobody'));
  expect([error.code, error.domain, error.fields.code]).toEqual(['NO_DOMAIN', 'LIBXL', 42]);
  expect(error.message).toContain("no domain with matching name 'nobody'");
});

describe('snapshots', () => {
  test('are created by options or a document, listed, asked for their relatives, and deleted', async () => {
    const base = await guest.snapshotCreate({ name: 'base', description: 'a < b', atomic: true });
    expect(base.domain.name).toBe('test');
    await guest.snapshotCreate({ xml: '<domainsnapshot><name>by-document</name></domainsnapshot>' });
    const overlay = {
      name: 'xvda',
      snapshot: 'external',
      driver: 'qcow2',
      file: join(scratch, 'overlay-of-top'),
    } as const;
    const top = await guest.snapshotCreate({ name: 'top', diskOnly: true, disks: [overlay] });

    expect(names(await guest.listAllSnapshots({ topological: true }))).toEqual(['base', 'by-document', 'top']);
    expect(names(await guest.listAllSnapshots({ leaves: true }))).toEqual(['top']);
    expect(names(await guest.listAllSnapshots({ active: true, internal: true }))).toEqual(['base', 'by-document']);
    expect(names(await base.listAllChildren())).toEqual(['by-document']);
    expect(await base.numChildren({ descendants: true })).toBe(2);
    expect((await top.getParent())?.name).toBe('by-document');
    expect(await base.getParent()).toBeUndefined();
    expect((await guest.snapshotCurrent())?.name).toBe('top');
    expect([await top.isCurrent(), await base.isCurrent(), await base.hasMetadata()]).toEqual([true, false, true]);
    expect(await base.getXMLDesc()).toContain('<description>a &lt; b</description>');
    expect(await top.getXMLDesc()).toContain(`<source file='${join(scratch, 'overlay-of-top')}'`);
    expect((await refusal(guest.snapshotLookupByName('none'))).code).toBe('NO_DOMAIN_SNAPSHOT');

    await base.delete({ childrenOnly: true });
    expect(names(await guest.listAllSnapshots())).toEqual(['base']);
    await base.delete();
    expect(await guest.snapshotCurrent()).toBeUndefined();
  });

  test('are reverted to, with the state that is asked for', async () => {
    const clean = await guest.snapshotCreate({ name: 'clean' });
    await clean.revert({ paused: true });
    expect(await guest.getState()).toMatchObject({ state: 'paused' });
    await clean.revert({ running: true, force: true });
    expect(await guest.getState()).toEqual({ state: 'running', reason: 4 });
    await clean.delete();
  });

  test('are refused in words of libvirt', async () => {
    const error = await refusal(guest.snapshotCreate({ memory: { snapshot: 'external' } }));
    expect([error.code, error.domain]).toEqual(['XML_ERROR', 'DOMAIN_SNAPSHOT']);
    await using reader = await connect(host.uri.replace(/sock$/, 'sock-ro'), { readOnly: true });
    const refused = await refusal((await reader.lookupByName('test')).snapshotCreate({}));
    expect(refused.code).toBe('OPERATION_DENIED');
  });
});

describe('a job', () => {
  test('says how far it is, for as long as it runs, and throws its error there, too', async () => {
    const seen: JobStats[] = [];
    const abort = new AbortController();
    const deviceModel = pidOfDeviceModel();
    // It stands still, so that the job is seen, until the job is cancelled.
    process.kill(deviceModel, 'SIGSTOP');
    const job = guest.snapshotCreate({ name: 'watched' }, { signal: abort.signal });
    const watching = (async () => {
      for await (const stats of job) {
        seen.push(stats);
        abort.abort();
        setTimeout(() => process.kill(deviceModel, 'SIGCONT'), 500);
      }
    })();
    expect((await refusal(watching)).code).toBe('OPERATION_ABORTED');
    expect((await refusal(job)).message).toBe("operation aborted: job 'snapshot' canceled by client");
    expect(seen[0]).toMatchObject({ type: 'unbounded', operation: 'snapshot' });
    expect(seen[0]?.timeElapsed).toBeGreaterThanOrEqual(0);
    expect(names(await guest.listAllSnapshots())).toEqual([]);
  });

  test('is not begun if its signal is aborted already', async () => {
    const error = await refusal(guest.snapshotCreate({}, { signal: AbortSignal.abort() }));
    expect(error.message).toBe('operation aborted: cancelled before it began');
    expect(await guest.getJobStats()).toEqual({ type: 'none' });
  });

  test('leaves its numbers behind', async () => {
    const snapshot = await guest.snapshotCreate({ name: 'counted' });
    expect(await guest.getCompletedJobStats()).toMatchObject({
      type: 'completed',
      operation: 'snapshot',
      memoryTotal: 4_194_304,
    });
    await snapshot.delete();
    expect((await refusal(guest.abortJob())).code).toBe('OPERATION_INVALID');
  });
});

function pidOfDeviceModel(): number {
  const state = join(host.home, 'state');
  const pidFile = readdirSync(state).find((file) => /\d\.pid$/.test(file));
  return Number(readFileSync(join(state, `${pidFile}`), 'utf8'));
}

test('a block job is watched until all is copied, ended, and announced', async () => {
  const events = await connection.events();
  const file = join(scratch, 'overlay');
  await guest.snapshotCreate({ diskOnly: true, noMetadata: true, disks: [{ name: 'xvda', file }] });
  expect(await guest.getBlockJobInfo('xvda')).toBeUndefined();
  await guest.blockCommit('xvda', { active: true, bandwidth: 1_000_000_000 });
  let last = {};
  for await (const info of guest.blockJobProgress('xvda')) last = info;
  expect(last).toMatchObject({ type: 'active-commit', bandwidth: 1_000_000_000 });
  await guest.blockJobSetSpeed('xvda', 0);
  expect(await guest.getBlockJobInfo('xvda')).toMatchObject({ bandwidth: 0 });
  await guest.blockJobAbort('xvda', { pivot: true });
  const end = await first(events, (event) => event.kind === 'block-job' && event.status === 'completed');
  expect(end).toMatchObject({ disk: 'xvda', type: 'active-commit', domain: { name: 'test' } });

  await guest.snapshotCreate({ diskOnly: true, noMetadata: true, disks: [{ name: 'xvda', file: `${file}2` }] });
  await guest.blockPull('xvda');
  for await (const info of guest.blockJobProgress('xvda')) expect(info.type).toBe('pull');
  expect(await guest.getBlockJobInfo('xvda')).toBeUndefined();
});

describe('events', () => {
  test('come from the moment when they are asked for, by the words that virsh has for them', async () => {
    const events = await connection.events();
    await guest.suspend();
    await guest.resume();
    await guest.destroy();
    const started = await guest.create({ paused: true });
    expect(started.id).toBeGreaterThan(guest.id);
    await started.resume();
    const seen: string[] = [];
    for await (const event of events) {
      if (event.kind !== 'lifecycle') continue;
      seen.push(`${event.domain.name} ${event.event} ${event.detail}`);
      if (seen.length === 6) break;
    }
    expect(seen).toEqual([
      'test suspended paused',
      'test resumed unpaused',
      'test stopped destroyed',
      'test started booted',
      'test suspended paused',
      'test resumed unpaused',
    ]);
  });

  test('end with the connection, and with their signal; a connection that is lost is an error', async () => {
    const other = await Xlsnapd.start();
    const lost = await connect(other.uri);
    const ends = new AbortController();
    const ended = await lost.events({ signal: ends.signal });
    ends.abort();
    expect(await ended.next()).toEqual({ done: true, value: undefined });
    const closed = await connect(other.uri);
    const closing = await closed.events();
    const waiting = closing.next();
    await closed[Symbol.asyncDispose]();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect((await refusal(closed.getType())).message).toBe('the connection to libvirtd has been closed');

    const losing = await lost.events();
    await other[Symbol.asyncDispose]();
    expect((await refusal(losing.next())).message).toBe(`connection to libvirtd at '${other.socket}' was lost`);
    expect(lost.closed.reason).toMatchObject({ code: 'RPC' });
    expect((await refusal(lost.getType())).code).toBe('RPC');
  });
});

test('a plain libvirtd serves what libvirt knows', async () => {
  await using libvirtd = await startLibvirtd();
  await using plain = await connect(`test+unix:///default?socket=${libvirtd.socket}`);
  expect([await plain.getType(), await plain.daemonStatus()]).toEqual(['TEST', undefined]);
  const domain = await plain.lookupByName('test');
  const events = await plain.events();
  const job = domain.snapshotCreate({ name: 's1' });
  // Its test driver knows no jobs.
  for await (const stats of job) expect(stats).toBeUndefined();
  const snapshot = await job;
  expect(names(await domain.listAllSnapshots())).toEqual(['s1']);
  await snapshot.revert();
  await snapshot.delete();
  await domain.suspend();
  expect(await first(events, (each) => each.kind === 'lifecycle' && each.event === 'suspended')).toMatchObject({
    detail: 'paused',
  });
});

describe('by ssh', () => {
  const uri = (command: string) => `test+ssh://there/default?socket=${host.socket}&command=${command}`;

  test('another machine’s daemon is reached through the program and what it starts there', async () => {
    const ssh = join(scratch, 'ssh');
    // Like sshd, it gives the words after the host's name to a shell.
    await writeFile(ssh, '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\n[ "$2" = there ] && exec sh -c "$3"\n', {
      mode: 0o755,
    });
    await using there = await connect(uri(ssh));
    expect(names(await there.listAllDomains())).toEqual(['test']);
    const listed = await run(process.execPath, [
      join(ROOT, 'dist/cli/main.js'),
      '-q',
      '-c',
      uri(ssh),
      'snapshot-list',
      'test',
    ]);
    expect(listed.stderr).toBe('');
  });

  test('says what the program complained of', async () => {
    const ssh = join(scratch, 'no-ssh');
    await writeFile(ssh, '#!/bin/sh\necho "ssh: Could not resolve hostname there" >&2\nexit 255\n', { mode: 0o755 });
    const error = await refusal(connect(uri(ssh)));
    expect(error.message).toContain(
      'Cannot recv data: ssh: Could not resolve hostname there: Connection reset by peer',
    );
    expect((await refusal(connect(uri('/none')))).message).toBe(
      'Cannot execute binary /none: No such file or directory',
    );
  });
});

test('examples/farm.mjs reverts, runs, waits, collects and reverts', async () => {
  // As a program that has installed the package.
  await mkdir(join(scratch, 'node_modules'));
  await symlink(ROOT, join(scratch, 'node_modules/xlsnap'));
  await symlink(join(ROOT, 'examples/farm.mjs'), join(scratch, 'farm.mjs'));
  const clean = await guest.snapshotCreate({ name: 'farm' });
  const disk = /<source file='([^']+)'/.exec(await guest.getXMLDesc())?.[1] ?? '';
  /** Runs the loop with so many seconds for its one round, and returns what it prints. */
  async function farm(folder: string, seconds: string, onLine: (line: string) => Promise<unknown>): Promise<string[]> {
    await mkdir(join(scratch, folder));
    const script = ['--preserve-symlinks-main', join(scratch, 'farm.mjs')];
    const words = [...script, 'test', 'farm', disk, join(scratch, folder), '1', seconds];
    const env = { ...process.env, LIBVIRT_DEFAULT_URI: host.uri };
    const loop = spawn(process.execPath, words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const said: string[] = [];
    for await (const line of createInterface({ input: loop.stdout })) {
      said.push(line);
      await onLine(line);
    }
    await until(() => loop.exitCode !== null);
    expect(loop.exitCode).toBe(0);
    expect(statSync(join(scratch, folder, '1')).size).toBeGreaterThan(0);
    return said;
  }
  const shutdown = async (line: string) => line === 'round 1: test runs' && (await host.ok('shutdown', 'test'));
  expect(await farm('ends', '60', shutdown)).toEqual(['round 1: test runs', 'round 1: shutdown']);
  expect(await farm('is-ended', '1', async () => {})).toEqual(['round 1: test runs', 'round 1: its time was over']);
  expect(await guest.getState()).toMatchObject({ state: 'running' });
  await clean.delete();
});
