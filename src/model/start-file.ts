/** A file or block device that a domain's definition names, and that is opened if a domain is started from it. */

import type { DiskImage } from './disk-image.ts';

export interface StartFile {
  /** For messages: `disk 'hdc'`, `kernel`. */
  readonly role: string;
  readonly path: string;
  readonly access: 'read' | 'write' | 'execute';
  /** Set for the image of a disk: its backing chain is opened, too. */
  readonly image?: DiskImage;
  /** The file is not opened if there is one of this path. */
  readonly unless?: string;
}
