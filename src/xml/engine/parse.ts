/**
 * Reads XML with libxml2, the parser that libvirt itself uses, so that malformed input gets libvirt's messages. Nothing
 * outside the text is ever read, entities are not expanded, and no tree of libxml2's survives a call.
 */

import { ParseOption, XmlDocument, XmlParseError } from 'libxml2-wasm';
import { type ErrorDomain, LibvirtError } from '../../errors.ts';
import type { XmlElement } from '../../model/element.ts';
import { encodeUtf8 } from '../../model/utf8.ts';
import { takeOver } from './canonical.ts';
import { describePosition, describeProblem, type Fault } from './parse-error.ts';

/** libvirt's names, in its messages, of the documents that are read here. */
export type DocumentKind = 'domain_snapshot' | 'domain_definition' | 'disk_definition' | 'capabilities';

/** Longest document that is read, bytes of UTF-8. libvirt's own limits: 4 MiB on the wire, 1 MiB per stored file. */
export const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024;

const FATAL = 3;

/**
 * libvirt's own options: no network, white space between elements dropped (xmlKeepBlanksDefault(0)), a declared
 * encoding ignored (the text is decoded already; .NET declares UTF-16). Depth is limited to 256 by libxml2 itself.
 */
const OPTIONS =
  ParseOption.XML_PARSE_NONET |
  ParseOption.XML_PARSE_NO_XXE |
  ParseOption.XML_PARSE_NO_SYS_CATALOG |
  ParseOption.XML_PARSE_NOBLANKS |
  ParseOption.XML_PARSE_IGNORE_ENC |
  ParseOption.XML_PARSE_NOCDATA;

const ERROR_DOMAINS: Readonly<Record<DocumentKind, ErrorDomain>> = {
  domain_snapshot: 'DOMAIN_SNAPSHOT',
  domain_definition: 'DOMAIN',
  disk_definition: 'DOMAIN',
  capabilities: 'NONE',
};

/** Reads a document. Refuses malformed text (XML_DETAIL) with libxml2's message, the line and a mark under it. */
export function parseXml(text: string, what: DocumentKind): XmlElement {
  return withDocument(text, what, ({ root }) => takeOver(root));
}

/** Runs `use` on libxml2's own tree of the text, which is freed afterwards. Refuses what parseXml refuses. */
export function withDocument<T>(text: string, what: DocumentKind, use: (document: XmlDocument) => T): T {
  const refuse = (message: string): LibvirtError =>
    new LibvirtError('XML_DETAIL', message, { domain: ERROR_DOMAINS[what] });
  const bytes = encodeUtf8(text);
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    throw refuse(`(${what}):1: Document of ${bytes.length} bytes is longer than ${MAX_DOCUMENT_BYTES} bytes`);
  }
  using document = parse(bytes, what, refuse);
  if (document.dtd !== null) throw refuse(`(${what}):1: Document type declarations are not accepted`);
  return use(document);
}

/**
 * Parses without reporting. Namespace faults are errors to libxml2 but not fatal, and libvirt accepts such documents, so
 * this fails only if libxml2 builds no tree.
 */
function parse(bytes: Buffer, what: DocumentKind, refuse: (message: string) => LibvirtError): XmlDocument {
  try {
    return XmlDocument.fromBuffer(bytes, { option: OPTIONS | ParseOption.XML_PARSE_NOERROR });
  } catch {
    const fault = firstFault(bytes);
    throw refuse(`(${what}):${fault.line}: ${describeProblem(fault, bytes)}\n${describePosition(fault, bytes)}`);
  }
}

/** Parses again to get the message: libvirt reports the first fatal fault. */
function firstFault(bytes: Buffer): Fault {
  try {
    XmlDocument.fromBuffer(bytes, { option: OPTIONS }).dispose();
  } catch (error) {
    const fatal = error instanceof XmlParseError ? error.details.find(({ level }) => level === FATAL) : undefined;
    if (fatal) return fatal;
  }
  return { message: 'Document cannot be parsed', line: 1, col: 1 };
}
