/** A snapshot's name inside the name of a volume: `plain` characters as they are, of others each byte as `mark` and hex. */
export function escapeName(name: string, plain: RegExp, mark: string): string {
  return Array.from(Buffer.from(name), (byte) => {
    const character = String.fromCharCode(byte);
    return plain.test(character) ? character : `${mark}${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}

/** The name that escapeName has made this of; undefined for any other text. */
export function unescapeName(text: string, plain: RegExp, mark: string): string | undefined {
  const [first = '', ...others] = text.split(mark);
  const bytes = others.flatMap((part) => [Buffer.from(part.slice(0, 2), 'hex'), Buffer.from(part.slice(2))]);
  const name = Buffer.concat([Buffer.from(first), ...bytes]).toString();
  return escapeName(name, plain, mark) === text ? name : undefined;
}
