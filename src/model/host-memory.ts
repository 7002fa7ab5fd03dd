/** The memory of a Xen host, as the hypervisor counts it. */
export interface HostMemory {
  /** KiB that no domain has, and none was promised. */
  readonly freeKib: number;
  /** All domains that have memory, Domain-0 too. */
  readonly domains: readonly DomainMemory[];
  /** The options that Xen was booted with; absent if they are not known. */
  readonly xenCommandLine?: string;
}

/** The memory of one domain. */
export interface DomainMemory {
  readonly id: number;
  readonly name: string;
  readonly uuid: string;
  readonly kib: number;
}

/** Its id. */
export const DOMAIN_0 = 0;
