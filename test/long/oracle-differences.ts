/**
 * Where xlsnapd deliberately does not answer as libvirt 9.0's test driver, and why. Everything else is compared to the
 * byte. An answer expected here that is not given fails, too.
 */

import type { RecordedCommand } from '../support/oracle.ts';

export type OracleHost = 'libvirt' | 'embedded';

export interface Difference {
  readonly reason: string;
  /** Where it only shows on one host. */
  readonly host?: OracleHost;
  /** What is to be expected in place of what was recorded. `at` is case and command, `t02 078`. */
  readonly expected?: (recorded: RecordedCommand, at: string) => RecordedCommand;
  /** What is left of the answers on both sides before they are compared. */
  readonly compared?: (command: RecordedCommand) => RecordedCommand;
}

type Answer = Pick<RecordedCommand, 'stdout' | 'stderr' | 'rc' | 'events'>;

const done = (stdout: string): Answer => ({ stdout, stderr: '', rc: 0, events: [] });
const refused = (...errors: readonly string[]): Answer => ({
  stdout: '\n',
  stderr: errors.map((error) => `error: ${error}\n`).join(''),
  rc: 1,
  events: [],
});

/** Other answers to single commands, whole. */
const answers =
  (table: Readonly<Record<string, Answer>>): NonNullable<Difference['expected']> =>
  (recorded, at) => ({ ...recorded, ...table[at] });

const inStdout =
  (change: (text: string, command: string) => string): NonNullable<Difference['compared']> =>
  (command) => ({ ...command, stdout: change(command.stdout, command.command) });

const EXCLUSIVE = (a: string, b: string): Answer =>
  refused(`Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_${a}' and 'VIR_DOMAIN_SNAPSHOT_CREATE_${b}' are mutually exclusive`);

const NEEDS_DISK_ONLY = refused(
  "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE'",
);

const row = (name: string, state = 'running'): string => ` ${name.padEnd(6)} TTTT-TT-TT TT:TT:TT +ZZZZ   ${state}\n`;

/** virsh rules as long a line as the widest state needs. */
const head = (width = 45): string => ` Name   Creation Time               State\n${'-'.repeat(width)}\n`;
const LISTED = (names: readonly string[]): Answer =>
  done(`${head(51)}${names.map((name) => row(name, name === 'f2' ? 'disk-snapshot' : 'running')).join('')}\n`);

/** The persistent definition of the oracle's domain `one`, as it stands in a snapshot. */
const INACTIVE_ONE = `  <inactiveDomain type='test'>
    <name>one</name>
    <uuid>11111111-2222-3333-4444-777777777777</uuid>
    <memory unit='KiB'>524288</memory>
    <currentMemory unit='KiB'>524288</currentMemory>
    <vcpu placement='static'>1</vcpu>
    <os>
      <type arch='i686'>hvm</type>
      <boot dev='hd'/>
    </os>
    <clock offset='utc'/>
    <on_poweroff>destroy</on_poweroff>
    <on_reboot>restart</on_reboot>
    <on_crash>destroy</on_crash>
    <devices>
      <disk type='file' device='disk'>
        <driver name='qemu' type='qcow2'/>
        <source file='@IMG@/a.qcow2'/>
        <target dev='vda' bus='virtio'/>
      </disk>
    </devices>
  </inactiveDomain>
`;

const LOCKED =
  'operation failed: cannot start the device model: qemu-storage-daemon: --blockdev driver=qcow2,node-name=vda-qcow2,' +
  'file.driver=file,file.filename=@IMG@/a.qcow2,read-only=off: Failed to get "write" lock\n' +
  'Is another process using the image [@IMG@/a.qcow2]?';

/** A definition in a snapshot, as it stands there. */
const DEFINITION = /^ {2}<(domain|inactiveDomain) [\s\S]*?^ {2}<\/\1>\n/gm;

/** Snapshots of a domain that is paused or off, or of its disks alone. */
const DISKS_ALONE = new Set(['t01 057', 't01 061', 't04 039', 't04 061', 't04 062']);

/** Counts of `wc -l`, over documents that contain definitions. */
const lines = (...counts: readonly [number, number, number, number]): Answer =>
  done(
    counts.map((count, index) => `${String(count).padStart(4)} ${'abc'[index]?.concat('.xml') ?? 'total'}\n`).join(''),
  );

