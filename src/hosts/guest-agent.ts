/**
 * The guest agent, over the channel that the domain's definition has for it: file systems stand still while disks are
 * captured. https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
 */

import { randomInt } from 'node:crypto';
import { createConnection, type Socket } from 'node:net';
import { deadline } from '../disks/deadline.ts';
import { parseReply, SocketLines } from '../disks/qemu/socket-lines.ts';
import { LibvirtError } from '../errors.ts';
import type { DomainDefinition } from '../model/domain.ts';
import { childAt, childElements, type XmlElement } from '../model/element.ts';

const AGENT_CHANNEL = 'org.qemu.guest_agent.0';

/** libvirt waits as long for an agent's first sign of life (VIR_DOMAIN_QEMU_AGENT_COMMAND_DEFAULT). */
const SYNC_TIMEOUT_MS = 5_000;
/** A file system with much to write freezes late. */
const FREEZE_TIMEOUT_MS = 60_000;

/** Frozen until disposed of. ARGUMENT_UNSUPPORTED (74) without a channel, AGENT_UNRESPONSIVE (86) without an answer. */
export async function freezeGuest({ element: live }: DomainDefinition): Promise<AsyncDisposable> {
  const path = agentSocket(live);
  if (path === undefined) throw new LibvirtError('ARGUMENT_UNSUPPORTED', 'QEMU guest agent is not configured');
  const thaw = () => execute(path, 'guest-fsfreeze-thaw');
  try {
    await execute(path, 'guest-fsfreeze-freeze');
  } catch (error) {
    // Some may be frozen already, also where the answer was lost: asked over a connection of its own.
    await thaw().catch(() => {});
    throw error;
  }
  return { [Symbol.asyncDispose]: thaw };
}

/** The channel's socket on the host: a Xen one (`<target type='xen'>`) or virtio. */
function agentSocket(definition: XmlElement): string | undefined {
  const devices = childAt(definition, 'devices');
  const channels = devices ? childElements(devices, 'channel') : [];
  const channel = channels.find((candidate) => childAt(candidate, 'target')?.attributes.name === AGENT_CHANNEL);
  return channel && childAt(channel, 'source')?.attributes.path;
}

interface Reply {
  readonly event?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly desc?: unknown } | null;
}

/** One command, in a conversation of its own. */
async function execute(path: string, command: string): Promise<void> {
  const socket = createConnection({ path });
  try {
    const lines = new SocketLines(socket);
    await ask(socket, path, 'guest-sync-delimited', SYNC_TIMEOUT_MS, () => synchronise(socket, lines));
    const reply = await ask(socket, path, command, FREEZE_TIMEOUT_MS, () => {
      send(socket, lines, command);
      return replyOf(lines);
    });
    if (reply.error === undefined) return;
    const reason = String(reply.error?.desc);
    throw new LibvirtError('INTERNAL_ERROR', `unable to execute QEMU agent command '${command}': ${reason}`);
  } finally {
    socket.destroy();
  }
}

/** Before a delimited reply, and no byte of JSON in UTF-8. */
const DELIMITER = 0xff;

/**
 * An agent answers one client at a time, and may still have an answer for an earlier one, whole or in part, or half a
 * command of it. The delimiter makes it forget the latter; all that comes before its own delimiter is dropped unread.
 */
async function synchronise(socket: Socket, lines: SocketLines): Promise<void> {
  const id = randomInt(2 ** 31);
  socket.write(Buffer.of(DELIMITER));
  send(socket, lines, 'guest-sync-delimited', { id });
  while (true) {
    const line = await nextLine(lines);
    const start = line.lastIndexOf(DELIMITER) + 1;
    if (start > 0 && isSync(line.subarray(start), id)) return;
  }
}

/** An earlier client's sync may be answered first, and that client may have left half a word. */
function isSync(line: Buffer, id: number): boolean {
  try {
    return (parseReply(line) as Reply).return === id;
  } catch {
    return false;
  }
}

function send(socket: Socket, lines: SocketLines, command: string, args?: object): void {
  lines.expectReply();
  socket.write(`${JSON.stringify({ execute: command, ...(args && { arguments: args }) })}\n`);
}

/** Events may come before it. */
async function replyOf(lines: SocketLines): Promise<Reply> {
  while (true) {
    const reply = parseReply(await nextLine(lines)) as Reply;
    if (reply.return !== undefined || reply.error !== undefined) return reply;
    if (reply.event === undefined) throw new Error('neither a return value nor an error');
  }
}

async function nextLine(lines: SocketLines): Promise<Buffer> {
  const line = await lines.next();
  if (line === undefined) throw new Error('the connection was closed');
  return line;
}

/** Runs `talk` for so long at most; whatever goes wrong in it is the agent's silence, by name. */
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
