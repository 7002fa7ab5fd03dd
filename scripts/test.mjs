// npm test: installs missing packages, checks, builds, runs the tests, names the skipped ones, and ends with one line:
// N passed, N failed.
// --fast leaves out the tests that take long, the other versions of Node, the other systems, and the lab (real Xen under QEMU).
// Of the lab's matrix only a part is run.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JEST, JEST_ENVIRONMENT, WORKERS } from './jest.mjs';
import { build, NODE_VERSIONS, onNode, run, setup } from './setup.mjs';
import { NPM_TEST_PART, RELEASED_SYSTEMS, runIn, systemRoot } from './systems.mjs';

const fast = process.argv.includes('--fast');

/**
 * The part of the matrix of snapshots on real Xen that is run: every refusal, and for each type of guest the snapshot with
 * the most parts. `npm run test:lab` runs all of it and the faults around the suspend: an hour under emulation.
 */
const MATRIX_PART =
  'refused|guest memory external, disks external.external$|pvh guest memory none, disks internal.external|pvh? guest reboots|plain virsh restore';

/** The tests of parts that depend on Node's version: FFI, the XML parser in WebAssembly, sockets, D-Bus, the whole daemon. */
const EVERY_NODE_PART = [
  ...['unit/native', 'unit/libxl/helper', 'unit/libxl/structs', 'unit/xml/engine', 'unit/xml/snapshot'],
  ...['property/xml-foreign-writer', 'unit/rpc/wire', 'unit/rpc/fixtures', 'unit/dbus'],
  ...['integration/standalone', 'integration/dbus.test'],
].map((path) => `test/${path}`);

/** Starts jest by these words, and returns its exit status. */
const startedBy = (words, environment) => (args) => {
  const [file, ...before] = words;
  const env = { ...process.env, ...JEST_ENVIRONMENT, ...environment };
  return spawnSync(file, [...before, ...args], { stdio: ['ignore', 'ignore', 'inherit'], env }).status;
};

/** Runs jest and returns its counts. A run that gave no counts has failed as a whole. */
function jest(name, args, start = startedBy([process.execPath, JEST])) {
  const report = join(scratch, `${name}.json`);
  const status = start([...args, '--json', `--outputFile=${report}`]);
  try {
    const counts = JSON.parse(readFileSync(report, 'utf8'));
    const { numPassedTests, numFailedTests, numFailedTestSuites } = counts;
    // With -t all other tests count as skipped.
    if (!args.includes('-t')) reportSkipped(counts);
    const failed = numFailedTests || numFailedTestSuites || (status === 0 && numPassedTests > 0 ? 0 : 1);
    process.stdout.write(`${name}: ${numPassedTests} passed, ${failed} failed\n`);
    return { passed: numPassedTests, failed };
  } catch (error) {
    process.stdout.write(`${name}: no counts: ${error.message}\n`);
    return { passed: 0, failed: 1 };
  }
}

/** On another system: in its root folder, and on hosts of their own. */
function jestOn(system) {
  try {
    const environment = { XLSNAP_SYSTEM_ROOT: systemRoot(system) };
    const onHosts = startedBy([process.execPath, JEST], environment);
    const inRoot = (args) => runIn(system, scratch, ['node', JEST, ...args], JEST_ENVIRONMENT);
    const kinds = ['--selectProjects', 'unit', 'property', 'integration', WORKERS];
    return [
      jest(system, [...kinds, ...NPM_TEST_PART.root], inRoot),
      jest(`${system}, hosts`, ['--selectProjects', 'long', '--runInBand', ...NPM_TEST_PART.hosts], onHosts),
    ];
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    return [{ passed: 0, failed: 1 }];
  }
}

/** A skipped test is reported: its name gives the reason. */
function reportSkipped({ testResults }) {
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  for (const { fullName } of tests.filter(({ status }) => status === 'pending')) {
    process.stdout.write(`skipped: ${fullName}\n`);
  }
}

setup('test', ...(fast ? [] : ['clients', 'systems', 'lab']));
run('npm', ['run', '--silent', 'check']);
build();
const scratch = mkdtempSync(join(tmpdir(), 'xlsnap-test-'));
const kinds = ['unit', 'property', 'integration', 'hostile', ...(fast ? [] : ['long'])];
const runs = [jest('fast', ['--selectProjects', ...kinds, WORKERS])];
if (!fast) {
  for (const version of NODE_VERSIONS) {
    const args = ['--selectProjects', 'unit', 'property', 'integration', WORKERS, ...EVERY_NODE_PART];
    runs.push(jest(`node-${version}`, args, startedBy(onNode(version, JEST))));
  }
  for (const system of RELEASED_SYSTEMS) runs.push(...jestOn(system));
  const lab = ['--selectProjects', 'lab', '--runInBand'];
  runs.push(jest('lab', [...lab, 'test/lab/host', 'test/lab/install', 'test/lab/snapshots']));
  runs.push(jest('matrix', [...lab, '-t', MATRIX_PART, 'test/lab/matrix']));
}
rmSync(scratch, { recursive: true });

const sum = (key) => runs.reduce((total, counts) => total + counts[key], 0);
process.stdout.write(`${sum('passed')} passed, ${sum('failed')} failed\n`);
process.exitCode = sum('failed') > 0 || sum('passed') === 0 ? 1 : 0;
