// npm run bench: what single snapshots cost where there are many. Each line should be flat: the last column near 1.

import { build, setup } from './setup.mjs';

const COUNTS = [100, 1_000, 10_000];
/** Of short runs the best of some: other work on the machine only ever adds. */
const RUNS = { 100: 5, 1000: 3, 10000: 1 };

setup();
build();

const line = (name, cells) => `${name.padEnd(24)}${cells.map((cell) => String(cell).padStart(12)).join('')}\n`;

/** Microseconds per item. */
async function cost(measure, count) {
  const took = [];
  for (let run = 0; run < RUNS[count]; run++) took.push(await measure(count));
  return (Math.min(...took) / count) * 1000;
}

for (const file of ['documents', 'folders']) {
  const { title, rows } = await import(`../test/bench/${file}.mjs`);
  process.stdout.write(`\n${line(title, [...COUNTS.map((count) => count.toLocaleString('en')), 'last/first'])}`);
  for (const [name, measure] of Object.entries(rows)) {
    // Once for nothing: the first calls are compiled.
    await measure(COUNTS[1]);
    const costs = [];
    for (const count of COUNTS) costs.push(await cost(measure, count));
    const ratio = (costs.at(-1) / costs[0]).toFixed(2);
    process.stdout.write(line(`  ${name}`, [...costs.map((cost) => `${cost.toFixed(cost < 10 ? 2 : 0)} µs`), ratio]));
  }
}
