// npm run test:systems -- [PATH ...]: the tests on hosts of their own, or those of them that are named, on every other system: with
// its systemd, libvirt, polkit and Node. A system's root folder takes some minutes to make, once, and 1.2 GB.

import { jest } from './jest.mjs';
import { build, setup } from './setup.mjs';
import { HOST_TESTS, SYSTEMS, systemRoot } from './systems.mjs';

const paths = process.argv.slice(2);
setup('test', 'systems');
build();
for (const name of SYSTEMS) {
  process.env.XLSNAP_SYSTEM_ROOT = systemRoot(name);
  process.stdout.write(`${name}: ${process.env.XLSNAP_SYSTEM_ROOT}\n`);
  jest(['long'], '--runInBand', ...(paths.length > 0 ? paths : HOST_TESTS));
}
