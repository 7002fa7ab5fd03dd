import { expect, test } from '@jest/globals';
import { rotationDescription, rotationName, surplus } from '../../../../src/cli/rotate/rotation.ts';

const made = (day: number, label = 'daily') => ({
  name: rotationName(label, new Date(Date.UTC(2026, 10, day, 16, 53, 27, 123))),
  description: rotationDescription(label),
});

const daily = (keep: number, ...kept: readonly string[]) => ({ label: 'daily', keep, kept: new Set(kept) });

test('a name has the label and the time', () => {
  expect(made(30).name).toBe('daily-20261130T165327Z');
});

test('the oldest go, in their order, however they are listed', () => {
  const found = [made(3), made(1), made(4), made(2)];
  expect(surplus(found, daily(2))).toEqual([made(1).name, made(2).name]);
  expect(surplus(found, daily(4))).toEqual([]);
  expect(surplus(found, daily(9))).toEqual([]);
});

test('what others have made stays: other labels, other names, another description or none', () => {
  const { name } = made(1);
  const others = [
    made(1, 'weekly'),
    made(1, 'daily-x'),
    { name: 'daily-by-hand', description: rotationDescription('daily') },
    { name: 'before-upgrade', description: rotationDescription('daily') },
    { name, description: 'mine now' },
    { name },
  ];
  expect(surplus([...others, made(2)], daily(1))).toEqual([]);
});

test('those that are protected stay beside the newest', () => {
  const found = [made(1), made(2), made(3), made(4)];
  expect(surplus(found, daily(1, made(1).name, made(4).name))).toEqual([made(2).name]);
});
