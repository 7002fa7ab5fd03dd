import { describe, expect, test } from '@jest/globals';
import { asLibvirtError, LibvirtError, undoAll, withLeftovers } from '../../src/errors.ts';

test('an error after which closing has failed, too, keeps its code, and both are told', () => {
  // What `await using` throws then, on a Node that has no SuppressedError of its own.
  const both = Object.assign(new Error('An error was suppressed during disposal.'), {
    name: 'SuppressedError',
    suppressed: new LibvirtError('OPERATION_INVALID', "disk 'xvda' is in use"),
    error: new Error('the connection is lost'),
  });
  const error = asLibvirtError(both);
  expect(error.code).toBe('OPERATION_INVALID');
  expect(error.message).toBe(
    "Requested operation is not valid: disk 'xvda' is in use (internal error: the connection is lost)",
  );
});

test.each([
  [new TypeError('of ours'), 'internal error: of ours'],
  ['a word', 'internal error: a word'],
  [undefined, 'internal error: undefined'],
])('what is no LibvirtError is an internal error with its message: %p', (thrown, message) => {
  expect(asLibvirtError(thrown).message).toBe(message);
});

describe('a failure after which undoing has failed, too', () => {
  const failure = new LibvirtError('CONFIG_UNSUPPORTED', 'no such volume');

  test('keeps its code and its words, and says what is left over', () => {
    const { code, detail } = withLeftovers(failure, ["'/a.qcow2': busy", "'/b.qcow2': busy"]);
    expect([code, detail]).toEqual([
      'CONFIG_UNSUPPORTED',
      "no such volume; left over: '/a.qcow2': busy; '/b.qcow2': busy",
    ]);
  });

  test('is the failure itself when everything is undone', async () => {
    expect(await undoAll([async () => {}], failure)).toBe(failure);
  });

  test('is undone latest first, all of it', async () => {
    const undone: number[] = [];
    const step = (number: number, fails: boolean) => async () => {
      undone.push(number);
      if (fails) throw new LibvirtError('SYSTEM_ERROR', `step ${number} is busy`);
    };
    const error = await undoAll([step(1, true), step(2, false), step(3, true)], failure);
    expect(undone).toEqual([3, 2, 1]);
    expect(error.detail).toBe('no such volume; left over: step 3 is busy; step 1 is busy');
  });
});
