import { describe, expect, test } from '@jest/globals';
import { domainMemoryKib, domainName, domainUuid, parseDomain } from '../../../../src/xml/domain/domain.ts';

const domain = (content: string) => parseDomain(`<domain type='xen'>${content}</domain>`);

describe('a definition', () => {
  test('of another kind is refused', () => {
    expect(() => parseDomain('<network/>')).toThrow('XML error: unexpected root element <network>, expecting <domain>');
  });

  test('has a name', () => {
    expect(domainName(domain('<name>d</name>'))).toBe('d');
    expect(() => domainName(domain(''))).toThrow('missing name information');
  });

  test.each([
    '22222222-2222-3333-4444-AAAAAAAAAAAA',
    '222222222222333344 44AAAAAAAAAAAA'.replace(' ', ''),
    ' 22222222-2222-3333-4444-aaaaaaaaaaaa ',
  ])('has a UUID: %j', (uuid) => {
    expect(domainUuid(domain(`<uuid>${uuid}</uuid>`))).toBe('22222222-2222-3333-4444-aaaaaaaaaaaa');
  });

  test('may have no UUID yet, but not a wrong one', () => {
    expect(domainUuid(domain(''))).toBeUndefined();
    expect(() => domainUuid(domain('<uuid>2222</uuid>'))).toThrow('internal error: malformed uuid element');
  });

  test.each([
    ['<memory>1024</memory>', 1024],
    ["<memory unit='KiB'>1024</memory>", 1024],
    ["<memory unit='MiB'>1</memory>", 1024],
    ["<memory unit='M'>1</memory>", 1024],
    ["<memory unit='MB'>1</memory>", 977],
    ["<memory unit='b'>1025</memory>", 2],
    ["<memory unit='GiB'> 2</memory>", 2097152],
  ])('%s is %d KiB', (text, kib) => {
    expect(domainMemoryKib(domain(text))).toBe(kib);
  });

  test.each([
    ['', 'XML error: Memory size must be specified via <memory> or in the <numa> configuration'],
    ['<memory>0</memory>', 'XML error: Memory size must be specified via <memory> or in the <numa> configuration'],
    ['<memory>x</memory>', "XML error: Invalid value 'x' for element or attribute './memory[1]'"],
    ["<memory unit='zz'>1</memory>", "invalid argument: unknown suffix 'zz'"],
    ["<memory unit='EiB'>99</memory>", 'numerical overflow: value too large: 99EiB'],
  ])('%j has no memory', (text, message) => {
    expect(() => domainMemoryKib(domain(text))).toThrow(message);
  });
});