export const DIFFERENCES: readonly Difference[] = [
  {
    reason: 'as in the qemu driver, a snapshot of a running persistent domain holds its persistent definition, too',
    host: 'libvirt',
    compared: inStdout((text) => text.replace(INACTIVE_ONE, '')),
    expected: answers({
      't01 018': done(
        '<nodes>\n  <name>s2</name>\n  <name>s1</name>\n  <name>one</name>\n  <name>one</name>\n</nodes>\n\n',
      ),
      't05 006': lines(55, 57, 57, 169),
    }),
  },
  {
    reason:
      "the embedded domains are Xen ones: other definitions, in which a case that edits type='test' edits nothing",
    host: 'embedded',
    compared: inStdout((text) => text.replaceAll(DEFINITION, '')),
    expected: answers({
      't01 018': done(
        '<nodes>\n  <name>s2</name>\n  <name>s1</name>\n  <name>one</name>\n  <name>one</name>\n</nodes>\n\n',
      ),
      't05 006': lines(57, 59, 59, 175),
      't05 064': done("Domain snapshot b created from 'm.xml'\n"),
    }),
  },
  {
    reason: 'the embedded domains have a real block layer, which does not let two of them write to one image',
    host: 'embedded',
    expected: answers({
      't04 070': refused('Failed to create domain from trans.xml', LOCKED),
      ...Object.fromEntries(
        ['t04 071', 't04 072', 't04 073', 't04 074', 't04 075'].map((at) => [
          at,
          refused("failed to get domain 'trans'"),
        ]),
      ),
    }),
  },
  {
    reason: 'through libvirt a snapshot is a save and a restore, which gives the domain a new id',
    host: 'libvirt',
    compared: (command) =>
      command.command.startsWith('virsh list ')
        ? { ...command, stdout: command.stdout.replaceAll(/^ \d+ +/gm, ' N    ') }
        : command,
  },
  {
    reason: 'as in the qemu driver, a revert also tells that the guest runs on and that its definition was replaced',
    expected: (recorded) => {
      const [, domain] = /^virsh snapshot-revert (\S+)/.exec(recorded.command) ?? [];
      if (!recorded.events.some((event) => event.endsWith('2/3 STARTED_FROM_SNAPSHOT'))) return recorded;
      const more = ['4/2 RESUMED_FROM_SNAPSHOT', ...(domain === 'trans' ? [] : ['0/3 DEFINED_FROM_SNAPSHOT'])];
      return {
        ...recorded,
        events: [...recorded.events, ...more.map((event) => `event lifecycle ${domain} ${event}`)],
      };
    },
  },
  {
    reason: 'as in the qemu driver, metadata alone can be deleted (which is how virsh renames)',
    expected: answers({
      't02 078': done('Domain snapshot s3 deleted\n\n'),
      't02 079': refused("Domain snapshot not found: no domain snapshot with matching name 's3'"),
      't02 080': done(`${head()}${row('s2')}\n`),
      't02 083': refused(
        "Failed to undefine domain 'one'",
        'Requested operation is not valid: cannot delete inactive domain with 1 snapshots',
      ),
      't07 011': refused('Must use --rename or --clone to change b to bb', 'Failed to update b'),
      't07 012': done('a\n  |\n  +- b\n      |\n      +- c\n        \n\n'),
      't07 015': done('\n'),
      't07 016': done('a\n  |\n  +- bb\n  +- bc\n  +- c\n    \n\n'),
      't07 020': done('Snapshot a XML configuration not changed.\n\n'),
      't07 021': refused("Domain snapshot not found: no domain snapshot with matching name 'b'"),
    }),
  },
  {
    reason: 'as in the qemu driver, a snapshot can be taken without metadata',
    expected: answers({ 't04 038': done('Domain snapshot f1 created\n') }),
  },
  {
    reason: 'as in the qemu driver, snapshots of disks alone can be taken, and redefined',
    expected: answers({
      't04 039': done('Domain snapshot f2 created\n'),
      't04 045': refused('argument unsupported: QEMU guest agent is not configured'),
      't04 061': done('Domain snapshot EEEEEEEEEE created\n'),
      't05 080': done("Domain snapshot ext created from 'ext.xml'\n"),
      't05 088': done('Snapshot ext set as current\n'),
      't05 090': refused('invalid argument: disk-only flag for snapshot b2 requires disk-snapshot state'),
    }),
  },
  {
    reason: 'as in the qemu driver, reuse of external files may be asked for where there are none',
    expected: answers({
      't04 040': done('Domain snapshot f3 created\n'),
      't04 062': done('Domain snapshot EEEEEEEEEE created\n'),
    }),
  },
  {
    reason: 'as in the qemu driver, a guest is only asked to be quiet for a snapshot of its disks alone',
    expected: answers({ 't04 041': NEEDS_DISK_ONLY, 't04 063': NEEDS_DISK_ONLY, 't04 064': NEEDS_DISK_ONLY }),
  },
  {
    reason: 'as in the qemu driver, a live redefinition is refused before the document is looked at',
    expected: answers({ 't04 059': EXCLUSIVE('LIVE', 'REDEFINE') }),
  },
  {
    reason: 'a guest cannot be saved live through libvirt: its driver would stop it, and that is said',
    host: 'libvirt',
    expected: answers({
      't04 043': refused(
        "Operation not supported: domain 'one' cannot be saved live through libvirt: take the snapshot without the live flag",
      ),
      't04 052': LISTED(['f13', 'f2', 'f3', 'f5', 'f7']),
    }),
  },
  {
    reason: 'what the flags above have let through is listed',
    host: 'embedded',
    expected: answers({ 't04 052': LISTED(['f13', 'f2', 'f3', 'f5', 'f6', 'f7']) }),
  },
  // After those above, whose answers are whole.
  {
    reason: 'as in the qemu driver, a running guest is told to stand and to go on while its memory is taken',
    expected: (recorded, at) => {
      const [, domain] = /^virsh snapshot-create(?:-as)? (?:--domain )?(\S+)/.exec(recorded.command) ?? [];
      const isTaken = /^Domain snapshot \S+ created$/m.test(recorded.stdout) && !DISKS_ALONE.has(at);
      if (domain === undefined || !isTaken) return recorded;
      const halts = recorded.events.length > 0;
      const told = ['3/0 SUSPENDED_PAUSED', ...(halts ? [] : ['4/0 RESUMED_UNPAUSED'])];
      return {
        ...recorded,
        events: [...told.map((event) => `event lifecycle ${domain} ${event}`), ...recorded.events],
      };
    },
  },
];
