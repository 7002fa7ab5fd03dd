// npm run bench: what single snapshots cost where there are many. Each line should be flat: the last column near 1.

import { build, setup } from './setup.mjs';

const COUNTS = [100, 1_000, 10_000];

setup();
build();

const line = (name, cells) => `${name.padEnd(24)}${cells.map((cell) => String(cell).padStart(12)).join('')}\n`;

for (const file of ['documents', 'folders']) {
  const { title, rows } = await import(`../test/bench/${file}.mjs`);
  process.stdout.write(`\n${line(title, [...COUNTS.map((count) => count.toLocaleString('en')), 'last/first'])}`);
  for (const [name, measure] of Object.entries(rows)) {
    // Once for nothing: the first calls are compiled.
    await measure(COUNTS[0]);
    const costs = [];
    for (const count of COUNTS) costs.push(((await measure(count)) / count) * 1000);
    const ratio = (costs.at(-1) / costs[0]).toFixed(2);
    process.stdout.write(line(`  ${name}`, [...costs.map((cost) => `${cost.toFixed(cost < 10 ? 2 : 0)} µs`), ratio]));
  }
}
