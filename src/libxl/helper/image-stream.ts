/** The way of libxl's stream into a memory image. */

import { closeSync } from 'node:fs';
import { systemError } from '../../errors.ts';
import { type FileAt, openToWrite } from '../../files/same-file.ts';
import { copySparsely } from '../../memory/sparse-file.ts';
import type { SystemCalls } from '../../native/system-calls.ts';

/** As much as any process may have in a pipe (/proc/sys/fs/pipe-max-size). libxl writes up to 4 MiB at a time. */
const PIPE_BYTES = 1 << 20;

/**
 * Appends to the image what `save` writes to its descriptor, without zeros: libxl writes into a pipe, as it does when it
 * migrates a guest. Returns the result of `save`. Throws if the image cannot be written: then nobody reads from the pipe
 * any more, which ends libxl's call, too.
 */
export async function intoImage(
  system: Pick<SystemCalls, 'pipe'>,
  file: FileAt,
  save: (stream: number) => Promise<number>,
): Promise<number> {
  const image = openToWrite(file);
  try {
    const { reader, writer } = system.pipe(PIPE_BYTES);
    const written = copySparsely(reader, image)
      .then(
        () => undefined,
        (error: unknown) => systemError(error, `Failed to write domain save file '${file.path}'`),
      )
      .finally(() => closeSync(reader));
    const saved = await save(writer).finally(() => closeSync(writer));
    const failure = await written;
    if (failure) throw failure;
    return saved;
  } finally {
    closeSync(image);
  }
}
