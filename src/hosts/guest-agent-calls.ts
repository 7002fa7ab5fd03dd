/** What clients ask of a guest's agent besides freezing: any command, the guest's clock, its mounted file systems. */

import { LibvirtError } from '../errors.ts';
import type { DomainDefinition } from '../model/domain.ts';
import type { FileSystem, GuestTime } from '../model/guests/agent.ts';
import { agentReply } from './guest-agent.ts';

/** The agent's own work on these is short. */
const TIMEOUT_MS = 10_000;
const NANOSECONDS = 1_000_000_000n;
const LLONG_MAX = 2n ** 63n - 1n;
/** REMOTE_DOMAIN_FSINFO_MAX. */
const FILE_SYSTEMS_MAX = 256;

/** Sends a command in JSON, and returns the agent's reply in JSON. Refuses text that is not an object in JSON. */
export async function agentCommand(live: DomainDefinition, json: string, timeoutMs: number): Promise<string> {
  let command: unknown;
  try {
    command = JSON.parse(json);
  } catch (error) {
    throw malformed(json, (error as Error).message);
  }
  if (typeof command !== 'object' || command === null || Array.isArray(command)) throw malformed(json, 'not an object');
  const { execute } = command as { readonly execute?: unknown };
  // Within strings of JSON there are no line ends: what is left is one line.
  const line = json.replaceAll(/[\r\n]/g, ' ');
  return (await agentReply(live, typeof execute === 'string' ? execute : '<unknown>', line, timeoutMs)).text;
}

/** The time of the guest's clock. */
export async function guestTime(live: DomainDefinition): Promise<GuestTime> {
  const { text } = await agentReply(live, 'guest-get-time', '{"execute":"guest-get-time"}', TIMEOUT_MS);
  // Nanoseconds since the epoch are more than a number of JavaScript holds.
  const digits = /^\{\s*"return"\s*:\s*(\d{1,20})\s*\}$/.exec(text)?.[1];
  if (digits === undefined) throw new LibvirtError('INTERNAL_ERROR', 'malformed return value');
  const time = BigInt(digits);
  return { seconds: time / NANOSECONDS, nanoseconds: Number(time % NANOSECONDS) };
}

/** Sets the guest's clock; without a time, to that of its hardware clock. */
export async function setGuestTime(live: DomainDefinition, time: GuestTime | undefined): Promise<void> {
  let args = '';
  if (time) {
    if (time.seconds > LLONG_MAX / NANOSECONDS) {
      throw new LibvirtError('INVALID_ARG', `Time '${time.seconds}' is too big for guest agent`);
    }
    args = `,"arguments":{"time":${time.seconds * NANOSECONDS + BigInt(time.nanoseconds)}}`;
  }
  await agentReply(live, 'guest-set-time', `{"execute":"guest-set-time"${args}}`, TIMEOUT_MS);
}

/** The guest's mounted file systems. The guest may answer anything: what has not the form of the reply is refused. */
export async function guestFileSystems(live: DomainDefinition): Promise<readonly FileSystem[]> {
  const { returned } = await agentReply(live, 'guest-get-fsinfo', '{"execute":"guest-get-fsinfo"}', TIMEOUT_MS);
  if (!Array.isArray(returned)) {
    throw new LibvirtError('INTERNAL_ERROR', 'guest-get-fsinfo reply was missing or not an array');
  }
  if (returned.length > FILE_SYSTEMS_MAX) {
    throw new LibvirtError('INTERNAL_ERROR', `guest-get-fsinfo reply has more than ${FILE_SYSTEMS_MAX} file systems`);
  }
  return returned.map((each: unknown) => fileSystem(each, live));
}

/** The targets of disks that the guest has as one of these devices: a disk of Xen is on no PCI bus, its target is its name there. */
export function targetsOf({ disks }: DomainDefinition, devices: readonly string[]): readonly string[] {
  const names = new Set(devices.flatMap(namesOf));
  return disks.map(({ target }) => target).filter((target) => names.has(target));
}

function fileSystem(each: unknown, live: DomainDefinition): FileSystem {
  const entry = (typeof each === 'object' && each !== null ? each : {}) as Readonly<Record<string, unknown>>;
  const text = (name: string): string => {
    const value = entry[name];
    if (typeof value === 'string' && value.length <= 4096) return value;
    throw new LibvirtError('INTERNAL_ERROR', `'${name}' missing in reply of guest-get-fsinfo`);
  };
  const found = { mountpoint: text('mountpoint'), name: text('name'), type: text('type') };
  const { disk } = entry;
  if (!Array.isArray(disk)) {
    throw new LibvirtError('INTERNAL_ERROR', "'disk' missing or not an array in reply of guest-get-fsinfo");
  }
  const devices = disk.flatMap((of: { readonly dev?: unknown } | null) =>
    typeof of?.dev === 'string' ? [of.dev] : [],
  );
  return { ...found, disks: targetsOf(live, devices) };
}

/** `xvda1` of `/dev/xvda1`, and `xvda`. */
function namesOf(device: string): readonly string[] {
  const [, name = ''] = /^\/dev\/([a-z0-9]{1,32})$/.exec(device) ?? [];
  const [, whole = name] = /^(.+?)p?\d+$/.exec(name) ?? [];
  return [name, whole];
}

function malformed(json: string, reason: string): LibvirtError {
  return new LibvirtError('INTERNAL_ERROR', `cannot parse json ${json.slice(0, 1024)}: ${reason}`);
}
