/** virDomainGetGuestInfo and the guest's virtual CPUs, by its agent. A guest may answer anything: other forms are refused. */

import { hasReason, LibvirtError } from '../errors.ts';
import type { DomainDefinition } from '../model/domain.ts';
import type { GuestFact, GuestInfoKind, GuestVcpu } from '../model/guests/agent.ts';
import { agentReply } from './guest-agent.ts';
import { targetsOf } from './guest-agent-calls.ts';

const TIMEOUT_MS = 10_000;
/** REMOTE_DOMAIN_GUEST_INFO_PARAMS_MAX. */
const FACTS_MAX = 2_048;
/** QEMU_GUEST_VCPU_MAX_ID. */
const VCPU_IDS = 4_096;

type Entry = Readonly<Record<string, unknown>>;
type Reader = (returned: unknown, live: DomainDefinition) => readonly GuestFact[];

const text = (field: string, value: string): GuestFact => ({ field, type: 'string', value });
const count = (field: string, value: number): GuestFact => ({ field, type: 'uint', value });
const large = (field: string, value: number): GuestFact => ({
  field,
  type: 'ullong',
  value: BigInt(Math.trunc(value)),
});
const textIf = (field: string, value: unknown): readonly GuestFact[] =>
  typeof value === 'string' ? [text(field, value)] : [];
const sizeIf = (field: string, value: unknown): readonly GuestFact[] =>
  typeof value === 'number' && value >= 0 && value < 2 ** 63 ? [large(field, value)] : [];

const OS = 'id name pretty-name version version-id machine variant variant-id kernel-release kernel-version'.split(' ');

/** The command of each kind, and what is read from its reply. */
const KINDS: Readonly<Record<GuestInfoKind, readonly [command: string, reader: Reader]>> = {
  users: ['guest-get-users', users],
  os: [
    'guest-get-osinfo',
    (reply) => OS.flatMap((key) => textIf(`os.${key}`, entryOf(reply, 'guest-get-osinfo')[key])),
  ],
  timezone: ['guest-get-timezone', timezone],
  hostname: [
    'guest-get-host-name',
    (reply) => [text('hostname', stringAt(entryOf(reply, 'guest-get-host-name'), 'host-name', 'guest-get-host-name'))],
  ],
  filesystem: ['guest-get-fsinfo', fileSystems],
  disks: ['guest-get-disks', disks],
  interfaces: ['guest-network-get-interfaces', interfaces],
};

/** `optional`: what the agent has no command for is left out; else it is refused. */
export async function guestInformation(
  live: DomainDefinition,
  kinds: readonly GuestInfoKind[],
  optional: boolean,
): Promise<readonly GuestFact[]> {
  const facts: GuestFact[] = [];
  for (const kind of kinds) {
    const [command, reader] = KINDS[kind];
    const returned = await ask(live, command).catch((error) => {
      if (optional && hasReason(error, 'agent-lacks-command')) return undefined;
      throw error;
    });
    if (returned !== undefined) facts.push(...reader(returned, live));
  }
  if (facts.length > FACTS_MAX) {
    throw new LibvirtError('INTERNAL_ERROR', `the guest agent reports more than ${FACTS_MAX} values`);
  }
  return facts;
}

/** The guest's virtual CPUs. */
export async function guestVcpus(live: DomainDefinition): Promise<readonly GuestVcpu[]> {
  const command = 'guest-get-vcpus';
  return entriesOf(await ask(live, command), command).map((entry) => {
    const { 'logical-id': id, online, 'can-offline': offlinable } = entry;
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0) throw missing('logical-id', command);
    if (id >= VCPU_IDS) {
      throw new LibvirtError('INTERNAL_ERROR', `vcpu id '${id}' reported by guest agent is out of range`);
    }
    if (typeof online !== 'boolean') throw missing('online', command);
    return { id, online, offlinable: offlinable === true };
  });
}

/** Has the guest take these virtual CPUs into use, or out of it. */
export async function setGuestVcpus(live: DomainDefinition, ids: readonly number[], online: boolean): Promise<void> {
  const vcpus = ids.map((id) => ({ 'logical-id': id, online }));
  const set = await ask(live, 'guest-set-vcpus', { vcpus });
  if (typeof set === 'number' && set > 0 && set <= ids.length) return;
  throw new LibvirtError('INTERNAL_ERROR', 'guest agent returned malformed or invalid return value');
}

async function ask(live: DomainDefinition, execute: string, args?: object): Promise<unknown> {
  const json = JSON.stringify({ execute, ...(args && { arguments: args }) });
  return (await agentReply(live, execute, json, TIMEOUT_MS)).returned;
}

