/** The calls about images of saved domains with the permissions that remote_protocol.x declares for each (@acl). */

import { XML } from '../model/flags.ts';
import type { SaveImageApi } from '../snapshots/api.ts';
import type { Judge } from './acl.ts';

/** The same calls, each of which is judged before it is carried out; those by path by the domain that the image is of. */
export function judgedSaveImages(api: SaveImageApi, judge: Judge): SaveImageApi {
  return {
    owner: (path) => api.owner(path),
    xmlDesc: async (path, flags) => {
      await judge.saved(await api.owner(path), 'write');
      return await api.xmlDesc(path, flags);
    },
    defineXML: async (path, xml, flags) => {
      await judge.saved(await api.owner(path), 'write', 'hibernate');
      await api.defineXML(path, xml, flags);
    },
    managedXMLDesc: async (domain, flags) => {
      await judge.domain(domain, 'read', ...(flags & XML.SECURE ? (['read-secure'] as const) : []));
      return await api.managedXMLDesc(domain, flags);
    },
    managedDefineXML: async (domain, xml, flags) => {
      await judge.domain(domain, 'write', 'hibernate');
      await api.managedDefineXML(domain, xml, flags);
    },
  };
}
