// npm run lab -- [--system NAME] JOB [ARG...]: boots a real Xen host under QEMU and runs JOB, a bash script, as root in its dom0,
// which is made of this machine's files, or of Debian's system NAME (trixie).
// JOB has the functions of test/lab/host/dom0-lib.sh; its output streams through, and its status is ours.
import { closeSync, copyFileSync, existsSync, openSync, readSync } from 'node:fs';
import { LabHost } from '../test/lab/host/lab-host.mjs';

const JOB_TIMEOUT_MS = 3_600_000;
const POLL_MS = 100;

const quoted = (word) => `'${word.replaceAll("'", `'\\''`)}'`;

/** Copies what a growing file has gained, each time it is called. */
function follow(path, stream) {
  const file = openSync(path, 'r');
  const buffer = Buffer.alloc(65536);
  const copy = () => {
    for (let count = readSync(file, buffer); count > 0; count = readSync(file, buffer))
      stream.write(Buffer.from(buffer.subarray(0, count)));
  };
  return { copy, close: () => closeSync(file) };
}

async function runJob(job, args) {
  if (!existsSync(job)) throw new Error(`no such job: ${job}`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
  const host = await LabHost.boot();
  let outputs = [];
  const copyAll = () => {
    for (const { copy } of outputs) copy();
  };
  const copying = setInterval(copyAll, POLL_MS);
  try {
    copyFileSync(job, `${host.folder}/job`); // dom0 may be made of other files than this machine's
    const { rc } = await host.run(`. ${['/mnt/lab/job', ...args].map(quoted).join(' ')}`, {
      timeoutMs: JOB_TIMEOUT_MS,
      signal: stop.signal,
      onStart: (dir) => {
        outputs = ['stdout', 'stderr'].map((name) => follow(`${dir}/${name}`, process[name]));
      },
    });
    if (rc !== 0) process.stderr.write(`lab: status ${rc}; the host's logs are in ${host.folder}\n`);
    return rc;
  } finally {
    clearInterval(copying);
    copyAll();
    for (const { close } of outputs) close();
    await host[Symbol.asyncDispose]();
  }
}

const words = process.argv.slice(2);
if (words[0] === '--system') process.env.XLSNAP_LAB_SYSTEM = words.splice(0, 2)[1];
const [job, ...args] = words;
if (job === undefined) {
  process.stderr.write('usage: npm run lab -- [--system NAME] JOB [ARG...]\n');
  process.exitCode = 2;
} else {
  try {
    process.exitCode = await runJob(job, args);
  } catch (error) {
    process.stderr.write(`lab: ${error.message}\n`);
    process.exitCode = 1;
  }
}
