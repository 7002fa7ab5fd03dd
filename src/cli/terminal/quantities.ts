/** Sizes and ages for people. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;

/** Bytes as virsh prints a capacity (vshPrettyCapacity): `4.13 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit += 1) value /= 1024;
  return `${value.toFixed(2)} ${UNITS[unit]}`;
}

/** From the largest down: a unit is used from two of it on, so that nothing is off by more than a third. */
const AGES: readonly (readonly [unit: string, seconds: number])[] = [
  ['years', 365 * 86_400],
  ['weeks', 7 * 86_400],
  ['days', 86_400],
  ['h', 3_600],
  ['min', 60],
];

/** How long something has been there: `45 s`, `12 min`, `30 h`, `6 days`. A time that is still to come is `0 s`. */
export function formatAge(seconds: number): string {
  const [unit, length] = AGES.find(([, each]) => seconds >= 2 * each) ?? ['s', 1];
  return `${Math.max(0, Math.floor(seconds / length))} ${unit}`;
}
