/** A snapshot's disks against its domain's (virDomainSnapshotAlignDisks), in redefinitions: libvirt's test driver and xlsnapd side by side. */

import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { DomainRef } from '../../src/model/domain.ts';
import { CREATE } from '../../src/model/flags.ts';
import { decodePayload, STATUS } from '../../src/rpc/wire/frames.ts';
import { remoteError } from '../../src/rpc/wire/messages.ts';
import { PROCEDURES as P } from '../../src/rpc/wire/procedures.ts';
import { type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { RawClient } from '../support/rpc/raw-client.ts';

/** Hundreds of documents, each written durably. */
const TIMEOUT_MS = 120_000;

const DOMAINS = resolve(import.meta.dirname, '../../../shared/oracle/domains/test');

const STATES = ['running', 'paused', 'blocked', 'crashed', 'shutdown', 'shutoff', 'pmsuspended', 'disk-snapshot'];
/** In which every list of disks is tried; in the others the first few. */
const THOROUGH = ['running', 'shutoff', 'disk-snapshot'];
const FEW = 4;

const MEMORIES = ['', "<memory snapshot='no'/>", "<memory snapshot='internal'/>", "<memory file='/m'/>"];
const MODES = ['', " snapshot='no'", " snapshot='internal'", " snapshot='external'", " snapshot='manual'"];
const NAMES = ['vda', 'vdb', 'vdd', 'vde', 'hdc', 'nope', '@IMG@/a.qcow2', '/nowhere'];

/** Single disks in every mode, and some together. */
const DISKS: readonly string[] = [
  '',
  ...NAMES.flatMap((name) => MODES.map((mode) => `<disk name='${name}'${mode}/>`)),
  ...MODES.map((mode) => `<disk name='vda'${mode}><source file='/x/y'/></disk>`),
  "<disk name='vda'><driver type='qed'/></disk>",
  "<disk name='vdd' type='block'><source dev='/dev/x'/></disk>",
  "<disk name='vdb' type='network'><source protocol='nbd' name='e'><host name='h'/></source></disk>",
  "<disk name='vda'/><disk name='vda'/>",
  "<disk name='vda'/><disk name='@IMG@/a.qcow2'/>",
  "<disk name='vdd' snapshot='no'/><disk name='vde' snapshot='no'/><disk name='vda' snapshot='external'/>",
  "<disk name='vdd' snapshot='no'/><disk name='vda'/><disk name='vdb'><source file='@IMG@/a.NAME'/></disk>",
  "<disk name='vdb' snapshot='external'><source file='/x'/></disk><disk name='vda' snapshot='internal'/>",
  NAMES.slice(0, 6)
    .map((name) => `<disk name='${name}'/>`)
    .join(''),
];

let libvirtd: Libvirtd;
let xlsnapd: Xlsnapd;
let images: string;
let clients: readonly RawClient[];

beforeAll(async () => {
  libvirtd = await startLibvirtd();
  xlsnapd = await Xlsnapd.start({ args: ['--upstream', libvirtd.socket] });
  images = await mkdtemp(join(tmpdir(), 'xlsnap-images-'));
  await chmod(images, 0o755);
  await mkdir(join(images, 'sub.dir'));
  for (const image of ['a.qcow2', 'b.img', 'sub.dir/c', 'cd.iso']) await writeFile(join(images, image), '');
  clients = [await RawClient.open(libvirtd.socket, 'test:///default'), await RawClient.open(xlsnapd.socket)];
});

afterAll(async () => {
  for (const client of clients) client[Symbol.dispose]();
  await xlsnapd?.[Symbol.asyncDispose]();
  await libvirtd?.[Symbol.asyncDispose]();
  await rm(images, { recursive: true });
});

/** What each of the two makes of a document: the list of disks, or what it says. */
async function answers(domain: DomainRef, name: string, xml: string): Promise<readonly (string | undefined)[]> {
  return await Promise.all(
    clients.map(async (client) => {
      const { header, bytes } = await client.reply(
        client.send(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml, flags: CREATE.REDEFINE }),
      );
      if (header.status === STATUS.ERROR) return decodePayload(remoteError, bytes).message ?? undefined;
      const shown = await client.reply(
        client.send(P.DOMAIN_SNAPSHOT_GET_XML_DESC, { snapshot: { name, domain }, flags: 0 }),
      );
      const document = decodePayload(P.DOMAIN_SNAPSHOT_GET_XML_DESC.result, shown.bytes).value;
      return /^ {2}<memory[\s\S]*(?=^ {2}<domain )/m.exec(document)?.[0];
    }),
  );
}

test.each(['multi', 'modes', 'nodisk'])(
  '%s',
  async (domain) => {
    const xml = (await readFile(join(DOMAINS, `${domain}.xml`), 'utf8')).replaceAll('@IMG@', images);
    const [direct] = clients;
    const defined = await direct?.reply(direct.send(P.DOMAIN_DEFINE_XML, { xml }));
    if (!defined) throw new Error('no libvirtd');
    const ref = decodePayload(P.DOMAIN_DEFINE_XML.result, defined.bytes).domain;
    let count = 0;
    for (const state of STATES) {
      for (const memory of MEMORIES) {
        for (const disks of memory === '' && THOROUGH.includes(state) ? DISKS : DISKS.slice(0, FEW)) {
          const name = `n${++count}`;
          const list = disks.replaceAll('@IMG@', images).replaceAll('NAME', name);
          const document = `<domainsnapshot><name>${name}</name><state>${state}</state><creationTime>1</creationTime>${memory}<disks>${list}</disks>${xml}</domainsnapshot>`;
          const [libvirts, ours] = await answers(ref, name, document);
          expect([state, memory, list, ours]).toEqual([state, memory, list, libvirts]);
        }
      }
    }
    expect(count).toBeGreaterThan(200);
  },
  TIMEOUT_MS,
);
