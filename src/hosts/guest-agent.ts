/**
 * The guest agent, over the channel of the domain's definition: freezes file systems while disks are
 * captured. https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
 */

import { randomInt } from 'node:crypto';
import { createConnection, type Socket } from 'node:net';
import { deadline } from '../disks/deadline.ts';
import { parseReply, SocketLines } from '../disks/qemu/socket-lines.ts';
import { LibvirtError } from '../errors.ts';
import type { DomainDefinition } from '../model/domain.ts';
import { childAt, childElements, type XmlElement } from '../model/element.ts';
import type { PowerAction } from '../model/guests/agent.ts';

const AGENT_CHANNEL = 'org.qemu.guest_agent.0';

/** As long as libvirt waits for an agent's first reply (VIR_DOMAIN_QEMU_AGENT_COMMAND_DEFAULT). */
const SYNC_TIMEOUT_MS = 5_000;
/** For the agent's refusal of a command that it does not answer otherwise. */
const REFUSAL_TIMEOUT_MS = 3_000;
/** A file system with much to write takes long to freeze. */
const FREEZE_TIMEOUT_MS = 60_000;

/**
 * Freezes the guest's file systems until disposed of. ARGUMENT_UNSUPPORTED (74) without a channel, AGENT_UNRESPONSIVE
 * (86) without a reply.
 */
export async function freezeGuest(live: DomainDefinition): Promise<AsyncDisposable> {
  await freezeFileSystems(live, []);
  return {
    [Symbol.asyncDispose]: async () => {
      await thawFileSystems(live);
    },
  };
}

/**
 * Freezes the file systems at these mount points, or all, until thawFileSystems; returns how many. Errors are those of
 * freezeGuest; after one none is left frozen, if the agent still answers.
 */
export async function freezeFileSystems(
  { element: live }: DomainDefinition,
  mountpoints: readonly string[],
): Promise<number> {
  const path = requireAgent(live);
  try {
    return mountpoints.length === 0
      ? countOf(await execute(path, 'guest-fsfreeze-freeze'))
      : countOf(await execute(path, 'guest-fsfreeze-freeze-list', { mountpoints }));
  } catch (error) {
    // Some may be frozen already, even if the reply was lost. This opens a new connection.
    await execute(path, 'guest-fsfreeze-thaw').catch(() => {});
    throw error;
  }
}

/** Thaws all file systems, and returns how many were frozen. */
export async function thawFileSystems({ element: live }: DomainDefinition): Promise<number> {
  return countOf(await execute(requireAgent(live), 'guest-fsfreeze-thaw'));
}

function requireAgent(live: XmlElement): string {
  const path = agentSocket(live);
  if (path === undefined) throw new LibvirtError('ARGUMENT_UNSUPPORTED', 'QEMU guest agent is not configured');
  return path;
}

/** The guest may answer anything. */
function countOf(returned: unknown): number {
  return Number.isInteger(returned) && Number(returned) >= 0 ? Math.min(Number(returned), 2 ** 31 - 1) : 0;
}

/** The channel's socket on the host. The channel may be a Xen one (`<target type='xen'>`) or virtio. */
function agentSocket(definition: XmlElement): string | undefined {
  const devices = childAt(definition, 'devices');
  const channels = devices ? childElements(devices, 'channel') : [];
  const channel = channels.find((candidate) => childAt(candidate, 'target')?.attributes.name === AGENT_CHANNEL);
  return channel && childAt(channel, 'source')?.attributes.path;
}

interface Reply {
  readonly event?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly class?: unknown; readonly desc?: unknown } | null;
}

/** Sends one command. Returns what the agent does. */
async function execute(path: string, command: string, args?: object): Promise<unknown> {
  return (await exchange(path, command, jsonOf(command, args), FREEZE_TIMEOUT_MS)).reply.return;
}

/**
 * Sends one command to the agent of the guest with this live definition, as a line of JSON, and returns its reply as it came.
 * `command`: its name, for messages. Errors are those of freezeGuest, and INTERNAL_ERROR with the agent's words.
 */
export async function agentReply(
  { element: live }: DomainDefinition,
  command: string,
  json: string,
  timeoutMs: number,
): Promise<{ readonly text: string; readonly returned: unknown }> {
  const { text, reply } = await exchange(requireAgent(live), command, json, timeoutMs);
  return { text, returned: reply.return };
}

/**
 * Has the guest shut down or reboot. The agent answers only if it refuses: it has taken the command if it has not refused after a
 * few seconds, or if the connection closes.
 */
