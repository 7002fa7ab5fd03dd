// npm run test:systems -- [SYSTEM ...] [PATH ...]: on every other system, or on those that are named, the fast tests in its root
// folder, with its own libvirt, QEMU and Node, `npm run demo` there, and the tests that boot a host of their own under its systemd,
// on which the Debian package is installed as README says; or the tests that are named. A system's root folder takes some minutes
// to make, once, and 1.2 GB. Meant for every night.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JEST, JEST_ENVIRONMENT, jest, WORKERS } from './jest.mjs';
import { build, setup } from './setup.mjs';
import { DEMO, FAST_TESTS, HOST_TESTS, PACKING_TESTS, runIn, SYSTEMS, systemRoot } from './systems.mjs';

const words = process.argv.slice(2);
const named = words.filter((word) => SYSTEMS.includes(word));
const paths = words.filter((word) => !SYSTEMS.includes(word));
const chosen = (known, isKnown) => (paths.length > 0 ? paths.filter(isKnown) : known);
const onHosts = chosen(HOST_TESTS, (path) => path.startsWith('test/long/'));
const inRoots = chosen(FAST_TESTS, (path) => !path.startsWith('test/long/'));

setup('test', 'systems');
build();
const results = mkdtempSync(join(tmpdir(), 'xlsnap-systems-'));
for (const name of named.length > 0 ? named : SYSTEMS) {
  process.env.XLSNAP_SYSTEM_ROOT = systemRoot(name);
  process.stdout.write(`${name}: ${process.env.XLSNAP_SYSTEM_ROOT}\n`);
  const kinds = ['--selectProjects', 'unit', 'property', 'integration', 'hostile', WORKERS];
  const command = ['node', JEST, ...inRoots, ...kinds, '--testPathIgnorePatterns', ...PACKING_TESTS];
  if (inRoots.length > 0 && (await runIn(name, results, command, JEST_ENVIRONMENT)) !== 0) process.exitCode = 1;
  if (paths.length === 0 && (await runIn(name, results, DEMO)) !== 0) {
    process.stderr.write(`${name}: npm run demo failed\n`);
    process.exitCode = 1;
  }
  if (onHosts.length > 0) jest(['long'], '--runInBand', ...onHosts);
}
rmSync(results, { recursive: true });
