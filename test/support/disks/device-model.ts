/** A running domain's device model: real images behind a real QEMU block layer, with the guest's side reachable over NBD. */

import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { StorageDaemon } from '../../../src/hosts/embedded/storage-daemon.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import { disk, hasPattern, nbdUri, newImage, qemuImg, scratchFolder, writePattern } from '../hosts/embedded.ts';

/** Two qcow2 disks and a raw one. */
export async function deviceModel() {
  const folder = await scratchFolder();
  const [a, b, raw] = [join(folder.path, 'a.qcow2'), join(folder.path, 'b,b.qcow2'), join(folder.path, 'c.raw')];
  await newImage(a);
  await newImage(b);
  await qemuImg('create', '-q', '-f', 'raw', raw, '8M');
  const disks = [disk('xvda', a), disk('xvdb', b), disk('xvdc', raw, 'raw')] as const;
  const daemon = await StorageDaemon.start(
    folder.path,
    1,
    disks.map((each) => each.disk),
  );
  return {
    ...{ a, b, raw, daemon, disks, folder: folder.path, socket: daemon.qmpSocket },
    monitor: async () => daemon.qmpSocket,
    /** Where nothing exists yet. */
    file: (name: string) => join(folder.path, name),
    write: (vdev: string, pattern: number) => writePattern(nbdUri(daemon.nbdSocket, vdev), 'raw', pattern),
    holds: (vdev: string, pattern: number) => hasPattern(nbdUri(daemon.nbdSocket, vdev), 'raw', pattern),
    stop: () => daemon[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: async () => {
      await daemon[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** An external snapshot of this disk. */
export function overlay(of: LibxlDiskSnapshot, external_path: string, more: Partial<LibxlDiskSnapshot> = {}) {
  return { disk: of.disk, external: true, external_format: 'qcow2', external_path, ...more } as LibxlDiskSnapshot;
}

/** The disk as it is after `path` has become its image. */
export function on(of: LibxlDiskSnapshot, path: string): LibxlDiskSnapshot {
  return disk(of.disk.vdev, path);
}

/** Passes everything on to QEMU but cuts the connection when QEMU answers this command. */
export async function cuttingProxy(socket: string, path: string, command: string) {
  const server = createServer((client) => {
    const qemu = createConnection({ path: socket });
    let cut = false;
    client.on('data', (data) => {
      cut ||= data.includes(`"execute":"${command}"`);
      qemu.write(data);
    });
    qemu.on('data', (data) => {
      if (cut) client.destroy();
      else client.write(data);
    });
    client.on('error', () => {}).on('close', () => qemu.destroy());
    qemu.on('error', () => {});
  });
  await new Promise<void>((listening) => server.listen(path, listening));
  return { [Symbol.asyncDispose]: () => new Promise<void>((closed) => server.close(() => closed())) };
}

/** Passes everything on to QEMU; before the command is passed on for the `nth` time, `before` happens. */
export async function pausingProxy(
  socket: string,
  path: string,
  { command, nth, before }: { readonly command: string; readonly nth: number; readonly before: () => Promise<void> },
) {
  let seen = 0;
  const server = createServer((client) => {
    const qemu = createConnection({ path: socket });
    client.on('data', async (data) => {
      if (data.includes(`"execute":"${command}"`) && ++seen === nth) await before();
      qemu.write(data);
    });
    qemu.on('data', (data) => client.write(data)).on('close', () => client.destroy());
    client.on('error', () => {}).on('close', () => qemu.destroy());
    qemu.on('error', () => {});
  });
  await new Promise<void>((listening) => server.listen(path, listening));
  return { [Symbol.asyncDispose]: () => new Promise<void>((closed) => server.close(() => closed())) };
}
