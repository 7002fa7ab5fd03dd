// npm run check: formatting and lint, types, import directions.

import { jest } from './jest.mjs';
import { run } from './setup.mjs';

run('npx', ['biome', 'check', '--error-on-warnings', '.']);
run('npx', ['tsc', '-p', 'tsconfig.json']);
jest(['unit'], '--silent', 'test/unit/import-directions.test.ts');
