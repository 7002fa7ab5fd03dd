/** A problem with stored data, and the way out of it. */

import { printable } from '../../model/messages/printable.ts';

/** A finding. */
export interface Finding {
  readonly problem: string;
  readonly wayOut: string;
}

/** Returns the finding for people, printable. */
export function findingText({ problem, wayOut }: Finding, indent = ''): string {
  return `${indent}${printable(problem)}\n${indent}  way out: ${printable(wayOut)}\n`;
}
