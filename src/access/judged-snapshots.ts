/**
 * The snapshot calls with the permissions that remote_protocol.x declares for each (@acl). Protection needs the one that a delete
 * needs.
 */

import type { DomainRef } from '../model/domain.ts';
import { CREATE, XML } from '../model/flags.ts';
import type { SnapshotApi, SnapshotRef } from '../snapshots/api.ts';
import type { DomainPermission, Judge } from './acl.ts';

/** The same calls, each of which is judged before it is carried out. */
export function judgedSnapshots(api: SnapshotApi, judge: Judge): SnapshotApi {
  /** `run` after `permissions` on the domain of the first argument have been granted. */
  function after<A extends readonly [DomainRef | SnapshotRef, ...unknown[]], R>(
    permissions: (...args: NoInfer<A>) => readonly DomainPermission[],
    run: (...args: A) => Promise<R>,
  ): (...args: A) => Promise<R> {
    return async (...args) => {
      const [target] = args;
      await judge.domain('domain' in target ? target.domain : target, ...permissions(...(args as NoInfer<A>)));
      return await run(...args);
    };
  }
  const read = (): readonly DomainPermission[] => ['read'];
  const snapshot = (): readonly DomainPermission[] => ['snapshot'];
  const create = (_domain: DomainRef, _xml: string, flags: number): readonly DomainPermission[] =>
    (flags & CREATE.QUIESCE) === 0 ? ['snapshot'] : ['snapshot', 'fs-freeze'];
  return {
    createXML: after(create, (domain, xml, flags) => api.createXML(domain, xml, flags)),
    checkCreate: after(create, (domain, xml, flags) => api.checkCreate(domain, xml, flags)),
    getXMLDesc: after(
      (_ref, flags) => ((flags & XML.SECURE) === 0 ? ['read'] : ['read', 'read-secure']),
      (ref, flags) => api.getXMLDesc(ref, flags),
    ),
    num: after(read, (domain, flags) => api.num(domain, flags)),
    listNames: after(read, (domain, flags) => api.listNames(domain, flags)),
    listAll: after(read, (domain, flags) => api.listAll(domain, flags)),
    lookupByName: after(read, (domain, name, flags) => api.lookupByName(domain, name, flags)),
    hasCurrent: after(read, (domain, flags) => api.hasCurrent(domain, flags)),
    current: after(read, (domain, flags) => api.current(domain, flags)),
    getParent: after(read, (ref, flags) => api.getParent(ref, flags)),
    numChildren: after(read, (ref, flags) => api.numChildren(ref, flags)),
    listChildrenNames: after(read, (ref, flags) => api.listChildrenNames(ref, flags)),
    listAllChildren: after(read, (ref, flags) => api.listAllChildren(ref, flags)),
    isCurrent: after(read, (ref, flags) => api.isCurrent(ref, flags)),
    hasMetadata: after(read, (ref, flags) => api.hasMetadata(ref, flags)),
    revert: after(snapshot, (ref, flags) => api.revert(ref, flags)),
    delete: after(snapshot, (ref, flags) => api.delete(ref, flags)),
    setProtected: after(snapshot, (ref, on) => api.setProtected(ref, on)),
    listProtected: after(read, (domain) => api.listProtected(domain)),
    listRows: after(read, (domain) => api.listRows(domain)),
    // What these return is not for the caller, but for the calls that have their own rule.
    count: (uuid) => api.count(uuid),
    job: (uuid) => api.job(uuid),
    completedJob: (uuid, keep) => api.completedJob(uuid, keep),
    checkUndefine: (domain, metadata) => api.checkUndefine(domain, metadata),
    forget: (uuid) => api.forget(uuid),
  };
}
