/** A helper process that lives as long as its host, for what libxl is asked often: a start for each question would take too long. */

import type { DomainConfig, DomainName } from '../../libxl/helper/protocol.ts';
import type { LibxlSession } from '../../libxl/toolstack.ts';

/** What libxl says of the running domains. Disposing ends the helper. */
export class LibxlReader implements AsyncDisposable {
  readonly #start: () => LibxlSession;
  #session: LibxlSession | undefined;

  constructor(start: () => LibxlSession) {
    this.#start = start;
  }

  /** All domains, those too that are being made or are dying. */
  listDomains(): Promise<readonly DomainName[]> {
    return this.#ask((session) => session.listDomains());
  }

  /** NO_DOMAIN if the domain is gone. */
  domainConfig(domid: number): Promise<DomainConfig> {
    return this.#ask((session) => session.domainConfig(domid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session?.[Symbol.asyncDispose]();
  }

  /** After an error the next question gets a new helper: this one may have ended. */
  async #ask<T>(question: (session: LibxlSession) => Promise<T>): Promise<T> {
    this.#session ??= this.#start();
    const session = this.#session;
    try {
      return await question(session);
    } catch (error) {
      if (this.#session === session) {
        this.#session = undefined;
        await session[Symbol.asyncDispose]();
      }
      throw error;
    }
  }
}
