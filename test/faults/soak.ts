/** Many operations by many clients on one daemon, and what they leave behind in it: nothing. */

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DomainRef } from '../../src/model/domain.ts';
import { DELETE } from '../../src/model/flags.ts';
import { RpcClient } from '../../src/rpc/client/client.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { newImage } from '../support/hosts/embedded.ts';

interface SoakOptions {
  /** Each a create, a revert and a delete. */
  readonly cycles: number;
  readonly clients: number;
  /** Two clients or more have to share one where there are fewer domains than clients. */
  readonly domains: number;
  /** So many snapshots, each the child of the one before. */
  readonly depth: number;
}

/** What a daemon holds while nobody asks anything of it. */
interface Holdings {
  readonly rssMiB: number;
  readonly descriptors: number;
  readonly processes: number;
  /** In its folders, but for those of running domains. */
  readonly files: readonly string[];
}

interface Soak {
  readonly before: Holdings;
  readonly after: Holdings;
  readonly ms: number;
}

const SETTLE_MS = 5_000;
const POLL_MS = 50;
/** Before what is held is looked at first: caches and the heap have then their usual size. */
const WARM_UP_SHARE = 0.2;

const uuidOf = (index: number): string => `11111111-2222-3333-4444-${String(index).padStart(12, '0')}`;

export async function soak({ cycles, clients, domains, depth }: SoakOptions): Promise<Soak> {
  const home = await mkdtemp(join(tmpdir(), 'xls-'));
  const daemon = await Xlsnapd.start({ home, args: ['--log-level', 'error'] });
  try {
    const refs = await start(daemon, domains);
    const round = (count: number): Promise<unknown> =>
      Promise.all(Array.from({ length: clients }, (_, client) => work(daemon, refs, client, count / clients)));
    await round(cycles * WARM_UP_SHARE);
    const before = await holdings(daemon, domains);
    const started = performance.now();
    await round(cycles);
    await descend(daemon, refs[0], depth);
    const ms = performance.now() - started;
    const inImages = await Promise.all(refs.map((_, index) => snapshotsIn(imageOf(daemon, index))));
    if (inImages.flat().length > 0) throw new Error(`snapshots are left in the images: ${inImages.flat().join(', ')}`);
    return { before, after: await holdings(daemon, domains), ms };
  } finally {
    await daemon.stop();
    await rm(home, { recursive: true, force: true });
  }
}

const imageOf = ({ home }: Xlsnapd, index: number): string => join(home, `${index}.qcow2`);

const open = ({ socket }: Xlsnapd): Promise<RpcClient> => RpcClient.connect({ path: socket, uri: 'test:///default' });

async function start(daemon: Xlsnapd, count: number): Promise<readonly DomainRef[]> {
  using client = await open(daemon);
  const refs: DomainRef[] = [];
  for (let index = 0; index < count; index += 1) {
    const image = await newImage(imageOf(daemon, index));
    const xml = `<domain type='xen'><name>d${index}</name><uuid>${uuidOf(index)}</uuid><memory>4096</memory>
      <os><type>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
      <source file='${image}'/><target dev='xvda' bus='xen'/></disk></devices></domain>`;
    refs.push(await client.createWithFlags(await client.defineXML(xml), 0));
  }
  return refs;
}

/** One client's share. It leaves when it is done, and its connection with it. */
async function work(daemon: Xlsnapd, refs: readonly DomainRef[], client: number, cycles: number): Promise<void> {
  using connection = await open(daemon);
  const { snapshots } = connection;
  const domain = refs[client % refs.length] as DomainRef;
  for (let cycle = 0; cycle < cycles; cycle += 1) {
    const name = `c${client}-${cycle}`;
    const snapshot = await snapshots.createXML(domain, `<domainsnapshot><name>${name}</name></domainsnapshot>`, 0);
    await snapshots.revert(snapshot, 0);
    await snapshots.delete(snapshot, 0);
  }
}

async function descend(daemon: Xlsnapd, domain: DomainRef | undefined, depth: number): Promise<void> {
  if (!domain) return;
  using connection = await open(daemon);
  const { snapshots } = connection;
  for (let level = 0; level < depth; level += 1) {
    await snapshots.createXML(domain, `<domainsnapshot><name>l${level}</name></domainsnapshot>`, 0);
  }
  const deepest = { name: `l${depth - 1}`, domain };
  const above = await snapshots.getParent(deepest, 0);
  if (above.name !== `l${depth - 2}`) throw new Error(`the parent of ${deepest.name} is ${above.name}`);
  await snapshots.revert({ name: 'l0', domain }, 0);
  await snapshots.revert(deepest, 0);
  await snapshots.delete({ name: 'l0', domain }, DELETE.CHILDREN);
}

/** Once the connections of the clients that have left are closed. */
async function holdings(daemon: Xlsnapd, domains: number): Promise<Holdings> {
  const seen = async (): Promise<Holdings> => ({
    rssMiB: await residentMiB(daemon.pid),
    descriptors: (await readdir(`/proc/${daemon.pid}/fd`)).length,
    processes: (await childrenOf(daemon.pid)).length,
    files: await filesOf(daemon.home),
  });
  let last = await seen();
  for (const end = Date.now() + SETTLE_MS; Date.now() < end; await sleep(POLL_MS)) {
    const now = await seen();
    if (now.descriptors === last.descriptors && now.processes === domains + 1) return now;
    last = now;
  }
  return last;
}

async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

async function childrenOf(pid: number): Promise<readonly string[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean);
}

async function filesOf(home: string): Promise<readonly string[]> {
  const names = await readdir(home, { recursive: true });
  return names.filter((name) => !/^state\/\d+\.(pid|log|qmp|nbd|ram)$/.test(name)).sort();
}
