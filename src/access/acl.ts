/** polkit's access driver of libvirt: the same actions and details, asked about what xlsnapd does itself. */

import { LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { Authority } from './authority.ts';
import type { Subject } from './caller.ts';

/** virAccessPermDomain, as far as calls are answered here. */
export type DomainPermission =
  | 'block-write'
  | 'delete'
  | 'fs-freeze'
  | 'getattr'
  | 'hibernate'
  | 'init-control'
  | 'migrate'
  | 'read'
  | 'read-secure'
  | 'set-time'
  | 'snapshot'
  | 'write';

/** virAccessPermConnect, the same. */
type ConnectPermission = 'getattr' | 'search-domains';

interface AclOptions {
  readonly authority: Authority;
  /** The driver's name, as rules compare it: `Xen`, `QEMU`. */
  readonly driver: string;
  /** The name that the domain of this UUID has: what the caller says is not asked about. NO_DOMAIN if there is none. */
  readonly nameOf: (domain: DomainRef) => Promise<string>;
}

/** For a host whose libvirtd has `polkit` among its access_drivers. */
export class Acl {
  readonly #options: AclOptions;

  constructor(options: AclOptions) {
    this.#options = options;
  }

  /** Judges what one caller does; one who cannot be identified may do nothing. `signal` ends questions about a caller who has gone. */
  judge(subject: Subject | undefined, signal: AbortSignal): Judge {
    const { authority, driver, nameOf } = this.#options;
    const demand = async (object: string, permission: string, details: Readonly<Record<string, string>>) => {
      const action = `org.libvirt.api.${object}.${permission}`;
      const asked = subject && authority.check({ subject, action, details, interactive: false, signal });
      const granted = await asked?.then(
        ({ authorized }) => authorized,
        () => false,
      );
      if (!granted) throw new LibvirtError('ACCESS_DENIED', `'${driver}' denied access`, { domain: 'ACCESS' });
    };
    const demandAll = async (name: string, uuid: string, permissions: readonly DomainPermission[]): Promise<void> => {
      const details = { connect_driver: driver, domain_name: name, domain_uuid: uuid };
      for (const permission of permissions) await demand('domain', permission, details);
    };
    return {
      domain: async (ref, ...permissions) => await demandAll(await nameOf(ref), ref.uuid, permissions),
      saved: ({ name, uuid }, ...permissions) => demandAll(name, uuid, permissions),
      connect: (permission) => demand('connect', permission, { connect_driver: driver }),
      async sees({ name, uuid }) {
        const details = { connect_driver: driver, domain_name: name, domain_uuid: uuid };
        return await demand('domain', 'getattr', details).then(
          () => true,
          () => false,
        );
      },
    };
  }
}

/** Judges one caller. */
export interface Judge {
  /** Rejects with ACCESS_DENIED, in libvirt's words, unless every permission is granted. */
  domain(ref: DomainRef, ...permissions: readonly DomainPermission[]): Promise<void>;
  /** The same for a domain that may be gone, by the name in its image. */
  saved(ref: DomainRef, ...permissions: readonly DomainPermission[]): Promise<void>;
  /** The same for the connection. */
  connect(permission: ConnectPermission): Promise<void>;
  /**
   * True if the caller gets events about the domain, as libvirtd decides it (remoteRelayDomainEventCheckACL). The name is that of
   * the event: the domain itself may have gone by now. Never rejects.
   */
  sees(ref: DomainRef): Promise<boolean>;
}
