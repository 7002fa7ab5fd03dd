/** A snapshot's name inside the name of a volume: `plain` characters as they are, of others each byte as `mark` and hex. */
export function escapeName(name: string, plain: RegExp, mark: string): string {
  return Array.from(Buffer.from(name), (byte) => {
    const character = String.fromCharCode(byte);
    return plain.test(character) ? character : `${mark}${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}
