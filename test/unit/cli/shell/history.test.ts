import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { historyFile, readHistory, writeHistory } from '../../../../src/cli/shell/history.ts';

let home: string;
let file: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'xlsnap-history-'));
  file = historyFile({ XDG_CACHE_HOME: home });
});
afterEach(() => rmSync(home, { recursive: true }));

test('lines come back, the newest first, from a file of the user alone; fewer lines leave nothing of more', () => {
  expect(readHistory(file)).toEqual([]);
  writeHistory(file, ['third', 'second', 'first']);
  expect(readHistory(file)).toEqual(['third', 'second', 'first']);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  writeHistory(file, ['only']);
  expect(readFileSync(file, 'utf8')).toBe('only\n');
});

test('a link in its place is not followed, a pipe not waited for', () => {
  writeHistory(file, []);
  const other = join(home, 'other');
  writeFileSync(other, 'not a history');
  rmSync(file);
  symlinkSync(other, file);
  expect(() => writeHistory(file, ['line'])).toThrow('ELOOP');
  expect(readHistory(file)).toEqual([]);
  expect(readFileSync(other, 'utf8')).toBe('not a history');
  rmSync(file);
  execFileSync('mkfifo', [file]);
  expect(readHistory(file)).toEqual([]);
  expect(() => writeHistory(file, ['line'])).toThrow();
});
