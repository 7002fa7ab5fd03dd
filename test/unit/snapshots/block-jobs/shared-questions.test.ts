import { expect, test } from '@jest/globals';
import { SharedQuestions } from '../../../../src/snapshots/block-jobs/shared-questions.ts';

/** Questions whose answers are their numbers, given in order by `answer`. */
function questions() {
  const shared = new SharedQuestions<number>();
  const open: (() => void)[] = [];
  let asked = 0;
  const ask = (about = 'a') =>
    shared.ask(about, () => {
      asked += 1;
      const number = asked;
      return new Promise((resolve) => open.push(() => resolve(number)));
    });
  const answer = async () => {
    open.shift()?.();
    await new Promise(setImmediate);
  };
  return { shared, ask, answer, asked: () => asked };
}

test('however many ask, one question is under way, and an answer is never of a time before it was asked for', async () => {
  const { ask, answer, asked } = questions();
  const first = ask();
  const rest = Promise.all(Array.from({ length: 100 }, () => ask()));
  expect(asked()).toBe(1);
  await answer();
  expect(await first).toBe(1);
  const later = ask();
  expect(asked()).toBe(2);
  await answer();
  expect(new Set(await rest)).toEqual(new Set([2]));
  await answer();
  expect([await later, asked()]).toEqual([3, 3]);
  const again = ask();
  await answer();
  expect(await again).toBe(4);
});

test('what is about something else does not wait', async () => {
  const { ask, answer, asked } = questions();
  const both = [ask('a'), ask('b')];
  expect(asked()).toBe(2);
  await answer();
  await answer();
  expect(await Promise.all(both)).toEqual([1, 2]);
});

test('a failure is that of those who shared it; the next question is asked', async () => {
  const shared = new SharedQuestions<number>();
  const failing = () => shared.ask('a', () => Promise.reject(new Error('no')));
  const [one, two, three] = [failing(), failing(), failing()];
  for (const each of [one, two, three]) await expect(each).rejects.toThrow('no');
  expect(await shared.ask('a', async () => 5)).toBe(5);
});
