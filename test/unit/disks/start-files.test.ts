/** Files that a start opens or makes: refused by kind before anything ends for it. */

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { requireStartFiles } from '../../../src/disks/start-files.ts';
import type { FileAccess } from '../../../src/model/domain.ts';
import { refusal } from '../../support/refusal.ts';

let folder: string;
let server: Server;
const at = (name: string) => (name.startsWith('/') ? name : join(folder, name));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xls-'));
  await writeFile(at('file'), '', { mode: 0o755 });
  await mkdir(at('folder'));
  await promisify(execFile)('mkfifo', [at('pipe')]);
  await new Promise<void>((resolve) => {
    server = createServer().listen(at('socket'), resolve);
  });
});

afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

const NO_DATA = 'it is neither a file nor a block device';
const CASES: readonly (readonly [FileAccess, readonly string[], Readonly<Record<string, string>>])[] = [
  ['read', ['file'], { folder: NO_DATA, pipe: NO_DATA, '/dev/null': NO_DATA, gone: 'No such file or directory' }],
  ['write', ['file'], { folder: NO_DATA, socket: NO_DATA, gone: 'No such file or directory' }],
  ['execute', ['file'], { folder: NO_DATA, gone: 'No such file or directory' }],
  ['folder', ['folder'], { file: 'it is not a folder', gone: 'No such file or directory' }],
  ['device', ['/dev/null'], { file: 'it is not a character device', gone: 'No such file or directory' }],
  ['pipe', ['pipe'], { file: 'it is not a pipe', gone: 'No such file or directory' }],
  ['create', ['file', 'new', '/dev/null'], { folder: 'it is a folder', 'gone/new': 'No such file or directory' }],
  ['bind', ['socket', 'new'], { folder: 'it is a folder', 'gone/new': 'No such file or directory' }],
  ['connect', ['socket'], { file: 'it is not a socket', gone: 'No such file or directory' }],
];

test.each(CASES)('%s: %j, and nothing else', async (access, right, wrong) => {
  for (const name of right) await requireStartFiles([{ role: 'part', path: at(name), access }]);
  for (const [name, reason] of Object.entries(wrong)) {
    const { code, detail } = await refusal(requireStartFiles([{ role: 'part', path: at(name), access }]));
    expect({ code, detail }).toEqual({
      code: 'OPERATION_INVALID',
      detail: `cannot open '${at(name)}' (part), which the domain would be started with: ${reason}`,
    });
  }
});

test('a pipe that is two files is not opened by its own name', async () => {
  const pipe = { role: 'part', path: at('two'), access: 'pipe', unless: at('two.in') } as const;
  await expect(requireStartFiles([pipe])).rejects.toThrow('No such file');
  await writeFile(at('two.in'), '');
  await requireStartFiles([pipe]);
});
