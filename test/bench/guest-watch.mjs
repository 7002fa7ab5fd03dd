// Runs in dom0: node guest-watch.mjs DOMID IMAGE COMMAND...
// Runs the command, and says of the guest and of its memory image meanwhile, in milliseconds:
// {"took":…, "stops":[…], "bytes":…, "writing":…, "after":…}
//   took     the command, from its start to its end
//   stops    how long the guest stood, each time: suspended or paused, as the hypervisor has it
//   writing  while the image grew to its `bytes`
//   after    from then on to the end of the first stop

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LibxlContext } from '../../dist/libxl/helper/context.js';

const LOOK_MS = 10;
/** Looks cost time of the only CPU: few while the image of a guest that stands is written. */
const WRITING_LOOK_MS = 50;
/** Header and definition are smaller, RAM is larger. */
const RAM_FROM_BYTES = 1 << 20;

const [domid, image, ...command] = process.argv.slice(2);
const libxl = await LibxlContext.open(2);
if (!(libxl instanceof LibxlContext)) throw new Error(libxl.message);

const bytes = () =>
  Math.max(...[image, `${image}.partial`].map((path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0));

const looks = [];
async function look() {
  const info = await libxl.domainInfo(Number(domid));
  looks.push({ at: performance.now(), stands: info?.shutdown || info?.paused, bytes: bytes() });
}

/** Stops as [begin, end]; one that lasts to the last look ends there. */
function stopsIn(looks) {
  const stops = [];
  for (const [n, { at, stands }] of looks.entries()) {
    if (stands && !looks[n - 1]?.stands) stops.push([at, looks.at(-1).at]);
    if (!stands && looks[n - 1]?.stands) stops.at(-1)[1] = at;
  }
  return stops;
}

await look();
const start = performance.now();
const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'ignore', 'inherit'] });
const ended = once(child, 'exit');
while (child.exitCode === null && child.signalCode === null) {
  await look();
  const [before, now] = looks.slice(-2);
  await sleep(now.stands && now.bytes > before.bytes ? WRITING_LOOK_MS : LOOK_MS);
}
await ended;
const took = performance.now() - start;
await look();

const total = looks.at(-1).bytes;
const begun = looks.find(({ bytes }) => bytes >= RAM_FROM_BYTES)?.at ?? Number.NaN;
const whole = looks.find(({ bytes }) => bytes === total).at;
const stops = stopsIn(looks);
process.stdout.write(
  JSON.stringify({
    took,
    stops: stops.map(([from, to]) => to - from),
    bytes: total,
    writing: whole - begun,
    after: (stops[0]?.[1] ?? Number.NaN) - whole,
  }),
);
process.exit(child.exitCode ?? 1);
