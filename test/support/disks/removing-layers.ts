import { removeImage } from '../../../src/disks/overlays/overlays.ts';
import type { LayerCommit } from '../../../src/model/disk-image.ts';

/** For merges of images that nothing names: a merged layer's file goes at once. */
export const removingLayers = { merged: ({ top }: LayerCommit) => removeImage(top.path) };
