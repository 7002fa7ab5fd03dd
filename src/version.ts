/** This program's version, as package.json has it. */

import { readFileSync } from 'node:fs';

const packageJson: { readonly version: string } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);

/** The version in package.json. */
export const VERSION = packageJson.version;

/** In libvirt's form: major · 10⁶ + minor · 10³ + release. */
export const VERSION_NUMBER = VERSION.split('.').reduce(
  (sum, part) => sum * 1000n + BigInt(Number.parseInt(part, 10)),
  0n,
);
