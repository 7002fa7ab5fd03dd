import { expect, test } from '@jest/globals';
import { runProgram } from '../../../src/disks/program.ts';

const SHELL = { name: 'sh', debianPackage: 'dash' };

test.each([
  ['echo it has failed >&2; exit 3', 'sh', 'it has failed'],
  ['kill -9 $$', 'sh', 'sh was ended by SIGKILL'],
  ['exit 7', 'sh', 'sh failed with status 7'],
  ['exec cat /dev/zero', 'sh', 'sh prints more than 64 MiB'],
  ['', 'no-such-program', "'no-such-program' is not installed (Debian package dash)"],
])('the error of "%s" by %s says what the matter is', async (script, name, reason) => {
  const failing = runProgram({ ...SHELL, name }, ['-c', script], "cannot read image '/d/a'");
  await expect(failing).rejects.toThrow(`operation failed: cannot read image '/d/a': ${reason}`);
});

test('what a program prints is given back', async () => {
  await expect(runProgram(SHELL, ['-c', 'echo whole'], 'cannot')).resolves.toBe('whole\n');
});