export async function agentShutdown({ element: live }: DomainDefinition, mode: PowerAction): Promise<void> {
  const path = requireAgent(live);
  const command = 'guest-shutdown';
  const socket = createConnection({ path });
  try {
    const lines = new SocketLines(socket);
    await ask(socket, path, 'guest-sync-delimited', SYNC_TIMEOUT_MS, () => synchronise(socket, lines));
    send(socket, lines, jsonOf(command, { mode }));
    using _deadline = deadline(REFUSAL_TIMEOUT_MS, () => socket.destroy());
    const answer = await replyOf(lines).catch(() => undefined);
    if (answer) refuseFailure(answer.reply, command);
  } finally {
    socket.destroy();
  }
}

/** Over a connection of its own. */
async function exchange(
  path: string,
  command: string,
  json: string,
  timeoutMs: number,
): Promise<{ readonly text: string; readonly reply: Reply }> {
  const socket = createConnection({ path });
  try {
    const lines = new SocketLines(socket);
    await ask(socket, path, 'guest-sync-delimited', SYNC_TIMEOUT_MS, () => synchronise(socket, lines));
    const answer = await ask(socket, path, command, timeoutMs, () => {
      send(socket, lines, json);
      return replyOf(lines);
    });
    refuseFailure(answer.reply, command);
    return answer;
  } finally {
    socket.destroy();
  }
}

/** Throws the agent's own words, if that is what its reply is. */
function refuseFailure({ error }: Reply, command: string): void {
  if (error === undefined) return;
  const words = typeof error?.desc === 'string' ? error.desc : 'unknown QEMU command error';
  const text = `unable to execute QEMU agent command '${command}': ${words}`;
  const isMissing = error?.class === 'CommandNotFound' || error?.class === 'CommandDisabled';
  throw new LibvirtError('INTERNAL_ERROR', text, isMissing ? { reason: 'agent-lacks-command' } : {});
}

function jsonOf(command: string, args?: object): string {
  return JSON.stringify({ execute: command, ...(args && { arguments: args }) });
}

/** Sent before a delimited reply. It cannot occur in JSON in UTF-8. */
const DELIMITER = 0xff;

/**
 * An agent serves one client at a time. It may still have a reply for an earlier client, whole or in part, or half of
 * that client's command. The delimiter makes it drop that half; everything before its own delimiter is dropped unread.
 */
async function synchronise(socket: Socket, lines: SocketLines): Promise<void> {
  const id = randomInt(2 ** 31);
  socket.write(Buffer.of(DELIMITER));
  send(socket, lines, jsonOf('guest-sync-delimited', { id }));
  while (true) {
    const line = await nextLine(lines);
    const start = line.lastIndexOf(DELIMITER) + 1;
    if (start > 0 && isSync(line.subarray(start), id)) return;
  }
}

/** Returns false for the reply to an earlier client's sync, and for half a reply. */
function isSync(line: Buffer, id: number): boolean {
  try {
    return (parseReply(line) as Reply).return === id;
  } catch {
    return false;
  }
}

function send(socket: Socket, lines: SocketLines, json: string): void {
  lines.expectReply();
  socket.write(`${json}\n`);
}

/** Returns the reply, skipping events before it. */
async function replyOf(lines: SocketLines): Promise<{ readonly text: string; readonly reply: Reply }> {
  while (true) {
    const line = await nextLine(lines);
    const reply = parseReply(line) as Reply;
    if (reply.return !== undefined || reply.error !== undefined) return { text: line.toString().trim(), reply };
    if (reply.event === undefined) throw new Error('neither a return value nor an error');
  }
}

async function nextLine(lines: SocketLines): Promise<Buffer> {
  const line = await lines.next();
  if (line === undefined) throw new Error('the connection was closed');
  return line;
}

/** Runs `talk` for at most `timeoutMs`; any failure becomes AGENT_UNRESPONSIVE with the command's name. */
async function ask<T>(
  socket: Socket,
  path: string,
  command: string,
  timeoutMs: number,
  talk: () => Promise<T>,
): Promise<T> {
  const late = new Error(`no answer within ${timeoutMs / 1000} seconds`);
  using _deadline = deadline(timeoutMs, () => socket.destroy(late));
  try {
    return await talk();
  } catch (error) {
    const text = `${(error as Error).message} (${command} on '${path}'); is qemu-guest-agent running in the guest?`;
    throw new LibvirtError('AGENT_UNRESPONSIVE', text, { cause: error });
  }
}
