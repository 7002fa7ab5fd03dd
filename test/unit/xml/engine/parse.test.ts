import { describe, expect, test } from '@jest/globals';
import { diag } from 'libxml2-wasm';
import { LibvirtError } from '../../../../src/errors.ts';
import { element } from '../../../../src/model/element.ts';
import { MAX_DOCUMENT_BYTES, parseXml } from '../../../../src/xml/engine/parse.ts';
import { withoutShownLine } from '../../../support/xml/libvirt-words.ts';
import { virshRefusal } from '../../../support/xml/virsh-document.ts';

const refusal = (document: string): LibvirtError => {
  try {
    parseXml(document, 'domain_snapshot');
  } catch (error) {
    if (error instanceof LibvirtError) return error;
    throw error;
  }
  throw new Error(`taken: ${document}`);
};

describe('malformed documents are refused in the very words of libvirt', () => {
  test.each([
    '',
    ' ',
    '\n\n',
    'hello',
    ' \n x',
    '<domainsnapshot>',
    '<domainsnapshot>\n <name>x</nam>\n</domainsnapshot>\n',
    '<domainsnapshot/>\n<b/>',
    "<domainsnapshot a='1' a='2'/>",
    '<domainsnapshot>a & b</domainsnapshot>',
    '<domainsnapshot>\n\t<name>&foo;</name></domainsnapshot>',
    "<domainsnapshot a='<'/>",
    '<domainsnapshot a=1/>',
    '<domainsnapshot>\n <name>a\x01b</name>\n</domainsnapshot>',
    '<domainsnapshot><!-- a -- b --></domainsnapshot>',
    '<domainsnapshot>]]></domainsnapshot>',
    '\n\n<domainsnapshot>\n  <disks>\n  </domainsnapshot>\n',
    '<domainsnapshot><name>äö</nam></domainsnapshot>',
    '<domainsnapshot>\u{1F600}<name>x\r</nam></domainsnapshot>',
    '<domainsnapshot>\r\n<name>x\r\n</name><x></domainsnapshot>',
    '<?xml version="2.0"?><domainsnapshot/>',
    ' <?xml version="1.0"?><domainsnapshot/>',
    "<domainsnapshot xmlns:x='relative'/><",
    '<domainsnapshot>\n <name>x</name>\n </disks></x></y></domainsnapshot>',
    '<domainsnapshot>&#1;</domainsnapshot>',
    '<?xml version="1.0"?>\n\n<domainsnapshot a="1"b="2"></domainsnapshot>',
  ])('%j', (document) => {
    const { message, fields } = refusal(document);
    expect(message).toBe(virshRefusal(document)?.trimEnd());
    expect(fields).toMatchObject({ code: 35, domain: 35 });
  });

  test.each([
    ['a long line', `<domainsnapshot><description>${'0'.repeat(300)}</description><name>x</nam></domainsnapshot>`],
    ['too many levels', `<domainsnapshot>${'<a>'.repeat(300)}${'</a>'.repeat(300)}</domainsnapshot>`],
  ])('%s', (_what, document) => {
    const { message } = refusal(document);
    expect(withoutShownLine(message)).toBe(withoutShownLine(virshRefusal(document) ?? ''));
  });

  test('a long line is shown as a whole, as libvirt 9.0 shows it', () => {
    const document = `<domainsnapshot><description>${'0'.repeat(300)}</description><name>x</nam></domainsnapshot>`;
    const [, shown, mark] = refusal(document).message.split('\n');
    expect(shown).toBe(document);
    expect(mark).toBe(`${'-'.repeat(document.indexOf('</domainsnapshot>'))}^`);
  });

  test('a domain definition is refused under its own name', () => {
    expect(() => parseXml('<domain>', 'domain_definition')).toThrow(/^\(domain_definition\):1: Premature end/);
  });
});

