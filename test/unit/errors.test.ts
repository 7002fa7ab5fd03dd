import { expect, test } from '@jest/globals';
import { asLibvirtError, LibvirtError } from '../../src/errors.ts';

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
