// npm run check: formatting and lint, types, import directions.

import { run } from './setup.mjs';

run('npx', ['biome', 'check', '--error-on-warnings', '.']);
run('npx', ['tsc', '-p', 'tsconfig.json']);
run('npx', ['jest', '--selectProjects', 'unit', '--silent', 'test/unit/import-directions.test.ts'], {
  NODE_OPTIONS: '--experimental-vm-modules',
});
