import { expect, test } from '@jest/globals';
import { Documents } from '../../../src/store/documents.ts';

/** Says which documents had to be written, each of `size` characters. */
function writing(documents: Documents, size = 10) {
  const written: string[] = [];
  const ask = async (key: string): Promise<void> => {
    const text = await documents.get(key, async () => {
      written.push(key);
      return key.padEnd(size);
    });
    expect(text).toBe(key.padEnd(size));
  };
  return { ask, written: () => written.splice(0) };
}

test('a document is written once', async () => {
  const { ask, written } = writing(new Documents());
  for (const key of ['a', 'b', 'a', 'b', 'a']) await ask(key);
  expect(written()).toEqual(['a', 'b']);
});

test('and again when it was forgotten, alone or with all', async () => {
  const documents = new Documents();
  const { ask, written } = writing(documents);
  for (const key of ['a', 'b', 'c']) await ask(key);
  documents.forget('a', 'b', 'none');
  for (const key of ['a', 'b', 'c']) await ask(key);
  expect(written()).toEqual(['a', 'b', 'c', 'a', 'b']);
  documents.forgetAll();
  await ask('c');
  expect(written()).toEqual(['c']);
});

test('what was forgotten while it was being written is not kept', async () => {
  const documents = new Documents();
  let finish = (_text: string): void => {};
  const slow = documents.get('a', () => new Promise((resolve) => (finish = resolve)));
  documents.forget('a');
  finish('old');
  expect(await slow).toBe('old');
  expect(await documents.get('a', async () => 'new')).toBe('new');
});

test('what was asked for longest ago goes first, when there is too much', async () => {
  const { ask, written } = writing(new Documents(30));
  for (const key of ['a', 'b', 'c', 'a', 'd']) await ask(key);
  written();
  for (const key of ['a', 'c', 'd']) await ask(key);
  expect(written()).toEqual([]);
  await ask('b');
  expect(written()).toEqual(['b']);
});

test('a document larger than all that may be kept is not kept, and pushes nothing else out for good', async () => {
  const documents = new Documents(30);
  const { ask, written } = writing(documents, 31);
  await ask('big');
  await ask('big');
  expect(written()).toEqual(['big', 'big']);
  const small = writing(documents);
  for (const key of ['a', 'b', 'a', 'b']) await small.ask(key);
  expect(small.written()).toEqual(['a', 'b']);
});

test('two that ask at the same time both get it, and it is counted once', async () => {
  const documents = new Documents(30);
  const { ask, written } = writing(documents, 20);
  await Promise.all([ask('a'), ask('a')]);
  expect(written()).toEqual(['a', 'a']);
  const small = writing(documents, 10);
  await small.ask('b');
  await ask('a');
  expect(written()).toEqual([]);
});
