import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import {
  checkInternalSnapshots,
  createInternalSnapshots,
  deleteInternalSnapshots,
  diskNode,
  queryBlockNodes,
} from '../../../src/disks/internal-snapshots.ts';
import { LibvirtError } from '../../../src/errors.ts';
import { StorageDaemon } from '../../../src/hosts/test-storage-daemon.ts';
import { snapshotsIn } from '../../support/images.ts';
import {
  checkImage,
  disk,
  hasPattern,
  nbdUri,
  newImage,
  qemuImg,
  scratchFolder,
  writePattern,
} from '../hosts/embedded.ts';

const { signal } = new AbortController();

/** A device model with two qcow2 disks and a raw one. */
async function deviceModel() {
  const folder = await scratchFolder();
  const [a, b, raw] = [join(folder.path, 'a.qcow2'), join(folder.path, 'b,b.qcow2'), join(folder.path, 'c.raw')];
  await newImage(a);
  await newImage(b);
  await qemuImg('create', '-q', '-f', 'raw', raw, '8M');
  const disks = [disk('xvda', a), disk('xvdb', b), disk('xvdc', raw, 'raw')].map((each) => each.disk);
  const daemon = await StorageDaemon.start(folder.path, 1, disks);
  const nodes = [daemon.node('xvda'), daemon.node('xvdb')];
  return {
    ...{ a, b, daemon, nodes, socket: daemon.qmpSocket, folder: folder.path },
    stop: () => daemon[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: async () => {
      await daemon[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe('snapshots of a live disk', () => {
  test('two disks in one transaction hold what was in them at that moment', async () => {
    await using model = await deviceModel();
    const { a, b, daemon, nodes, socket } = model;
    for (const name of ['xvda', 'xvdb']) await writePattern(nbdUri(daemon.nbdSocket, name), 'raw', 0x11);
    await createInternalSnapshots({ socket, name: 's1', nodes, signal });
    for (const name of ['xvda', 'xvdb']) await writePattern(nbdUri(daemon.nbdSocket, name), 'raw', 0x22);
    expect(await hasPattern(nbdUri(daemon.nbdSocket, 'xvda'), 'raw', 0x22)).toBe(true);
    await model.stop();
    for (const image of [a, b]) {
      expect(await snapshotsIn(image)).toEqual(['s1']);
      expect(await hasPattern(image, 'qcow2', 0x11)).toBe(false);
      await qemuImg('snapshot', '-a', 's1', image);
      expect(await hasPattern(image, 'qcow2', 0x11)).toBe(true);
      await checkImage(image);
    }
  });

  test('a name that one image has already is refused, and the other image gets nothing', async () => {
    await using model = await deviceModel();
    const { a, b, nodes, socket } = model;
    await createInternalSnapshots({ socket, name: 's1', nodes: nodes.slice(1), signal });
    const text = `operation failed: disk 'xvdb' already has an internal snapshot 's1' in '${b}': choose another name`;
    await expect(checkInternalSnapshots({ socket, name: 's1', nodes, signal })).rejects.toThrow(text);
    await expect(createInternalSnapshots({ socket, name: 's1', nodes, signal })).rejects.toThrow(text);
    expect(await snapshotsIn(a)).toEqual([]);
    expect(await snapshotsIn(b)).toEqual(['s1']);
  });

  test('QEMU takes the whole transaction back when one action fails', async () => {
    await using model = await deviceModel();
    const { a, nodes, socket } = model;
    await expect(
      createInternalSnapshots({ socket, name: 's1', nodes: [...nodes, ...nodes.slice(0, 1)], signal }),
    ).rejects.toThrow(
      /^operation failed: transaction of internal snapshot 's1' of disk 'xvda', disk 'xvdb', disk 'xvda' failed: .*already exists/,
    );
    expect(await snapshotsIn(a)).toEqual([]);
    await createInternalSnapshots({ socket, name: 's1', nodes, signal });
    expect(await snapshotsIn(a)).toEqual(['s1']);
  });

  test('deleting twice is fine, and leaves clean images', async () => {
    await using model = await deviceModel();
    const { a, b, nodes, socket } = model;
    await createInternalSnapshots({ socket, name: 's1', nodes, signal });
    await createInternalSnapshots({ socket, name: 's2', nodes, signal });
    await deleteInternalSnapshots({ socket, name: 's1', nodes, signal });
    await deleteInternalSnapshots({ socket, name: 's1', nodes, signal });
    await model.stop();
    for (const image of [a, b]) {
      expect(await snapshotsIn(image)).toEqual(['s2']);
      await checkImage(image);
    }
  });

  test('no disks is no work, not even a connection', async () => {
    const nothing = { socket: '/nonexistent', name: 's1', nodes: [], signal };
    await createInternalSnapshots(nothing);
    await deleteInternalSnapshots(nothing);
  });

  test('a raw disk is refused with code 67, naming it', async () => {
    await using model = await deviceModel();
    const { daemon, socket, nodes } = model;
    const refused = checkInternalSnapshots({ socket, name: 's1', nodes: [...nodes, daemon.node('xvdc')], signal });
    await expect(refused).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: 'internal snapshot for disk xvdc unsupported for storage type raw',
    });
  });

  test('a node that QEMU does not have is refused, naming disk and node', async () => {
    await using model = await deviceModel();
    const nodes = [{ disk: 'xvdz', node: 'xvdz-qcow2' }];
    await expect(queryBlockNodes({ socket: model.socket, nodes, signal })).rejects.toThrow(
      "operation failed: the device model has no node 'xvdz-qcow2' for disk 'xvdz'",
    );
  });

  test('what QEMU has is told in the order it was asked for', async () => {
    await using model = await deviceModel();
    const { a, b, socket } = model;
    const nodes = model.nodes.toReversed();
    await createInternalSnapshots({ socket, name: 's1', nodes, signal });
    expect(await queryBlockNodes({ socket, nodes, signal })).toEqual([
      { disk: 'xvdb', node: 'xvdb-qcow2', driver: 'qcow2', path: b, snapshots: ['s1'] },
      { disk: 'xvda', node: 'xvda-qcow2', driver: 'qcow2', path: a, snapshots: ['s1'] },
    ]);
  });
});

test('node names are those of xen-block', () => {
  expect(diskNode({ vdev: 'xvda', format: 'qcow2' })).toEqual({ disk: 'xvda', node: 'xvda-qcow2' });
  expect(diskNode({ vdev: 'hdb', format: 'vhd' })).toEqual({ disk: 'hdb', node: 'hdb-vpc' });
  expect(diskNode({ vdev: 'xvdc' })).toEqual({ disk: 'xvdc', node: 'xvdc-raw' });
});

describe('a lost reply', () => {
  /** Passes everything on to QEMU but cuts the connection when QEMU answers this command. */
  async function cuttingProxy(socket: string, path: string, command: string) {
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
      client.on('close', () => qemu.destroy());
    });
    await new Promise<void>((listening) => server.listen(path, listening));
    return { [Symbol.asyncDispose]: () => new Promise<void>((closed) => server.close(() => closed())) };
  }

  test('what the transaction made all the same is deleted again', async () => {
    await using model = await deviceModel();
    const { a, b, nodes, folder } = model;
    const socket = join(folder, 'proxy');
    await using _ = await cuttingProxy(model.socket, socket, 'transaction');
    const refused = createInternalSnapshots({ socket, name: 's1', nodes, signal });
    await expect(refused).rejects.toBeInstanceOf(LibvirtError);
    await expect(refused).rejects.toThrow(/transaction of internal snapshot 's1' of disk 'xvda', disk 'xvdb' failed/);
    expect([...(await snapshotsIn(a)), ...(await snapshotsIn(b))]).toEqual([]);
  });

  test('of the question before it costs nobody a snapshot of that name', async () => {
    await using model = await deviceModel();
    const { a, nodes, folder } = model;
    await createInternalSnapshots({ socket: model.socket, name: 's1', nodes, signal });
    const socket = join(folder, 'proxy');
    await using _ = await cuttingProxy(model.socket, socket, 'query-named-block-nodes');
    await expect(createInternalSnapshots({ socket, name: 's1', nodes, signal })).rejects.toThrow(
      /query-named-block-nodes/,
    );
    expect(await snapshotsIn(a)).toEqual(['s1']);
  });
});
