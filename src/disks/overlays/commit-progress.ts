import { throwIfCancelled } from '../../errors.ts';
import type { LayerCommit } from '../../model/disk-image.ts';

/** Whoever merges a layer looks at, and tells, this. */
export interface CommitWatch {
  /** Honoured until the layer's last step; layers merged by then stay merged. */
  readonly signal: AbortSignal;
  /** Bytes of this layer. */
  progress(done: number, total: number): void;
}

/** Of all layers: bytes; `total` grows as more of them come in sight. */
export interface LayersWatch {
  readonly signal: AbortSignal;
  progress(progress: { readonly done: number; readonly total: number }): void;
}

/** One after the other, with one progress. */
export async function forEachLayer(
  layers: readonly LayerCommit[],
  { signal, progress }: LayersWatch,
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
    await merge(layer, { signal, progress: report });
    before += ofLayer;
  }
}
