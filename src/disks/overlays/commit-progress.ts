import { throwIfCancelled } from '../../errors.ts';
import type { LayerCommit } from '../../model/disk-image.ts';

/** Cancellation and progress of one merge. */
export interface CommitWatch {
  /** Honoured until the layer's last step; layers merged by then stay merged. */
  readonly signal: AbortSignal;
  /** Bytes of this layer. */
  progress(done: number, total: number): void;
  /** Called once the layer's data is in its base. Removes the overlay when nothing names it any more. */
  merged(layer: LayerCommit): Promise<void>;
}

/** The same for several merges, in bytes; `total` grows with each merge that begins. */
export interface LayersWatch {
  readonly signal: AbortSignal;
  progress(progress: { readonly done: number; readonly total: number }): void;
  /** See CommitWatch. After each layer, before the next one is begun. */
  merged(layer: LayerCommit): Promise<void>;
}

/** Merges one layer after the other, with one progress. */
export async function forEachLayer(
  layers: readonly LayerCommit[],
  { signal, progress, merged }: LayersWatch,
  merge: (layer: LayerCommit, watch: CommitWatch) => Promise<void>,
): Promise<void> {
  let before = 0;
  for (const layer of layers) {
    throwIfCancelled(signal);
    let ofLayer = 0;
    const report = (done: number, total: number) => {
      ofLayer = total;
      progress({ done: before + done, total: before + total });
    };
    await merge(layer, { signal, progress: report, merged });
    before += ofLayer;
  }
}
