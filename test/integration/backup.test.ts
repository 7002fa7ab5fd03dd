/** Every command of docs/backup.md, in its order, as it stands there: on another guest's paths. */

import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';

const run = promisify(execFile);
const PAGE = resolve(import.meta.dirname, '../../docs/backup.md');

let host: Xlsnapd;

beforeAll(async () => {
  host = await Xlsnapd.start();
  for (const folder of ['images', 'backup']) await mkdir(join(host.home, folder));
  const image = join(host.home, 'images/g.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '16M']);
  const xml = join(host.home, 'g.xml');
  await writeFile(
    xml,
    `<domain type='xen'><name>g</name><memory unit='MiB'>1</memory><os><type>hvm</type></os><devices>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='xvda' bus='xen'/></disk>
    </devices></domain>`,
  );
  await host.ok('define', xml);
  await host.ok('start', 'g');
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(host.home, { recursive: true, force: true });
});

/** The commands of the page's console blocks, each with what it prints. */
async function shown(): Promise<readonly { readonly command: string; readonly prints: string }[]> {
  const blocks = [...(await readFile(PAGE, 'utf8')).matchAll(/^```console\n([\s\S]*?)^```/gm)].map(
    ([, text = '']) => text,
  );
  return blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .filter(Boolean)
      .map((part) => {
        const [command = '', ...lines] = part.split('\n');
        return { command, prints: lines.join('\n') };
      }),
  );
}

const words = (text: string): readonly string[] => text.split(/\s+/).filter((word) => word && !/^-+$/.test(word));

test('every command works, and prints what the page shows', async () => {
  const commands = await shown();
  expect(commands.length).toBeGreaterThan(5);
  for (const { command, prints } of commands) {
    const here = (text: string): string => text.replace(/\/(images|backup)\//g, `${host.home}/$1/`);
    const [program = '', ...args] = here(command).split(' ');
    const printed = program === 'virsh' ? await host.ok(...args) : (await run(program, args)).stdout;
    const expected = words(here(prints));
    if (expected.length > 0) expect([command, words(printed)]).toEqual([command, expected]);
  }
  expect(
    (await run('qemu-img', ['compare', join(host.home, 'backup/g.qcow2'), '-U', join(host.home, 'images/g.qcow2')]))
      .stdout,
  ).toMatch(/^Images are identical/);
  expect(await host.ok('snapshot-list', 'g', '--name')).toBe('');
});
