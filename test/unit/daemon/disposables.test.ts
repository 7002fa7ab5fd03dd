import { expect, test } from '@jest/globals';
import { Opened } from '../../../src/daemon/disposables.ts';

const thing = (name: string, closed: string[]): Disposable => ({
  [Symbol.dispose]: () => {
    closed.push(name);
  },
});

test('closes in the opposite order, waiting for each', async () => {
  const closed: string[] = [];
  const opened = new Opened();
  opened.use(thing('first', closed));
  opened.use({
    [Symbol.asyncDispose]: async () => {
      await new Promise(setImmediate);
      closed.push('second');
    },
  });
  opened.use(thing('third', closed));
  await opened[Symbol.asyncDispose]();
  expect(closed).toEqual(['third', 'second', 'first']);
});

test('one that fails does not keep the others open, and its error is told', async () => {
  const closed: string[] = [];
  const opened = new Opened();
  opened.use(thing('first', closed));
  opened.use({
    [Symbol.dispose]: () => {
      throw new Error('broken');
    },
  });
  await expect(opened[Symbol.asyncDispose]()).rejects.toThrow('broken');
  expect(closed).toEqual(['first']);
});

test('what was closed is not closed again', async () => {
  const closed: string[] = [];
  const opened = new Opened();
  opened.use(thing('once', closed));
  await opened[Symbol.asyncDispose]();
  await opened[Symbol.asyncDispose]();
  expect(closed).toEqual(['once']);
});
