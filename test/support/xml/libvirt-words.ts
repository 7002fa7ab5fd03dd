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
];

/** What the installed libvirt says, in the words of libvirt 9.0. */
export function inWordsOf9(text: string): string {
  return REWORDED.reduce((words, [newer, ours]) => words.replace(newer, ours), text);
}
