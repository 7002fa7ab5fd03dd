import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { deadline } from '../../../src/disks/deadline.ts';

function stand(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

test('is over after its time', async () => {
  const begun = performance.now();
  await new Promise<void>((resolve) => deadline(250, resolve));
  expect(performance.now() - begun).toBeGreaterThan(240);
});

test('time for which the loop stood is not counted: an answer that has come meanwhile is read first', async () => {
  let late = false;
  using _deadline = deadline(300, () => {
    late = true;
  });
  await sleep(20);
  stand(1_000);
  // Had the time been counted, it would be over by now.
  await sleep(150);
  expect(late).toBe(false);
});

test('is not over once it is disposed of', async () => {
  let late = false;
  deadline(50, () => {
    late = true;
  })[Symbol.dispose]();
  await sleep(200);
  expect(late).toBe(false);
});
