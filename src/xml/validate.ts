/** VIR_DOMAIN_SNAPSHOT_CREATE_VALIDATE: the document against libvirt's RELAX NG schema, with libxml2's verdict and words. */

import { readFileSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { RelaxNGValidator, XmlDocument, XmlValidateError, xmlCleanupInputProvider } from 'libxml2-wasm';
import { xmlRegisterFsInputProviders } from 'libxml2-wasm/lib/nodejs.mjs';
import { LibvirtError } from '../errors.ts';
import { withDocument } from './parse.ts';
import { refusal } from './values.ts';

/** Where libvirt's packages put it; it includes others of that folder. */
export const SNAPSHOT_SCHEMA = '/usr/share/libvirt/schemas/domainsnapshot.rng';

/** Compiled once (70 ms) and kept: one for each path that was asked for. */
const validators = new Map<string, RelaxNGValidator>();

/** Refuses (XML_INVALID_SCHEMA) what the schema does not allow; malformed text and a wrong root as the parser refuses them. */
export async function validateSnapshot(xml: string, schema = SNAPSHOT_SCHEMA): Promise<void> {
  await access(schema).catch((cause) => {
    throw new LibvirtError(
      'CONFIG_UNSUPPORTED',
      `the schema '${schema}' is not installed: install libvirt's daemon package, or do not ask for validation`,
      { domain: 'DOMAIN_SNAPSHOT', cause },
    );
  });
  withDocument(xml, 'domain_snapshot', (document) => {
    if (document.root.name !== 'domainsnapshot') {
      throw refusal('XML_ERROR', `expecting root element of 'domainsnapshot', not '${document.root.name}'`);
    }
    try {
      validatorOf(schema).validate(document);
    } catch (error) {
      if (!(error instanceof XmlValidateError)) throw error;
      throw new LibvirtError('XML_INVALID_SCHEMA', `Unable to validate doc against ${schema}\n${error.message}`, {
        domain: 'XML',
        cause: error,
      });
    }
  });
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
    // Nothing but the schema's own includes is ever read.
    xmlCleanupInputProvider();
  }
}