function users(reply: unknown): readonly GuestFact[] {
  const command = 'guest-get-users';
  return counted('user', entriesOf(reply, command), (entry, at) => {
    const { 'login-time': login } = entry;
    if (typeof login !== 'number' || !(login >= 0 && login < 2 ** 50)) throw missing('login-time', command);
    return [
      text(`${at}.name`, stringAt(entry, 'user', command)),
      ...textIf(`${at}.domain`, entry.domain),
      large(`${at}.login-time`, login * 1000),
    ];
  });
}

function timezone(reply: unknown): readonly GuestFact[] {
  const { zone, offset } = entryOf(reply, 'guest-get-timezone');
  if (typeof offset !== 'number' || (offset | 0) !== offset) throw missing('offset', 'guest-get-timezone');
  return [...textIf('timezone.name', zone), { field: 'timezone.offset', type: 'int', value: offset }];
}

function fileSystems(reply: unknown, live: DomainDefinition): readonly GuestFact[] {
  const command = 'guest-get-fsinfo';
  return counted('fs', entriesOf(reply, command), (entry, at) => {
    const onDisks = entriesOf(entry.disk, command);
    return [
      text(`${at}.name`, stringAt(entry, 'name', command)),
      text(`${at}.mountpoint`, stringAt(entry, 'mountpoint', command)),
      text(`${at}.fstype`, stringAt(entry, 'type', command)),
      ...sizeIf(`${at}.total-bytes`, entry['total-bytes']),
      ...sizeIf(`${at}.used-bytes`, entry['used-bytes']),
      ...counted(`${at}.disk`, onDisks, ({ dev, serial }, disk) => [
        ...textIf(`${disk}.alias`, typeof dev === 'string' ? targetsOf(live, [dev])[0] : undefined),
        ...textIf(`${disk}.serial`, serial),
        ...textIf(`${disk}.device`, dev),
      ]),
    ];
  });
}

function disks(reply: unknown, live: DomainDefinition): readonly GuestFact[] {
  const command = 'guest-get-disks';
  return counted('disk', entriesOf(reply, command), (entry, at) => {
    const { dependencies, address, alias } = entry;
    const name = stringAt(entry, 'name', command);
    const needed = Array.isArray(dependencies) ? dependencies.filter((each) => typeof each === 'string') : [];
    const { serial, 'bus-type': bus } = isEntry(address) ? address : ({} as Entry);
    return [
      text(`${at}.name`, name),
      { field: `${at}.partition`, type: 'boolean', value: entry.partition === true },
      ...(needed.length > 0 ? [count(`${at}.dependency.count`, needed.length)] : []),
      ...needed.map((each, index) => text(`${at}.dependency.${index}.name`, each)),
      ...textIf(`${at}.serial`, serial),
      ...textIf(`${at}.alias`, entry.partition === true ? undefined : targetsOf(live, [name])[0]),
      ...textIf(`${at}.guest_bus`, bus),
      ...textIf(`${at}.guest_alias`, alias),
    ];
  });
}

function interfaces(reply: unknown): readonly GuestFact[] {
  const command = 'guest-network-get-interfaces';
  return counted('if', entriesOf(reply, command), (entry, at) => [
    text(`${at}.name`, stringAt(entry, 'name', command)),
    ...textIf(`${at}.hwaddr`, entry['hardware-address']),
    ...counted(`${at}.addr`, entriesOf(entry['ip-addresses'] ?? [], command), (address, each) => [
      text(`${each}.type`, stringAt(address, 'ip-address-type', command)),
      text(`${each}.addr`, stringAt(address, 'ip-address', command)),
      ...(typeof address.prefix === 'number' ? [count(`${each}.prefix`, address.prefix >>> 0)] : []),
    ]),
  ]);
}

/** `<name>.count`, and the facts of each entry, whose names begin with `<name>.<number>`. */
function counted(
  name: string,
  entries: readonly Entry[],
  factsOf: (entry: Entry, at: string) => readonly GuestFact[],
): readonly GuestFact[] {
  return [
    count(`${name}.count`, entries.length),
    ...entries.flatMap((each, index) => factsOf(each, `${name}.${index}`)),
  ];
}

function isEntry(value: unknown): value is Entry {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function entryOf(value: unknown, command: string): Entry {
  if (isEntry(value)) return value;
  throw new LibvirtError('INTERNAL_ERROR', `${command} reply was missing return data`);
}

function entriesOf(value: unknown, command: string): readonly Entry[] {
  if (Array.isArray(value) && value.length <= FACTS_MAX && value.every(isEntry)) return value;
  throw new LibvirtError('INTERNAL_ERROR', `${command} reply was missing return data`);
}

function stringAt(entry: Entry, key: string, command: string): string {
  const value = entry[key];
  if (typeof value === 'string') return value;
  throw missing(key, command);
}

function missing(key: string, command: string): LibvirtError {
  return new LibvirtError('INTERNAL_ERROR', `'${key}' missing in reply of ${command}`);
}
