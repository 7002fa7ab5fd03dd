/**
 * Clients name files that xlsnapd, as root, writes and removes: its own are not among them, nor another snapshot's memory. Who
 * may take snapshots of one domain could else destroy those of all others.
 */

import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { newImage } from '../support/hosts/embedded.ts';

const A = '11111111-2222-3333-4444-00000000000a';
const B = '11111111-2222-3333-4444-00000000000b';

let daemon: Xlsnapd;
const at = (...names: readonly string[]) => join(daemon.home, ...names);

/** Files of the daemon's own, and the folder of each that is named. */
const OWN = () => [
  [at('memory', B, 's1.save'), at('memory')],
  [at('memory', A, 's1.save'), at('memory')],
  [at('snapshot/b/s1.xml'), at('snapshot')],
  [at('state/journal/record.json'), at('state/journal')],
  [at('state/.xlsnapd.lock'), at('state/.xlsnapd.lock')],
];

beforeAll(async () => {
  daemon = await Xlsnapd.start();
  await mkdir(at('state/journal'), { recursive: true });
  await writeFile(at('state/journal/record.json'), 'a record');
  for (const [name, uuid] of [
    ['a', A],
    ['b', B],
  ] as const) {
    await writeFile(
      at(`${name}.xml`),
      `<domain type='test'><name>${name}</name><uuid>${uuid}</uuid><memory>4096</memory><os><type>hvm</type></os><devices>
        <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${await newImage(at(`${name}.qcow2`))}'/>
        <target dev='vda'/></disk></devices></domain>`,
    );
    await daemon.ok('define', at(`${name}.xml`));
    await daemon.ok('start', name);
    await daemon.ok('snapshot-create-as', name, 's1');
  }
});

afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
});

async function unchanged(path: string, work: () => Promise<void>): Promise<void> {
  const before = await readFile(path);
  await work();
  expect(before.equals(await readFile(path))).toBe(true);
}

/** Redefines a snapshot of `a` whose document names this file as its memory. */
async function forged(name: string, file: string): Promise<void> {
  const xml = (await daemon.ok('snapshot-dumpxml', 'a', 's1'))
    .replace('<name>s1</name>', `<name>${name}</name>`)
    .replace(/<memory snapshot='internal'\/>/, `<memory snapshot='external' file='${file}'/>`)
    .replace(/(<disk name='vda' snapshot=)'internal'/, "$1'no'");
  expect(xml).toContain(file);
  await writeFile(at('forged.xml'), xml);
  await daemon.ok('snapshot-create', 'a', at('forged.xml'), '--redefine');
}

test('a delete does not remove them, whatever a redefined document says is the memory', async () => {
  for (const [path = '', own = ''] of OWN()) {
    await forged('f', path);
    await unchanged(path, async () => {
      const text = `file '${path}', the memory of snapshot 'f' of domain 'a', is among xlsnapd's own files, '${own}'`;
      const refusal = await daemon.refused('snapshot-delete', 'a', 'f');
      expect(refusal).toContain(text);
      expect(refusal).toContain('virsh snapshot-delete a f --metadata');
      await daemon.ok('snapshot-delete', 'a', 'f', '--metadata');
    });
  }
});

test('nor the disk of a domain, nor a socket', async () => {
  for (const [path, why] of [
    [at('b.qcow2'), "an image that domain 'b' (disk 'vda') uses"],
    [at('a.qcow2'), "an image that domain 'a' (disk 'vda') uses"],
    [at('sock-ro'), 'not a regular file'],
  ] as const) {
    await forged('f', path);
    expect(await daemon.refused('snapshot-delete', 'a', 'f')).toContain(`is ${why}`);
    await daemon.ok('snapshot-delete', 'a', 'f', '--metadata');
  }
  await daemon.ok('--readonly', 'list');
  await daemon.ok('snapshot-revert', 'b', 's1');
});

test('nor any file that no save of this domain has written, nor what is beside it', async () => {
  await writeFile(at('letter'), 'not memory');
  await copyFile(at('memory', B, 's1.save'), at('b.save'));
  await copyFile(at('memory', A, 's1.save'), at('a.save'));
  await writeFile(at('a.save.partial'), 'not the rest of a save');
  for (const [file, about, why] of [
    [at('letter'), at('letter'), 'not a memory image'],
    [at('b.save'), at('b.save'), `a memory image of another domain, with UUID ${B}`],
    [at('a.save'), at('a.save.partial'), 'not a memory image'],
  ] as const) {
    await forged('f', file);
    await unchanged(about, async () => {
      const text = `file '${about}', the memory of snapshot 'f' of domain 'a', is ${why}`;
      expect(await daemon.refused('snapshot-delete', 'a', 'f')).toContain(text);
      await daemon.ok('snapshot-delete', 'a', 'f', '--metadata');
      const spec = ['--diskspec', 'vda,snapshot=no', '--memspec', file, '--reuse-external'];
      const refusal = await daemon.refused('snapshot-create-as', 'a', 'f', ...spec);
      expect(refusal).toContain(about === file ? "neither empty nor memory of 'a'" : `written as '${about}' first`);
    });
  }
  await rm(at('a.save.partial'));
  await forged('f', at('a.save'));
  await daemon.ok('snapshot-delete', 'a', 'f');
  await expect(readFile(at('a.save'))).rejects.toThrow('ENOENT');
});

test('no memory, overlay or copy is written among them, also with --reuse-external', async () => {
  const memory = ['--diskspec', 'vda,snapshot=no', '--memspec'];
  for (const [path = '', own = ''] of OWN()) {
    await unchanged(path, async () => {
      const among = `is among xlsnapd's own files, '${own}'`;
      const create = ['snapshot-create-as', 'a', 's2'];
      for (const refused of [
        await daemon.refused(...create, ...memory, path, '--reuse-external'),
        await daemon.refused(...create, '--disk-only', '--diskspec', `vda,file=${path}`, '--reuse-external'),
        await daemon.refused('blockcopy', 'a', 'vda', path, '--format', 'raw', '--reuse-external', '--transient-job'),
      ]) {
        expect(refused).toContain(among);
      }
    });
  }
  const fresh = at('snapshot/b/new.xml');
  expect(await daemon.refused('snapshot-create-as', 'a', 's2', ...memory, fresh)).toContain('own files');
  expect(await daemon.ok('snapshot-list', 'b', '--name')).toBe('s1');
});
