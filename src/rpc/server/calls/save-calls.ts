/** The calls that save and restore domains, if the domains are ours, and those about their images. */

import { LibvirtError } from '../../../errors.ts';
import { refuseUnknownFlags } from '../../../model/flags.ts';
import type { SaveApi, SaveImageApi } from '../../../snapshots/api.ts';
import { PROCEDURES as P } from '../../wire/procedures.ts';
import { type Answers, answer } from '../answers.ts';
import type { DomainApi } from '../domain-api.ts';

/** VIR_DOMAIN_SAVE_PAUSED: the one flag of a restore that libvirt's xen driver has. */
const RESTORE_PAUSED = 0x4;

/** Answers for a host that saves and restores its domains; none for one that does not. */
export function saveAnswers(saves: SaveApi | undefined, domains: DomainApi): Answers {
  if (!saves) return new Map();
  const restore = async (from: string, dxml: string | null, flags: number): Promise<void> => {
    refuseUnknownFlags(flags, RESTORE_PAUSED, 'libxlDomainRestoreFlags');
    if (dxml !== null) throw new LibvirtError('ARGUMENT_UNSUPPORTED', 'xml modification unsupported');
    await domains.restore?.(from, { paused: (flags & RESTORE_PAUSED) !== 0 });
  };
  return new Map([
    answer(P.DOMAIN_SAVE, ({ domain, to }) => saves.save(domain, { to, dxml: null, flags: 0 })),
    answer(P.DOMAIN_SAVE_FLAGS, ({ domain, ...request }) => saves.save(domain, request)),
    answer(P.DOMAIN_MANAGED_SAVE, ({ domain, flags }) => saves.managedSave(domain, flags)),
    answer(P.DOMAIN_MANAGED_SAVE_REMOVE, async ({ domain, flags }) => {
      refuseUnknownFlags(flags, 0, 'libxlDomainManagedSaveRemove');
      await domains.removeManagedSave?.(domain);
    }),
    answer(P.DOMAIN_RESTORE, ({ from }) => restore(from, null, 0)),
    answer(P.DOMAIN_RESTORE_FLAGS, ({ from, dxml, flags }) => restore(from, dxml, flags)),
  ]);
}

/** Answers for the images of saved domains. */
export function saveImageAnswers(images: SaveImageApi): Answers {
  return new Map([
    answer(P.DOMAIN_SAVE_IMAGE_GET_XML_DESC, async ({ file, flags }) => ({ value: await images.xmlDesc(file, flags) })),
    answer(P.DOMAIN_SAVE_IMAGE_DEFINE_XML, ({ file, dxml, flags }) => images.defineXML(file, dxml, flags)),
    answer(P.DOMAIN_MANAGED_SAVE_GET_XML_DESC, async ({ domain, flags }) => ({
      value: await images.managedXMLDesc(domain, flags),
    })),
    answer(P.DOMAIN_MANAGED_SAVE_DEFINE_XML, ({ domain, dxml, flags }) =>
      images.managedDefineXML(domain, dxml ?? '', flags),
    ),
  ]);
}
