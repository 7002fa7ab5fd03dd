// npm run test:lab: everything that is tested on real Xen, the whole matrix of snapshots and the faults around the suspend too.

import { build, run, setup } from './setup.mjs';

setup('lab');
build();
run('npx', ['jest', '--selectProjects', 'lab', '--runInBand', ...process.argv.slice(2)], {
  NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning',
});
