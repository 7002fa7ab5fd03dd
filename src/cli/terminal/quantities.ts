/** Formats sizes and ages. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;

/** Returns bytes as virsh prints a capacity (vshPrettyCapacity): `4.13 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit += 1) value /= 1024;
  return `${value.toFixed(2)} ${UNITS[unit]}`;
}

/** Largest first. A unit is used from two of it on, so that rounding is off by at most a third. */
const AGES: readonly (readonly [unit: string, seconds: number])[] = [
  ['years', 365 * 86_400],
  ['weeks', 7 * 86_400],
  ['days', 86_400],
  ['h', 3_600],
  ['min', 60],
];

/** Returns an age: `45 s`, `12 min`, `30 h`, `6 days`. A time in the future is `0 s`. */
export function formatAge(seconds: number): string {
  const [unit, length] = AGES.find(([, each]) => seconds >= 2 * each) ?? ['s', 1];
  return `${Math.max(0, Math.floor(seconds / length))} ${unit}`;
}
