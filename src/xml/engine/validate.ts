/**
 * VIR_DOMAIN_SNAPSHOT_CREATE_VALIDATE: checks the document against a RELAX NG schema, with libxml2's validator and
 * messages.
 */

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { RelaxNGValidator, XmlDocument, XmlValidateError, xmlCleanupInputProvider } from 'libxml2-wasm';
import { xmlRegisterFsInputProviders } from 'libxml2-wasm/lib/nodejs.mjs';
import { LibvirtError } from '../../errors.ts';
import { withDocument } from './parse.ts';
import { refusal } from './values.ts';

/** The schema that libvirt's packages install; it includes others from that folder. */
export const LIBVIRT_SCHEMA = '/usr/share/libvirt/schemas/domainsnapshot.rng';

/** Our own schema, which accepts any content of a domain definition. */
export const OWN_SCHEMA = fileURLToPath(new URL('../../../schemas/domainsnapshot.rng', import.meta.url));

/** Compiled once (some 70 ms) and kept for the life of the process. */
const validators = new Map<string, RelaxNGValidator>();

/**
 * Refuses (XML_INVALID_SCHEMA) what the schema does not allow; refuses malformed text and a wrong root as the parser
 * does. Uses the installed libvirt's schema if there is one, but ours for `<revertDisks>`, which libvirt's schema knows only
 * since 9.9. `given`: path of another schema.
 */
export async function validateSnapshot(xml: string, given?: string): Promise<void> {
  withDocument(xml, 'domain_snapshot', (document) => {
    if (document.root.name !== 'domainsnapshot') {
      throw refusal('XML_ERROR', `expecting root element of 'domainsnapshot', not '${document.root.name}'`);
    }
    const isNewer = document.get('/domainsnapshot/revertDisks') !== null;
    const schema = given ?? (isNewer ? OWN_SCHEMA : installedSchema());
    const validator = validatorOf(schema);
    try {
      validator.validate(document);
    } catch (error) {
      if (!(error instanceof XmlValidateError)) throw error;
      throw new LibvirtError('XML_INVALID_SCHEMA', `Unable to validate doc against ${schema}\n${error.message}`, {
        domain: 'XML',
        cause: error,
      });
    }
  });
}

function installedSchema(): string {
  return existsSync(LIBVIRT_SCHEMA) ? LIBVIRT_SCHEMA : OWN_SCHEMA;
}

function validatorOf(schema: string): RelaxNGValidator {
  const known = validators.get(schema);
  if (known) return known;
  xmlRegisterFsInputProviders();
  try {
    using rng = XmlDocument.fromBuffer(readFileSync(schema), { url: schema });
    const validator = RelaxNGValidator.fromDoc(rng);
    validators.set(schema, validator);
    return validator;
  } finally {
    // Afterwards libxml2 can read no files again: only the schema's own includes are allowed.
    xmlCleanupInputProvider();
  }
}
