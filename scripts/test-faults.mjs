// npm run test:faults: every fault in every step of every operation on the embedded host, the soak, and a million mutated documents
// and frames; each prints its numbers. --lab adds the steps around the suspend on real Xen.

import { jest } from './jest.mjs';
import { build, setup } from './setup.mjs';

const lab = process.argv.includes('--lab');

setup('test', ...(lab ? ['lab'] : []));
build();
jest(['faults'], '--runInBand');
process.env.XLSNAP_FUZZ_DOCUMENTS ??= '1000000';
jest(['long'], '--runInBand', 'test/long/mutated');
if (lab) jest(['lab'], '--runInBand', 'test/lab/faults');
