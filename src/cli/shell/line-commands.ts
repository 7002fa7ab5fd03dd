/** Reads a line as virsh's terminal does (vshCommandStringGetArg): quotes, backslashes, `;` between commands, `#` comments. */

import { failure } from '../failure.ts';

interface ReadLine {
  /** The words of each command that is not empty, unquoted. */
  readonly commands: readonly (readonly string[])[];
  /** Where the last command begins in the line. */
  readonly last: number;
  /** The text of virsh's error if the line is unfinished. */
  readonly unfinished: string | undefined;
}

/** Returns the words of each command. Refuses what virsh refuses; like virsh, accepts a single quote that is still open. */
export function lineCommands(line: string): readonly (readonly string[])[] {
  const { commands, unfinished } = read(line);
  if (unfinished !== undefined) throw failure(unfinished);
  return commands;
}

/** Returns the last command of a line that may be unfinished, as it is written. */
export const lastCommand = (line: string): string => line.slice(read(line).last);

function read(line: string): ReadLine {
  const commands: string[][] = [[]];
  let word: string | undefined;
  let quote = '';
  let last = 0;
  const endWord = (): void => {
    if (word !== undefined) commands.at(-1)?.push(word);
    word = undefined;
  };
  let dangling = false;
  for (let at = 0; at < line.length; at += 1) {
    const character = line.charAt(at);
    if (character === '#' && word === undefined) break;
    if (character === '\\' && quote !== "'") {
      at += 1;
      dangling = at === line.length;
      word = (word ?? '') + line.charAt(at);
    } else if (character === quote || (!quote && /['"]/.test(character))) {
      quote = quote ? '' : character;
      word ??= '';
    } else if (!quote && /[ \t;]/.test(character)) {
      endWord();
      if (character === ';') {
        commands.push([]);
        last = at + 1;
      }
    } else {
      word = (word ?? '') + character;
    }
  }
  endWord();
  const unfinished = dangling ? 'dangling \\' : quote === '"' ? 'missing "' : undefined;
  return { commands: commands.filter((words) => words.length > 0), last, unfinished };
}
