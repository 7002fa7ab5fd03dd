/** What would keep snapshots of a host's guests from working, before anybody tries. */

import type { DomainRef } from '../../../model/domain.ts';
import { domainCommand } from '../../../model/messages/shell-command.ts';
import type { DoctorFinding } from '../file-rules.ts';

/**
 * The first two numbers of the versions with which the tests have been run. test/integration/docs.test.ts compares them with
 * docs/support.md, README and what is installed.
 */
export const TESTED = {
  Xen: ['4.17', '4.20'],
  libvirt: ['9.0', '11.3', '12.8'],
  QEMU: ['7.2', '10.0', '11.1'],
} as const;

/** A program whose version matters. */
export type Component = keyof typeof TESTED;

/** Notes versions with which nobody has tested. */
export function versionFindings(versions: Readonly<Partial<Record<Component, string>>>): readonly DoctorFinding[] {
  return Object.entries(versions).flatMap(([component, version]): DoctorFinding[] => {
    const tested: readonly string[] = TESTED[component as Component];
    if (tested.includes(version)) return [];
    return [
      {
        level: 'note',
        problem: `xlsnap has not been tested with ${component} ${version}, but with ${tested.join(', ')}`,
        wayOut: 'try it with a guest that you can lose; npm test tries more',
      },
    ];
  });
}

/** A kind of snapshot, by the options that ask for it, and why it would be refused; undefined if it would be taken. */
export interface CheckedKind {
  readonly title: string;
  readonly options: readonly string[];
  readonly refusal: string | undefined;
}

/** A guest of which no kind can be taken is a problem; one of which some cannot is worth knowing. */
export function guestFindings(domain: DomainRef, kinds: readonly CheckedKind[]): readonly DoctorFinding[] {
  const taken = kinds.filter(({ refusal }) => refusal === undefined).map(({ title }) => title);
  return kinds.flatMap(({ title, options, refusal }): DoctorFinding[] => {
    if (refusal === undefined) return [];
    const asked = { program: 'xlsnap', command: 'snapshot-create-as', options: [...options, '--check'] } as const;
    const command = domainCommand({ ...asked, domain });
    const instead =
      taken.length > 0 ? `take a snapshot ${taken.join(' or ')}, or remove the cause; ` : 'remove the cause; ';
    return [
      {
        level: taken.length > 0 ? 'note' : 'problem',
        problem: `a snapshot ${title} of domain '${domain.name}' would be refused: ${refusal}`,
        wayOut: `${instead}to ask again: ${command}`,
      },
    ];
  });
}
