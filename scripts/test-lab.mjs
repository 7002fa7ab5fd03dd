// npm run test:lab: everything that is tested on real Xen, the whole matrix of snapshots and the faults around the suspend too.

import { jest } from './jest.mjs';
import { build, setup } from './setup.mjs';

setup('lab');
build();
jest(['lab'], '--runInBand', ...process.argv.slice(2));
