/**
 * The texts of xlsnap are those of libvirt 9.0, the oldest that is supported. Where a newer libvirt says the same in other words,
 * there is a line here, for all tests that compare with the installed libvirt. A text that means something else is no rewording.
 */

const REWORDED: readonly (readonly [newer: RegExp, ours: string])[] = [
  // A malformed document: 9.0 names what was read.
  [/^at line (\d+): /, '(domain_snapshot):$1: '],
  // Where there is no line to be shown, 9.0 shows that.
  [/^(\(domain_snapshot\):\d+: .*)\s*$/, '$1\n(null)\n^'],
  // 9.0 leaves out the space.
  [/(PCI address [\da-f:.]+) (does not match)/, '$1$2'],
  [
    /host device subsystem type (\S+) is not compatible with source subsystem type (\S+)/,
    'host device subsystem $1 does not match source $2',
  ],
  [/domain watchdog device count/, 'domain watchdog count'],
  [/(Excessive depth in document: \d+), use/, '$1 use'],
];

/** The numbers, which newer ones do not have. */
const LEFT_OUT: readonly (readonly [both: RegExp, common: string])[] = [
  [/(IOMMU device count) \d+ (does not match source) \d+/, '$1 $2'],
];

/** What the installed libvirt says, in the words of libvirt 9.0. */
export function inWordsOf9(text: string): string {
  return REWORDED.reduce((words, [newer, ours]) => words.replace(newer, ours), text);
}

/** What all say of a text: of one of libvirt 9.0, or in its words. */
export function inCommonWords(text: string): string {
  return LEFT_OUT.reduce((words, [both, common]) => words.replace(both, common), text);
}

/** What libxml2 prints in attributes since 2.14, as it was printed before. */
export function asPrintedBefore(text: string): string {
  const reference = (character: string): string => `&#x${character.codePointAt(0)?.toString(16).toUpperCase()};`;
  return text.replace(/<[^>]*>/g, (tag) => tag.replace(/[^\0-\x7f]/gu, reference));
}

/** A refusal without the line of the document that is shown below it: libxml2 2.14 shows less of a long one. */
export function withoutShownLine(text: string): string {
  return text.replace(/\n[\s\S]*$/, '');
}
