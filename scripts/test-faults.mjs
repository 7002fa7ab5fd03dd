// npm run test:faults: every fault in every step of every operation on the embedded host, the soak, and a million mutated documents
// and frames; each prints its numbers. --lab adds the steps around the suspend on real Xen.

import { build, run, setup } from './setup.mjs';

const lab = process.argv.includes('--lab');
const environment = { NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning' };
const jest = (...args) => run('npx', ['jest', '--runInBand', '--selectProjects', ...args], environment);

setup('test', ...(lab ? ['lab'] : []));
build();
jest('faults');
jest('long', '--', 'test/long/mutated');
if (lab) jest('lab', '--', 'test/lab/faults');
