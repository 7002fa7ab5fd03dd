/** What a look at stored things has found wrong, and the way out of it. */

export interface Finding {
  readonly problem: string;
  readonly wayOut: string;
}

export function findingText({ problem, wayOut }: Finding, indent = ''): string {
  return `${indent}${problem}\n${indent}  way out: ${wayOut}\n`;
}
