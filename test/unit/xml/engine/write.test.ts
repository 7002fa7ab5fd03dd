import { describe, expect, test } from '@jest/globals';
import { element } from '../../../../src/model/element.ts';
import { parseDomain } from '../../../../src/xml/domain/domain.ts';
import { parseXml } from '../../../../src/xml/engine/parse.ts';
import { escapeXml, writeElement } from '../../../../src/xml/engine/write.ts';
import { asPrintedBefore } from '../../../support/xml/libvirt-words.ts';
import { virshSession } from '../../../support/xml/virsh-document.ts';

describe('libvirt’s bytes', () => {
  test('elements on lines of their own, two blanks deeper each, single quotes', () => {
    const tree = element('a', { b: '1', c: '' }, [element('d'), element('e', {}, [element('f', {}, ['x'])])]);
    expect(writeElement(tree)).toBe("<a b='1' c=''>\n  <d/>\n  <e>\n    <f>x</f>\n  </e>\n</a>\n");
  });

  test('an indent moves every line', () => {
    expect(writeElement(element('a', {}, [element('b')]), 4)).toBe('    <a>\n      <b/>\n    </a>\n');
  });

  test('text is kept as it is, over lines too', () => {
    expect(writeElement(element('a', {}, [element('b', {}, [' x\n y '])]))).toBe('<a>\n  <b> x\n y </b>\n</a>\n');
  });

  test.each(['devices', 'encryption'])('<%s> always has both its tags', (name) => {
    const text = `<a>\n  <${name}>\n  </${name}>\n</a>\n`;
    expect(writeElement(element('a', {}, [element(name)]))).toBe(text);
    expect(parseXml(text, 'domain_definition')).toEqual(element('a', {}, [element(name)]));
  });

  test('the five entities; control characters that XML does not know are dropped, the others kept', () => {
    const codes = Array.from({ length: 0x20 }, (_, code) => code).slice(1);
    const kept = [0x09, 0x0a, 0x0d, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f];
    expect(escapeXml(String.fromCharCode(...codes))).toBe(String.fromCharCode(...kept).replace('\r', '&#13;'));
    expect(escapeXml(`<a> & "b" 'c' ä\u{1F600}`)).toBe('&lt;a&gt; &amp; &quot;b&quot; &apos;c&apos; ä\u{1F600}');
  });
});

/** A definition with every kind of content in <metadata>; blanks and quotes are not libvirt's. */
const DEFINITION = `<domain type="test"><name>d</name>
<uuid>22222222-2222-3333-4444-777777777777</uuid>
<description>two
 lines &lt; &quot;</description>
<metadata>
  <app1:foo xmlns:app1='http://foo.org/' b="ä\u{1F600}&quot;'&#10;&#9;&lt;&gt;&amp;" a='1'>fooish ä &gt; ' " &#13;</app1:foo>
  <x:y xmlns:x='u:x'><x:z/><x:z>
   </x:z><x:w>t<x:q/> <x:q x:n='1' xmlns:r='u:r'/></x:w></x:y><n xmlns='u:n'><m/></n></metadata>
<memory unit='KiB'>32768</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os></domain>`;

describe('definitions', () => {
  const dumped = asPrintedBefore(virshSession(DEFINITION, 'dumpxml d'));

  test('what libvirt printed is written byte for byte, <metadata> and all', () => {
    expect(dumped).toContain('<app1:foo xmlns:app1="http://foo.org/" b="&#xE4;&#x1F600;');
    expect(writeElement(parseDomain(dumped.trim()))).toBe(`${dumped.trim()}\n`);
  });

  test('<metadata> in other bytes becomes what libvirt makes of it', () => {
    const metadata = (text: string): string => / {2}<metadata>[\s\S]*<\/metadata>\n/.exec(text)?.[0] ?? '';
    expect(metadata(dumped)).not.toBe('');
    expect(metadata(writeElement(parseDomain(DEFINITION)))).toBe(metadata(dumped));
  });

  test('reading what was written gives the same', () => {
    const domain = parseDomain(DEFINITION);
    expect(parseDomain(writeElement(domain))).toEqual(domain);
  });
});
