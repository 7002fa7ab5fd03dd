import type { CommandGroup } from '../src/cli/command-line/help.ts';

/** The page with its commands' part made anew. */
export declare function withCommands(page: string, groups: readonly CommandGroup[]): string;
