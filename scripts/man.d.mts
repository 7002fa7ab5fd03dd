import type { CommandGroup } from '../src/cli/command-line/help.ts';

/** Returns the page with its commands' part written again from the tables. */
export declare function withCommands(page: string, groups: readonly CommandGroup[]): string;
