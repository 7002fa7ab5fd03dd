/** Edits a text in the user's editor (vshEditFile): $VISUAL or $EDITOR, on a file that only the user can read. */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { LibvirtError, systemError } from '../../errors.ts';
import { failure } from '../failure.ts';

const DEFAULT_EDITOR = 'vi';
/**
 * An editor of only these characters is run directly; any other is a command for the shell. The file's name must
 * consist of them.
 */
const PLAIN = /^[\w\-/.:@]+$/;

/** A temporary file, removed when disposed of. */
export class EditedFile implements AsyncDisposable {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  static async of(text: string): Promise<EditedFile> {
    const path = join(tmpdir(), `xlsnap${randomBytes(3).toString('hex')}.xml`);
    await writeFile(path, text, { flag: 'wx', mode: 0o600 });
    return new EditedFile(path);
  }

  /** Runs the editor and returns the text afterwards. */
  async edit(env: NodeJS.ProcessEnv): Promise<string> {
    process.on('SIGINT', leaveToEditor);
    try {
      await run(env.VISUAL ?? env.EDITOR ?? DEFAULT_EDITOR, this.#path);
    } finally {
      process.off('SIGINT', leaveToEditor);
    }
    return readFile(this.#path, 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

/** Ignores Ctrl-C while the editor has the terminal: otherwise this program would end and leave the file behind. */
function leaveToEditor(): void {}

async function run(editor: string, path: string): Promise<void> {
  if (!PLAIN.test(path)) {
    throw failure(
      `${path}: temporary filename contains shell meta or other unacceptable characters (is $TMPDIR wrong?)`,
    );
  }
  const [program, ...args] = PLAIN.test(editor) ? [editor, path] : ['sh', '-c', `${editor} ${path}`];
  const child = spawn(program as string, args, { stdio: 'inherit' });
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  const [status, signal] = await closed.catch((error) => {
    throw systemError(error, `Cannot find '${program}' in path`);
  });
  if (status === 0) return;
  const how = signal ? `unexpected fatal signal ${constants.signals[signal]}` : `unexpected exit status ${status}`;
  const shown = [program, ...args.map((arg) => (/\s|;/.test(arg) ? `'${arg}'` : arg))].join(' ');
  throw new LibvirtError('INTERNAL_ERROR', `Child process (${shown}) ${how}`);
}
