// npm test: installs missing packages, checks, builds, runs the tests, names the skipped ones, and ends with one line:
// N passed, N failed. The lab runs beside the others: its emulated host keeps one processor busy, and no more than one.
// --fast leaves out the tests that take long, the other versions of Node, the other systems, and the lab (real Xen under QEMU).
// Of the lab's matrix only a part is run.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
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

/** Starts jest by these words, and returns its exit status. `output`: a file for what it prints; absent: it is printed at once. */
const startedBy =
  (words, environment = {}) =>
  async (args, output = 'inherit') => {
    const [file, ...before] = words;
    const env = { ...process.env, ...JEST_ENVIRONMENT, ...environment };
    const child = spawn(file, [...before, ...args], { stdio: ['ignore', 'ignore', output], env });
    const [status] = await once(child, 'exit');
    return status;
  };

/** A lab host is slow in any case, and its tests count seconds: it goes first where others want its processor. */
const ON_LAB_HOST = ['nice', '-n', '-10', process.execPath, JEST];

/** Runs jest and returns its counts. A run that gave no counts has failed as a whole. */
async function jest(name, args, start = startedBy([process.execPath, JEST])) {
  const report = join(scratch, `${name}.json`);
  const status = await start([...args, '--json', `--outputFile=${report}`]);
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
async function jestOn(system) {
  const onHosts = startedBy([process.execPath, JEST], { XLSNAP_SYSTEM_ROOT: systemRoot(system) });
  const inRoot = (args) => runIn(system, scratch, ['node', JEST, ...args], JEST_ENVIRONMENT);
  const kinds = ['--selectProjects', 'unit', 'property', 'integration', WORKERS];
  return [
    await jest(system, [...kinds, ...NPM_TEST_PART.root], inRoot),
    await jest(`${system}, hosts`, ['--selectProjects', 'long', '--runInBand', ...NPM_TEST_PART.hosts], onHosts),
  ];
}

/** Runs tests on real Xen. What jest says of them is printed when it has ended, not between the lines of others. */
async function lab(name, system, args) {
  const output = join(scratch, `${name}.txt`);
  const file = openSync(output, 'w');
  const start = startedBy(ON_LAB_HOST, { XLSNAP_LAB_SYSTEM: system });
  const words = ['--selectProjects', 'lab', '--runInBand', ...args];
  const counts = await jest(name, words, (all) => start(all, file));
  closeSync(file);
  process.stderr.write(readFileSync(output));
  return counts;
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
// Their root folders are made once, before both want them.
const systems = fast ? [] : RELEASED_SYSTEMS.filter(hasRoot);

function hasRoot(system) {
  try {
    return systemRoot(system) !== '';
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    return false;
  }
}

async function fastTests() {
  const runs = [await jest('fast', ['--selectProjects', ...kinds, WORKERS])];
  if (fast) return runs;
  for (const version of NODE_VERSIONS) {
    const args = ['--selectProjects', 'unit', 'property', 'integration', WORKERS, ...EVERY_NODE_PART];
    runs.push(await jest(`node-${version}`, args, startedBy(onNode(version, JEST))));
  }
  for (const system of systems) runs.push(...(await jestOn(system)));
  return runs;
}

async function labTests() {
  const runs = [
    await lab('lab', undefined, ['test/lab/host', 'test/lab/install', 'test/lab/snapshots']),
    await lab('matrix', undefined, ['-t', MATRIX_PART, 'test/lab/matrix']),
  ];
  for (const system of systems) {
    const { paths, names } = NPM_TEST_PART.lab;
    runs.push(await lab(`${system}, lab`, system, ['-t', names.join('|'), ...paths]));
  }
  return runs;
}

const runs = (await Promise.all([fastTests(), ...(fast ? [] : [labTests()])])).flat();
if (!fast && systems.length < RELEASED_SYSTEMS.length) runs.push({ passed: 0, failed: 1 });
rmSync(scratch, { recursive: true });

const sum = (key) => runs.reduce((total, counts) => total + counts[key], 0);
process.stdout.write(`${sum('passed')} passed, ${sum('failed')} failed\n`);
process.exitCode = sum('failed') > 0 || sum('passed') === 0 ? 1 : 0;
