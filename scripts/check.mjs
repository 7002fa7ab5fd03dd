// npm run check: formatting and lint, types, import directions, no marks of a merge that was left half-way.

import { spawnSync } from 'node:child_process';
import { jest } from './jest.mjs';
import { ROOT, run } from './setup.mjs';

run('npx', ['biome', 'check', '--error-on-warnings', '.']);
run('npx', ['tsc', '-p', 'tsconfig.json']);
jest(['unit'], '--silent', 'test/unit/import-directions.test.ts');

const marks = spawnSync('git', ['grep', '-nE', '^(<{7}|>{7}) '], { cwd: ROOT, encoding: 'utf8' });
if (marks.status !== 1) {
  process.stderr.write(`marks of a conflict are left:\n${marks.stdout}${marks.stderr}`);
  process.exit(1);
}
