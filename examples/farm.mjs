#!/usr/bin/env node
/**
 * The loop of a test farm: revert a guest to a clean snapshot, let it run until it shuts itself down or its time is over,
 * keep a copy of a disk, and begin again. Afterwards the guest is as the snapshot has it.
 *
 *   farm.mjs DOMAIN SNAPSHOT DISK FOLDER ROUNDS SECONDS
 *
 * The guest leaves its results in DISK, an image; FOLDER gets a copy of it for each round. The daemon is the one of
 * $LIBVIRT_DEFAULT_URI, or of xen:///system. Ctrl-C ends the loop; a revert that it interrupts is undone.
 */

import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'xlsnap/client';

const [name = '', clean = '', disk = '', folder = '', rounds = '1', seconds = '60'] = process.argv.slice(2);
const interrupt = new AbortController();
if (folder === '') throw new Error('usage: farm.mjs DOMAIN SNAPSHOT DISK FOLDER ROUNDS SECONDS');
process.once('SIGINT', () => interrupt.abort());

const connection = await connect();
try {
  const guest = await connection.lookupByName(name);
  const snapshot = await guest.snapshotLookupByName(clean);
  for (let round = 1; round <= Number(rounds) && !interrupt.signal.aborted; round += 1) {
    const over = AbortSignal.any([interrupt.signal, AbortSignal.timeout(Number(seconds) * 1000)]);
    // Before the guest runs, so that its end cannot be missed.
    const events = await connection.events({ signal: over });
    await snapshot.revert({ running: true }, { signal: interrupt.signal });
    console.log(`round ${round}: ${name} runs`);
    const end = await endOf(guest, events);
    if (end === undefined) await guest.destroy();
    await copyFile(disk, join(folder, `${round}`));
    console.log(`round ${round}: ${end ?? 'its time was over'}`);
  }
  await snapshot.revert();
} finally {
  await connection[Symbol.asyncDispose]();
}

/** Returns how the guest stopped; undefined if the events ended first. A revert stops it, too. */
async function endOf({ uuid }, events) {
  for await (const { domain, event, detail } of events) {
    if (domain.uuid === uuid && event === 'stopped' && detail !== 'from-snapshot') return detail;
  }
  return undefined;
}
