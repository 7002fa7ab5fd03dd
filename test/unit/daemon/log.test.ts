import { afterEach, expect, test } from '@jest/globals';
import { openLog } from '../../../src/daemon/log.ts';

const before = process.env.JOURNAL_STREAM;

afterEach(() => {
  if (before === undefined) delete process.env.JOURNAL_STREAM;
  else process.env.JOURNAL_STREAM = before;
});

const written = (use: (log: ReturnType<typeof openLog>) => void, level: Parameters<typeof openLog>[0] = 'info') => {
  const lines: string[] = [];
  use(openLog(level, (line) => lines.push(line)));
  return lines;
};

test('a line has time, level and text', () => {
  delete process.env.JOURNAL_STREAM;
  expect(written((log) => log.warning('careful'))[0]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z warning: careful\n$/);
});

test("under journald it has the priority in journald's form, and no time", () => {
  process.env.JOURNAL_STREAM = '8:1';
  expect(written((log) => log.error('broken'))).toEqual(['<3>broken\n']);
});

test('what is less urgent than the level is dropped', () => {
  const lines = written((log) => {
    log.error('a');
    log.warning('b');
    log.info('c');
    log.debug('d');
  }, 'warning');
  expect(lines).toHaveLength(2);
});

test('one event stays one line', () => {
  process.env.JOURNAL_STREAM = '8:1';
  expect(written((log) => log.info('first\nsecond\n'))).toEqual(['<6>first\\x0asecond\n']);
});
