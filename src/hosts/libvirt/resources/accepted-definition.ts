/**
 * Whether libvirtd accepts a definition, without defining anything: it reads the whole document before it refuses a second
 * domain of the same UUID (virDomainObjListAdd). libvirt has no call that only asks.
 */

import { asLibvirtError, LibvirtError } from '../../../errors.ts';
import type { DomainDefinition } from '../../../model/domain.ts';
import { renamed } from '../../../xml/domain/definition.ts';
import { domainUuid } from '../../../xml/domain/domain.ts';
import { writeElement } from '../../../xml/engine/write.ts';
import type { Upstream } from '../upstream.ts';

/** What it says of a document that it accepts, and if it does not let us ask. */
const NO_ANSWER: ReadonlySet<string> = new Set(['OPERATION_FAILED', 'DOM_EXIST', 'ACCESS_DENIED', 'NO_SUPPORT', 'RPC']);

/**
 * Returns why libvirtd refuses the definition of a domain that it has; undefined if it accepts it, or if nobody can say.
 * Changes nothing.
 */
export async function refusalOf(
  upstream: Pick<Upstream, 'defineXML' | 'undefine'>,
  definition: DomainDefinition,
): Promise<LibvirtError | undefined> {
  const uuid = domainUuid(definition.element);
  if (uuid === undefined) return undefined;
  const asked = renamed(definition, `xlsnap-asks-${uuid}`);
  const made = await upstream.defineXML(writeElement(asked.element)).catch(asLibvirtError);
  if (made instanceof LibvirtError) return NO_ANSWER.has(made.code) ? undefined : made;
  // The domain has gone since.
  await upstream.undefine(made);
  return undefined;
}
