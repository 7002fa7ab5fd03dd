// npm test: installs what is missing, checks, builds, runs every test, names what was skipped, and ends with one line:
// N passed, N failed.
// --fast leaves out what takes long, and the lab (real Xen under QEMU); of the lab's matrix a part is run.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, run, setup } from './setup.mjs';

const fast = process.argv.includes('--fast');

/**
 * Of the matrix of snapshots on real Xen: every refusal, and of each type of guest what has most parts. The whole of it,
 * and the faults around the suspend, are `npm run test:lab`: under emulation they take an hour.
 */
const MATRIX_PART =
  'refused|guest memory external, disks external.external$|pvh guest memory none, disks internal.external|pvh? guest reboots|plain virsh restore';

/** Runs jest on some projects and returns its counts. A run that gave no counts has failed as a whole. */
function jest(name, ...args) {
  const report = join(scratch, `${name}.json`);
  // The report's options first: after the `--` of a run that names its files they would be taken for names.
  const { status } = spawnSync('npx', ['jest', '--json', `--outputFile=${report}`, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning' },
  });
  try {
    const counts = JSON.parse(readFileSync(report, 'utf8'));
    const { numPassedTests, numFailedTests, numFailedTestSuites } = counts;
    // Where -t picks, all others count as skipped.
    if (!args.includes('-t')) tellSkipped(counts);
    const failed = numFailedTests || numFailedTestSuites || (status === 0 ? 0 : 1);
    return { passed: numPassedTests, failed };
  } catch {
    return { passed: 0, failed: 1 };
  }
}

/** Nothing is left out silently: the name of a skipped test gives the reason. */
function tellSkipped({ testResults }) {
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  for (const { fullName } of tests.filter(({ status }) => status === 'pending')) {
    process.stdout.write(`skipped: ${fullName}\n`);
  }
}

setup('test', ...(fast ? [] : ['lab']));
run('npm', ['run', '--silent', 'check']);
build();
const scratch = mkdtempSync(join(tmpdir(), 'xlsnap-test-'));
// Three at a time, also on two cores: integration tests mostly wait for the programs they start.
const runs = [
  jest('fast', '--maxWorkers=3', '--selectProjects', 'unit', 'property', 'integration', ...(fast ? [] : ['long'])),
];
if (!fast) {
  const lab = ['--selectProjects', 'lab', '--runInBand'];
  runs.push(jest('lab', ...lab, '--', 'test/lab/host', 'test/lab/install', 'test/lab/snapshots'));
  runs.push(jest('matrix', ...lab, '-t', MATRIX_PART, '--', 'test/lab/matrix'));
}
rmSync(scratch, { recursive: true });

const sum = (key) => runs.reduce((total, counts) => total + counts[key], 0);
process.stdout.write(`${sum('passed')} passed, ${sum('failed')} failed\n`);
process.exitCode = sum('failed') > 0 || sum('passed') === 0 ? 1 : 0;
