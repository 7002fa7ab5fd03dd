/** Saves of domains that xlsnapd carries out itself: what the policy needs of the host and of the store. */

import type { Move } from '../../model/disk-image.ts';
import type { Domain, DomainRef } from '../../model/domain.ts';

/** A save that is about to be carried out. */
export interface PlannedSave {
  /** `id`: of the run that is saved. */
  readonly domain: DomainRef;
  /** The image's name once it is whole. */
  readonly path: string;
  /** The owner of the domain chooses the path, and starts the domain from there by itself. */
  readonly managed: boolean;
  /** From the images that the owner knows to those that are active; empty if it knows them. */
  readonly moves: readonly Move[];
}

/** A save that an earlier daemon had begun. */
export interface RecordedSave extends PlannedSave {
  /** False if the host has been started since: what was not synced may be lost. */
  readonly sameBoot: boolean;
}

/** The saves of one host. */
export interface DomainSaves {
  /** Asks everything that can refuse before the guest is touched. `to`: undefined for a managed save. */
  plan(domain: Domain, to: string | undefined): Promise<PlannedSave>;
  /**
   * The image gets its name when it names the active images and is on stable storage. After an error the domain runs as before,
   * and nothing is left; unless the error's reason is `save-unfinished`: then `finish` may still complete it.
   */
  carryOut(save: PlannedSave): Promise<void>;
  /** Completes a save that was interrupted, or removes what is left of it. Returns a clause for the log. */
  finish(save: RecordedSave): Promise<string>;
}

/** Images of saved domains, as files. */
export interface SavedImages {
  /** The path of the domain's managed save, whether there is one or not. */
  managedPath(domain: DomainRef): string;
  /** The definition in the image at a path, as it was saved. */
  read(path: string): Promise<string>;
  /** Replaces the definition, durably. */
  write(path: string, xml: string): Promise<void>;
}

/** Durable record of saves under way, one for each domain. */
export interface SaveRecords {
  /** Records that cannot be read are logged and left. */
  load(): Promise<readonly RecordedSave[]>;
  /** Refuses if there is a record of the domain that cannot be read. */
  write(save: PlannedSave): Promise<void>;
  remove(domain: DomainRef): Promise<void>;
}
