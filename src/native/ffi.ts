/** koffi, set up once for everything in this process that calls C. */

export type { LibraryHandle } from 'koffi';

/**
 * koffi runs asynchronous calls on stacks of its own, of 128 KiB by default. libxl's event code alone has larger arrays,
 * and create and restore run libxenguest in this process.
 */
const ASYNC_STACK_BYTES = 8 << 20;

/** koffi refuses to be set up once a library is loaded, so every file that loads one gets koffi from here. */
export async function openFfi() {
  const { default: koffi } = await import('koffi');
  const config = koffi.config();
  if (config.async_stack_size !== ASYNC_STACK_BYTES) koffi.config({ ...config, async_stack_size: ASYNC_STACK_BYTES });
  return koffi;
}
