/** `xlsnap install` and `xlsnap uninstall`: set up xlsnapd as a service of this host and report each step. */

import { existsSync } from 'node:fs';
import { readFile, readlink, symlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { LibvirtError, systemError } from '../../errors.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { makeFolder, removeEmptyFolder, removeFile, writeFileAtomically } from '../../store/atomic-file.ts';
import { defaultFolders } from '../../store/default-folders.ts';
import { command, JSON_OPTION, type Values } from '../command-line/command.ts';
import type { Session } from '../session.ts';
import {
  enabledRotations,
  exists,
  type Installed,
  installedForCockpit,
  installedOn,
  PACKAGE_FOLDER,
  programs,
} from './files.ts';
import { libvirtDbusProcess } from './libvirt-dbus.ts';
import { requireQemuDriverUnused } from './qemu-driver.ts';
import { requireRootOnly } from './root-only.ts';
import { socketAccess } from './socket-access.ts';
import { isBooted, reload, type Systemctl, startUnits, systemctl } from './units.ts';

const ROOT = { name: 'root', type: 'string', named: true, help: 'the host is in this folder (for packages)' } as const;
const DRY_RUN = { name: 'dry-run', type: 'bool', help: 'only say what would be done' } as const;

/** `xlsnap install`. */
export const INSTALL = command({
  description:
    "Writes xlsnapd's systemd units and the drop-ins that give it libvirt's place for xen:///system, starts it " +
    'if systemd runs, and reports what it did. Updates an existing installation.',
  options: [
    DRY_RUN,
    {
      name: 'upstream',
      type: 'string',
      named: true,
      help: 'socket of the libvirt daemon behind xlsnapd, or xl without one (default: it finds out itself)',
    },
    {
      name: 'cockpit',
      type: 'bool',
      help: 'serve clients of qemu:///system, too, the only URI that cockpit knows; not if the qemu driver has domains',
    },
    ROOT,
    JSON_OPTION,
  ],
  async run(values, session) {
    using host = new InstalledHost(values, session);
    const { root, upstream, cockpit } = values;
    if (upstream !== undefined && upstream !== 'xl' && !upstream.startsWith('/')) {
      throw new LibvirtError('INVALID_ARG', `--upstream takes the absolute path of a socket, or xl, not '${upstream}'`);
    }
    if (root === undefined || process.getuid?.() === 0) await requireRootOnly(process.execPath, PACKAGE_FOLDER);
    else host.say('note:', 'it was not looked at whether others than root can change Node and this package');
    const access = await socketAccess(upstream === 'xl' ? undefined : upstream, (path) => host.on(path));
    const ours = programs(upstream);
    const facts = { ...ours, ...access };
    const forCockpit = await installedForCockpit(facts);
    // An update keeps what --cockpit has installed, and what an administrator has disabled of it.
    const installed = await host.those(forCockpit);
    if (cockpit) await requireQemuDriverUnused((path) => host.on(path), installed.length > 0);
    host.say('note:', access.note);
    if (cockpit) host.say('note:', COCKPIT_NOTE);
    const things = [...(await installedOn(facts)), ...(cockpit ? forCockpit : installed)];
    for (const thing of things) await host.put(thing);
    if (access.write.group === 'root')
      host.say('note:', 'no group may use libvirt here: only root may use xlsnapd on D-Bus');
    if (root !== undefined) return;
    if (isBooted()) {
      if (await startUnits(host.systemctl, socketsOf(things))) await host.endLibvirtDbus();
    } else {
      const line = shellCommand(...ours.daemon);
      host.say('note:', `systemd does not run here: nothing was started. Without systemd, start as root: ${line}`);
    }
  },
});

const COCKPIT_NOTE =
  'clients of qemu:///system reach the Xen host from now on; the qemu driver of libvirtd is at ' +
  'qemu+unix:///system?socket=/run/libvirt/libvirt-sock';

/** The socket units that start with the host. */
const socketsOf = (things: readonly Installed[]): readonly string[] =>
  things.filter(({ kind, path }) => kind === 'link' && path.endsWith('.socket')).map(({ path }) => basename(path));

/** The sockets of --cockpit are bound to the first one. */
const STOPPED = ['xlsnapd.service', 'xlsnapd.socket', 'xlsnapd-ro.socket'];

/** `xlsnap uninstall`. */
export const UNINSTALL = command({
  description:
    'Stops xlsnapd and the timers of rotations, and removes what install has written; clients of xen:///system then reach ' +
    'libvirt itself. Snapshots stay; their folders are listed.',
  options: [DRY_RUN, ROOT, JSON_OPTION],
  async run(values, session) {
    using host = new InstalledHost(values, session);
    const { root } = values;
    const settings = { group: '', mode: '' };
    const facts = { write: settings, readOnly: settings, daemon: [], xlsnap: [] };
    const rotations = await enabledRotations((path) => host.on(path));
    const things = await host.those(
      [...(await installedOn(facts)), ...(await installedForCockpit(facts))].toReversed(),
    );
    const asks = root === undefined && isBooted() && things.length > 0;
    if (asks) await host.systemctl('stop', ...rotations.map(({ path }) => basename(path)), ...STOPPED);
    for (const thing of [...rotations, ...things]) await host.remove(thing);
    if (asks) await reload(host.systemctl);
    await host.sayWhatStays();
  },
});

/** A file in a folder of drop-ins or of links, which systemctl also creates and removes. */
const MADE_FOLDER = /\.(socket\.d|wants)\/[^/]+$/;

/** The words for each step, and for the same step with --dry-run. */
const STEPS = { wrote: 'would write', removed: 'would remove', ran: 'would run', kept: 'kept' } as const;

type Step = keyof typeof STEPS | 'as it is:' | 'note:';

/** The host that is changed, or would be with --dry-run. Reports every step, at once or as JSON at the end. */
class InstalledHost implements Disposable {
  readonly #root: string;
  readonly #dry: boolean;
  readonly #session: Session;
  readonly #json: { readonly step: string; readonly what: string; readonly purpose?: string }[] | undefined;
  /** Runs systemctl and reports it. */
  readonly systemctl: Systemctl;

  constructor(values: Values<readonly [typeof DRY_RUN, typeof ROOT, typeof JSON_OPTION]>, session: Session) {
    this.#root = values.root === undefined ? '/' : resolve(values.root);
    this.#dry = values['dry-run'];
    this.#session = session;
    this.#json = values.json ? [] : undefined;
    this.systemctl = async (...words) => {
      if (!this.#dry) await systemctl(...words);
      this.say('ran', `systemctl ${words.join(' ')}`);
    };
    if (this.#root === '/' && !this.#dry && process.getuid?.() !== 0) {
      throw new LibvirtError(
        'OPERATION_DENIED',
        'this writes to /etc: run it as root, or look at what it would do with --dry-run',
      );
    }
  }

  say(step: Step, what: string, purpose?: string): void {
    const words = this.#dry && step in STEPS ? STEPS[step as keyof typeof STEPS] : step;
    if (this.#json) this.#json.push({ step: words.replace(/:$/, ''), what, ...(purpose !== undefined && { purpose }) });
    else this.#session.print(`${words} ${what}${purpose === undefined ? '' : ` (${purpose})`}\n`);
  }

  [Symbol.dispose](): void {
    if (this.#json) this.#session.json(this.#json);
  }

  /** Writes the file or link, unless a Debian package brings the same; what an older installation wrote in front of it goes. */
  async put(thing: Installed): Promise<void> {
    if (await this.#isPackaged(thing)) {
      if (thing.kind === 'file') await this.remove(thing);
      this.say('as it is:', thing.packaged ?? thing.path, thing.purpose);
      return;
    }
    const path = this.on(thing.path);
    const content = thing.kind === 'file' ? thing.text : thing.target;
    if ((await contentOf(thing, path)) === content) {
      this.say('as it is:', thing.path, thing.purpose);
      return;
    }
    if (!this.#dry) await write(thing, path);
    this.say('wrote', thing.path, thing.purpose);
  }

  /** Removes the file, even if it was changed, and the folder of a drop-in or of links if it becomes empty. */
  async remove(thing: Installed): Promise<void> {
    if (!(await this.has(thing))) return;
    if (!this.#dry) await remove(this.on(thing.path));
    this.say('removed', thing.path);
  }

  /** Those that are there. */
  async those(things: readonly Installed[]): Promise<readonly Installed[]> {
    const there = await Promise.all(things.map((thing) => this.has(thing)));
    return things.filter((_, index) => there[index]);
  }

  async has({ path }: Installed): Promise<boolean> {
    return await exists(this.on(path));
  }

  async #isPackaged(thing: Installed): Promise<boolean> {
    if (thing.packaged === undefined) return false;
    const text = await readFile(this.on(thing.packaged), 'utf8').catch(() => undefined);
    return thing.kind === 'link' ? text !== undefined : text === thing.text;
  }

  /** Its connections lead to libvirtd, past xlsnapd. The bus starts it again with the next call. */
  async endLibvirtDbus(): Promise<void> {
    const pid = await libvirtDbusProcess();
    if (pid === undefined) return;
    if (!this.#dry) process.kill(pid);
    this.say('ran', `kill ${pid}`, 'libvirt-dbus, which connects to xlsnapd with its next call');
  }

  async sayWhatStays(): Promise<void> {
    const { snapshotDir, memoryDir, stateDir } = defaultFolders('xen:///system', '');
    for (const [folder, content] of [
      [snapshotDir, 'metadata of snapshots'],
      [memoryDir, 'RAM of snapshots'],
      [stateDir, 'the journal'],
    ] as const) {
      if (existsSync(this.on(folder))) this.say('kept', folder, content);
    }
    this.say('kept', "what snapshots have in or beside the guests' disk images");
  }

  /** The place of a path on the host that is changed. */
  on(path: string): string {
    return join(this.#root, path);
  }
}

async function write(thing: Installed, path: string): Promise<void> {
  await makeFolder(dirname(path), 0o755);
  if (thing.kind === 'file') {
    await writeFileAtomically(path, thing.text, 0o644);
    return;
  }
  await removeFile(path);
  await symlink(thing.target, path).catch((error) => {
    throw systemError(error, `cannot make link '${path}'`);
  });
}

async function remove(path: string): Promise<void> {
  await removeFile(path);
  if (MADE_FOLDER.test(path)) await removeEmptyFolder(dirname(path));
}

/** Returns the existing content; undefined if there is none, or the thing is of another kind. */
async function contentOf({ kind }: Installed, path: string): Promise<string | undefined> {
  return await (kind === 'file' ? readFile(path, 'utf8') : readlink(path)).catch(() => undefined);
}
