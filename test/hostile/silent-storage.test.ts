/**
 * Images whose storage never answers, as on a dead NFS server: a FUSE file system that nobody serves. Other domains are served,
 * what needs such an image is refused with its name, and the daemon stops when it is asked to.
 */

import { spawnSync } from 'node:child_process';
import { type FileHandle, mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { describeUnless } from '../support/describe-unless.ts';
import { newImage } from '../support/hosts/embedded.ts';

/** More than Node has threads for files. */
const DOMAINS = ['vm1', 'vm2', 'vm3', 'vm4', 'vm5', 'vm6'];
const PROMPT_MS = 8_000;
const STOP_MS = 8_000;

const device = await open('/dev/fuse', 'r+').catch(() => undefined);

describeUnless(device ? undefined : 'no /dev/fuse', 'storage that does not answer', () => {
  let daemon: Xlsnapd;
  const folder = () => join(daemon.home, 'silent');

  beforeAll(async () => {
    daemon = await Xlsnapd.start();
    await mkdir(folder());
    for (const name of DOMAINS) {
      const image = await newImage(join(folder(), `${name}.qcow2`));
      const xml = `<domain type='xen'><name>${name}</name><memory>4096</memory><os><type>hvm</type></os><devices>
        <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='xvda'/></disk>
      </devices></domain>`;
      await writeFile(join(daemon.home, 'vm.xml'), xml);
      await daemon.ok('define', join(daemon.home, 'vm.xml'));
    }
    mountUnserved(device as FileHandle, folder());
  });

  afterAll(async () => {
    spawnSync('umount', ['-l', folder()]);
    await device?.close();
    await daemon[Symbol.asyncDispose]();
  });

  test('stops neither other domains nor the daemon', async () => {
    const refused = DOMAINS.map((name) => daemon.refused('snapshot-create-as', name, 's1'));
    for (const name of ['s1', 's2']) {
      const begun = performance.now();
      await daemon.ok('snapshot-create-as', 'test', name);
      expect(performance.now() - begun).toBeLessThan(PROMPT_MS);
    }
    for (const [index, name] of DOMAINS.entries()) {
      const text = `the storage of '${join(folder(), `${name}.qcow2`)}' has not answered for 10 seconds`;
      expect(await refused[index]).toContain(text);
    }
    expect(await daemon.refused('snapshot-create-as', 'vm1', 's1')).toContain('has not answered for 10 seconds');
    // Nobody can know whether one of them has an image of this domain below its own.
    expect(await daemon.refused('snapshot-revert', 'test', 's1')).toContain(
      "domain 'vm1' (disk 'xvda') may use the same images",
    );
    const begun = performance.now();
    await daemon.stop();
    expect(performance.now() - begun).toBeLessThan(STOP_MS);
    expect(daemon.log).toContain('stopping on SIGTERM');
  });
});

/** Every question about what is in it waits for an answer. */
function mountUnserved(fuse: FileHandle, folder: string): void {
  const options = 'fd=3,rootmode=40000,user_id=0,group_id=0';
  const { status, stderr } = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'silent', folder], {
    stdio: ['ignore', 'ignore', 'pipe', fuse.fd],
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
}
