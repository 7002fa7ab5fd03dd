/**
 * The guest agent, over the channel that the domain's definition has for it: file systems stand still while disks are
 * captured. https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
 */

import { randomInt } from 'node:crypto';
import { createConnection, type Socket } from 'node:net';
import { linesOf } from '../disks/qemu/socket-lines.ts';
import { LibvirtError } from '../errors.ts';
import { childAt, childElements, type XmlElement } from '../model/element.ts';

const AGENT_CHANNEL = 'org.qemu.guest_agent.0';

/** libvirt waits as long for an agent's first sign of life (VIR_DOMAIN_QEMU_AGENT_COMMAND_DEFAULT). */
const SYNC_TIMEOUT_MS = 5_000;
/** A file system with much to write freezes late. */
const FREEZE_TIMEOUT_MS = 60_000;

/** Frozen until disposed of. ARGUMENT_UNSUPPORTED (74) without a channel, AGENT_UNRESPONSIVE (86) without an answer. */
export async function freezeGuest(live: XmlElement): Promise<AsyncDisposable> {
  const path = agentSocket(live);
  if (path === undefined) throw new LibvirtError('ARGUMENT_UNSUPPORTED', 'QEMU guest agent is not configured');
  await conversation(path, async (agent) => {
    try {
      await agent.execute('guest-fsfreeze-freeze', FREEZE_TIMEOUT_MS);
    } catch (error) {
      // Some may be frozen already.
      await agent.execute('guest-fsfreeze-thaw', FREEZE_TIMEOUT_MS).catch(() => {});
      throw error;
    }
  });
  return {
    [Symbol.asyncDispose]: () =>
      conversation(path, async (agent) => void (await agent.execute('guest-fsfreeze-thaw', FREEZE_TIMEOUT_MS))),
  };
}

/** The channel's socket on the host: a Xen one (`<target type='xen'>`) or virtio. */
function agentSocket(definition: XmlElement): string | undefined {
  const devices = childAt(definition, 'devices');
  const channels = devices ? childElements(devices, 'channel') : [];
  const channel = channels.find((candidate) => childAt(candidate, 'target')?.attributes.name === AGENT_CHANNEL);
  return channel && childAt(channel, 'source')?.attributes.path;
}

interface Agent {
  execute(command: string, timeoutMs: number, options?: CommandOptions): Promise<unknown>;
}

interface CommandOptions {
  readonly args?: object;
  /** What comes before the command's own reply is passed over. */
  readonly isReply?: (reply: Reply) => boolean;
}

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

/** An agent answers one client at a time, and may still have an answer for an earlier one: hence the sync. */
async function conversation(path: string, talk: (agent: Agent) => Promise<void>): Promise<void> {
  const socket = createConnection({ path });
  try {
    const agent = agentOn(socket, path);
    const id = randomInt(2 ** 31);
    await agent.execute('guest-sync', SYNC_TIMEOUT_MS, { args: { id }, isReply: (reply) => reply.return === id });
    await talk(agent);
  } finally {
    socket.destroy();
  }
}

function agentOn(socket: Socket, path: string): Agent {
  const lines = linesOf(socket);
  return {
    async execute(command, timeoutMs, { args, isReply = () => true } = {}) {
      const unresponsive = (reason: string): LibvirtError =>
        new LibvirtError(
          'AGENT_UNRESPONSIVE',
          `${reason} (${command} on '${path}'); is qemu-guest-agent running in the guest?`,
        );
      const timer = setTimeout(
        () => socket.destroy(new Error(`no answer within ${timeoutMs / 1000} seconds`)),
        timeoutMs,
      );
      try {
        socket.write(`${JSON.stringify({ execute: command, ...(args && { arguments: args }) })}\n`);
        let reply: Reply;
        do {
          const { value, done } = await lines.next();
          if (done) throw new Error('the connection was closed');
          reply = JSON.parse(value);
        } while (!isReply(reply));
        if (reply.error === undefined) return reply.return;
        throw new LibvirtError(
          'INTERNAL_ERROR',
          `unable to execute QEMU agent command '${command}': ${reply.error.desc}`,
        );
      } catch (error) {
        throw error instanceof LibvirtError ? error : unresponsive((error as Error).message);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
