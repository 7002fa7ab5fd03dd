// npm run unit | property | integration | hostile | long -- [PATH ...] [-t NAME]: tests of one kind; and how every script starts jest.

import { join } from 'node:path';
import { build, ROOT, run } from './setup.mjs';

/** Jest's own program, for any Node. */
export const JEST = join(ROOT, 'node_modules/jest/bin/jest.js');

/** Jest loads modules of ES only so. */
export const JEST_ENVIRONMENT = { NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning' };

/** Three at a time, also on two cores: integration tests mostly wait for the programs they start. */
export const WORKERS = '--maxWorkers=3';

/** Runs tests; ends this process if one fails. `kinds` are projects of jest.config.mjs. */
export function jest(kinds, ...args) {
  run(process.execPath, [JEST, '--selectProjects', ...kinds, ...args], JEST_ENVIRONMENT);
}

if (process.argv[1] === import.meta.filename) {
  const [kind, ...args] = process.argv.slice(2);
  // The others run what the build has made.
  if (!['unit', 'property'].includes(kind)) build();
  jest([kind], WORKERS, ...args);
}