describe('what is read', () => {
  const root = (document: string) => parseXml(document, 'domain_snapshot');

  test('attributes in their order, namespaces after them, prefixes kept', () => {
    const read = root("<a xmlns:x='u:x' b='1' x:c='2' a='3'><x:d/></a>");
    expect(Object.entries(read.attributes)).toEqual([
      ['b', '1'],
      ['x:c', '2'],
      ['a', '3'],
      ['xmlns:x', 'u:x'],
    ]);
    expect(read.children).toEqual([element('x:d')]);
  });

  test('an undeclared prefix is no obstacle, as with libvirt', () => {
    expect(virshRefusal('<domainsnapshot><x:a y:b="1"/></domainsnapshot>')).toBeUndefined();
    expect(root('<domainsnapshot><x:a y:b="1"/></domainsnapshot>').children).toEqual([element('x:a', { 'y:b': '1' })]);
  });

  test('blanks between elements go, blanks that are an element’s text stay', () => {
    expect(root('<a>\n  <b> </b>\n  <c> x </c>\n</a>').children).toEqual([
      element('b', {}, [' ']),
      element('c', {}, [' x ']),
    ]);
  });

  test('text next to a comment, an instruction or CDATA is one text', () => {
    expect(root('<a>x<!-- c -->y<?pi z?><![CDATA[<&]]></a>').children).toEqual(['xy<&']);
  });

  test('elements after an instruction are not lost', () => {
    expect(root('<a><?pi z?><b/><?pi z?><c/></a>').children).toEqual([element('b'), element('c')]);
  });

  test('an attribute called __proto__ is an attribute', () => {
    expect(Object.keys(root("<a __proto__='1' constructor='2'/>").attributes)).toEqual(['__proto__', 'constructor']);
  });

  // As in libvirt with libxml2 before 2.14, which begins to obey it: it refuses what is UTF-8 all the same.
  test.each(['US-ASCII', 'ISO-8859-1', 'utf-16', 'UTF-32'])('a declared encoding does not matter: %s', (encoding) => {
    const document = `<?xml version="1.0" encoding="${encoding}"?><domainsnapshot><name>ä</name></domainsnapshot>`;
    expect(virshRefusal(document) ?? '').toMatch(/^$|Invalid bytes in character encoding|Blank needed here/);
    expect(root(document).children).toEqual([element('name', {}, ['ä'])]);
  });

  test('a lone surrogate is read as what UTF-8 has for it', () => {
    expect(root('<a>\ud800</a>').children).toEqual(['\ufffd']);
  });

  test('line ends and references are resolved', () => {
    expect(root('<a b="x&#10;y">1\r\n2&lt;&#x1F600;</a>')).toEqual(element('a', { b: 'x\ny' }, ['1\n2<\u{1F600}']));
  });
});

describe('hostile documents', () => {
  test.each([
    ['an entity', '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'],
    ['a file', '<!DOCTYPE a [<!ENTITY x SYSTEM "/etc/passwd">]><a>&x;</a>'],
    ['another document type', '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>'],
  ])('%s is refused', (_, document) => {
    expect(refusal(document).message).toBe('(domain_snapshot):1: Document type declarations are not accepted');
  });

  test('entities that multiply are refused before they do', () => {
    const entities = Array.from({ length: 12 }, (_, at) => `<!ENTITY e${at + 1} "${`&e${at};`.repeat(10)}">`).join('');
    const document = `<!DOCTYPE a [<!ENTITY e0 "lol">${entities}]><a b="&e12;"/>`;
    const before = process.memoryUsage().rss;
    expect(refusal(document).code).toBe('XML_DETAIL');
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });

  test('more than 16 MiB are refused unread', () => {
    expect(refusal(`<a>${'x'.repeat(MAX_DOCUMENT_BYTES)}</a>`).message).toMatch(
      /^\(domain_snapshot\):1: Document of 16777223 bytes is longer/,
    );
  });
});

test('no tree of libxml2 outlives a call, whether it succeeds or not', () => {
  diag.configure({ enabled: true });
  try {
    parseXml('<a/>', 'domain_snapshot');
    expect(() => parseXml('<a', 'domain_snapshot')).toThrow();
    expect(() => parseXml('<!DOCTYPE a><a/>', 'domain_snapshot')).toThrow();
    expect(diag.report()).toEqual({});
  } finally {
    diag.configure({ enabled: false });
  }
});
