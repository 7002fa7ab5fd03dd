/** libvirt's xen driver as far as it saves domains: it writes its own definition, whatever it is asked, and then the memory. */

import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LibvirtError } from '../../../src/errors.ts';
import type { DomainRef } from '../../../src/model/domain.ts';
import { GUEST, Record, RecordedUpstream } from './recorded-upstream.ts';

const STREAM = Buffer.concat([Buffer.from('LibxlFmt\0\0\0\x02', 'latin1'), Buffer.alloc(64, 0x5a), Buffer.alloc(8)]);

export class SavingLibvirtd extends RecordedUpstream {
  /** Where it keeps managed saves. */
  readonly managedSaveFile: string;
  /** In the live definition for the moment. */
  metadata = '';
  owner = process.geteuid?.() ?? 0;
  /** How a save ends: `late` says that it failed after it has succeeded, as if the connection had been lost. */
  outcome: 'saved' | 'failed' | 'cut off' | 'late' = 'saved';
  /** Called when header and definition are written, and the memory is not yet. */
  halfway: () => Promise<void> = async () => {};

  constructor(xml: string, managedSaveFile: string) {
    super(new Record());
    this.readsImages = false;
    this.xml = xml;
    this.managedSaveFile = managedSaveFile;
  }

  override async socketOwner(): Promise<number> {
    return this.owner;
  }

  override async getXMLDesc(): Promise<string> {
    return this.xml.replace('</uuid>', `</uuid>${this.metadata}`);
  }

  override async setLiveMetadata(
    _domain: DomainRef,
    { xml, key, uri }: { readonly xml: string | null; readonly key: string; readonly uri: string },
  ): Promise<void> {
    const element = xml?.replaceAll(/(<\/?)room/g, `$1${key}:room`).replace('room>', `room xmlns:${key}="${uri}">`);
    this.metadata = element === undefined ? '' : `<metadata>${element}</metadata>`;
  }

  override async managedSave(): Promise<void> {
    await this.saveFlags(GUEST, this.managedSaveFile);
  }

  override async saveFlags(_domain: DomainRef, to: string): Promise<void> {
    if (this.outcome === 'failed') throw new LibvirtError('INTERNAL_ERROR', `Failed to save to ${to}`);
    const xml = Buffer.from(`${await this.getXMLDesc()}\0`);
    const header = Buffer.alloc(64);
    header.write('libvirt-xml\n \0 \r', 'latin1');
    header.writeUInt32LE(2, 16);
    header.writeUInt32LE(xml.length, 20);
    // It opens the file by name, and does not look at the name again.
    await using file = await open(to, 'w', 0o600);
    await file.write(Buffer.concat([header, xml]));
    await sleep(50);
    await this.halfway();
    await file.write(this.outcome === 'cut off' ? STREAM.subarray(0, -8) : STREAM);
    this.ref = { ...GUEST, id: -1 };
    if (this.outcome === 'late') throw new LibvirtError('RPC', 'connection lost');
  }
}
