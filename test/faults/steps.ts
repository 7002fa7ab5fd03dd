/** The other end of a daemon's step reports: it stands still at every step until this side has done its work. */

import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { createInterface } from 'node:readline';
import type { Operation, Phase } from '../../src/model/phases.ts';

export interface Step {
  readonly operation: Operation;
  readonly snapshot: string;
  /** `ended`: all is done, and the client has not been told yet. */
  readonly phase: Phase | 'ended';
}

type AtStep = (step: Step) => Promise<void>;

export class StepListener implements AsyncDisposable {
  readonly #server: Server;
  /** What is done at every step. One that fails does not hold the daemon. */
  atStep: AtStep = async () => {};

  private constructor(server: Server) {
    this.#server = server;
  }

  static async listen(path: string): Promise<StepListener> {
    await rm(path, { force: true });
    const server = createServer();
    const listener = new StepListener(server);
    server.on('connection', (socket) => {
      socket.on('error', () => {});
      createInterface({ input: socket }).once('line', async (line) => {
        await listener.atStep(JSON.parse(line) as Step).catch(() => {});
        socket.end();
      });
    });
    server.listen(path);
    await once(server, 'listening');
    return listener;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
  }
}
