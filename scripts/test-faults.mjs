// npm run test:faults: every fault in every step of every operation on the embedded host, the soak, a million mutated documents,
// frames and streams of frames, users who swap files, and two thousand domains of which a snapshot keeps all; most print their
// numbers. --lab adds the steps around the suspend on real Xen.

import { jest } from './jest.mjs';
import { build, setup } from './setup.mjs';

const lab = process.argv.includes('--lab');

setup('test', ...(lab ? ['lab'] : []));
build();
jest(['faults'], '--runInBand');
process.env.XLSNAP_FUZZ_DOCUMENTS ??= '1000000';
jest(['long'], '--runInBand', 'test/long/mutated');
// Judged by a model of libvirtd's reader, and a part of them by the real one.
Object.assign(process.env, { XLSNAP_FUZZ_STREAMS: '1000000', XLSNAP_JUDGED_STREAMS: '50000' });
Object.assign(process.env, { XLSNAP_STREAM_RUNS: '500', XLSNAP_SWAP_ROUNDS: '40' });
jest(['hostile'], '--runInBand', 'test/hostile/mutated-bytes', 'test/hostile/streams', 'test/hostile/swapped-files');
process.env.XLSNAP_KEPT_RUNS ??= '2000';
jest(['property'], '--runInBand', 'test/property/kept');
if (lab) jest(['lab'], '--runInBand', 'test/lab/faults');
