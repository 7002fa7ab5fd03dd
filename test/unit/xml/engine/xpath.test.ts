import { describe, expect, test } from '@jest/globals';
import { selectXml } from '../../../../src/xml/engine/xpath.ts';

const XML = `<domainsnapshot>
  <name>a&amp;b</name>
  <disks>
    <disk name='xvda' snapshot='internal'/>
    <disk name='x&quot;&lt;' snapshot='no'/>
  </disks>
</domainsnapshot>`;

const select = (xpath: string, wrap = false): readonly string[] => selectXml(XML, 'domain_snapshot', xpath, { wrap });

test.each([
  ['/domainsnapshot/name', ['<name>a&amp;b</name>']],
  ['//disk', ['<disk name="xvda" snapshot="internal"/>', '<disk name="x&quot;&lt;" snapshot="no"/>']],
  [
    '//disks',
    ['<disks>\n  <disk name="xvda" snapshot="internal"/>\n  <disk name="x&quot;&lt;" snapshot="no"/>\n</disks>'],
  ],
  ['//name/text()', ['a&amp;b']],
  ['//disk/@name', [' name="xvda"', ' name="x&quot;&lt;"']],
  ['//nosuch', []],
])('%s', (xpath, found) => {
  expect(select(xpath)).toEqual(found);
});

test('the document is its declaration and its root', () => {
  expect(select('/')[0]).toMatch(
    /^<\?xml version="1\.0" encoding="UTF-8"\?>\n<domainsnapshot>\n {2}<name>[\s\S]*<\/domainsnapshot>\n$/,
  );
});

describe('wrapped', () => {
  test('is one element with all of them in it, indented as one', () => {
    expect(select('//disk[1]|//name', true)).toEqual([
      '<nodes>\n  <name>a&amp;b</name>\n  <disk name="xvda" snapshot="internal"/>\n</nodes>',
    ]);
  });

  test('is there without any, too', () => {
    expect(select('//nosuch', true)).toEqual(['<nodes/>']);
  });

  test('attributes become its own, the last of each name', () => {
    expect(select('//@*', true)).toEqual(['<nodes name="x&quot;&lt;" snapshot="no"/>']);
  });

  test('texts stand one after another', () => {
    expect(select('//name/text()', true)).toEqual(['<nodes>a&amp;b</nodes>']);
  });
});

test.each(['string(//name)', '1', '//name = 2'])('%j finds no nodes, and is refused', (xpath) => {
  expect(() => select(xpath)).toThrow(`internal error: Incorrect xpath '${xpath}'`);
});
