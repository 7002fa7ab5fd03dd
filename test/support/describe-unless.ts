import { describe } from '@jest/globals';

/** Tests that one thing about a machine can rule out: left out there, and `npm test` shows the name with the reason. */
export function describeUnless(reason: string | undefined, name: string, body: () => void): void {
  if (reason === undefined) describe(name, body);
  else describe.skip(`${name} (left out: ${reason})`, body);
}
