/** xlsnapd's command line: the URI that it serves, its sockets and its folders. */

import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { LibvirtError } from '../errors.ts';
import { MECHANISM_OPTIONS, type MechanismOption } from '../model/daemon-status.ts';
import { embeddedHome, embeddedSocket, XEN_SOCKETS } from '../rpc/sockets.ts';
import { defaultFolders } from '../store/default-folders.ts';
import { LOG_LEVELS, type LogLevel } from './log.ts';

const AUTH_OPTIONS = ['polkit', 'none', 'auto'] as const;
type AuthOption = (typeof AUTH_OPTIONS)[number];

/** The options, with defaults applied; paths are absolute. */
export interface DaemonOptions {
  /** The libvirt URI that is served: `xen:///system`, `test:///default`. */
  readonly connect: string;
  /** Who owns the domains: a libvirtd, xl, or this process. */
  readonly owner: 'libvirt' | 'xl' | 'embedded';
  /** Socket of the upstream libvirtd; undefined if there is none. */
  readonly upstream: string | undefined;
  /** Folders with configuration files of domains, for owner `xl`. */
  readonly configDirs: readonly string[];
  /** URI to open upstream; undefined: the client's own. */
  readonly upstreamUri: string | undefined;
  /** How clients that are not root are let in; `auto`: as on the upstream's own sockets. */
  readonly auth: AuthOption;
  /** The upstream's configuration file; undefined: that of its socket's name. */
  readonly upstreamConfig: string | undefined;
  /** How snapshots of active domains are made; `auto` for the embedded host, which has one way only. */
  readonly mechanism: MechanismOption;
  readonly listen: string;
  readonly listenReadOnly: string;
  /** These three are absolute. */
  readonly snapshotDir: string;
  readonly memoryDir: string;
  readonly stateDir: string;
  /** Group that owns the sockets; undefined: as the process creates them. */
  readonly group: string | undefined;
  /** Of the sockets; undefined: as the upstream's would be. */
  readonly mode: number | undefined;
  /** Of each socket. */
  readonly maxClients: number;
  /** `system`, `session`, or the address of a bus; undefined: no D-Bus. */
  readonly dbus: string | undefined;
  readonly logLevel: LogLevel;
}

/** The text of --help. */
export const USAGE = `Usage: xlsnapd [OPTION]...

Serves libvirt's domain snapshots for Xen guests to unmodified libvirt clients.

  --connect URI        what to serve: xen:///system (default) or test:///default (embedded host, no Xen, no root)
  --upstream PATH      socket of the libvirtd that owns the domains; 'xl': there is none, xl owns them; 'none': the embedded
                       host; default: auto (a libvirtd, or xl if none is installed)
  --config-dir DIR     with xl: files of domains (DIR/*.cfg), besides /etc/xen and /etc/xen/auto; may be repeated
  --upstream-uri URI   URI to open there (default: the client's)
  --upstream-config FILE  its configuration (default: /etc/libvirt/libvirtd.conf, or virtxend.conf)
  --auth NAME          how users are let in: polkit, none (everybody who can connect) or auto (default: as the upstream's sockets)
  --mechanism NAME     how snapshots of running guests are made: libxl (the guest stays), libvirt (by save and restore:
                       the guest is off in between), or auto (default: libxl, or libvirt if libxl cannot be used)
  --listen PATH        socket for clients (default for Xen: /run/libvirt/virtxend-sock)
  --listen-ro PATH     socket for read-only clients (default: the same with -ro)
  --snapshot-dir DIR   snapshot metadata (default for Xen: /var/lib/libvirt/libxl/snapshot)
  --memory-dir DIR     memory images (default for Xen: /var/lib/libvirt/libxl/snapshot-memory)
  --state-dir DIR      journal, and the overlays that running guests use (default for Xen: /var/lib/xlsnap)
  --group NAME         group that may connect (default: libvirt, if that group exists and we are root)
  --mode OCTAL         permissions of the sockets (default: 0666 if polkit lets users in, else 0660)
  --max-clients N      clients that each socket serves at a time (default: 1000; one user, but root, half of them)
  --dbus BUS           bus to serve on, too: system, session, an address (unix:path=PATH), or none
                       (default for Xen: system, if the bus' policy lets us; else none)
  --log-level LEVEL    ${LOG_LEVELS.join(', ')} (default: info)
  --help, --version
`;

/** Sockets on which a libvirtd with the xen driver may be listening, besides the one we take over ourselves. */
const UPSTREAM_SOCKETS = ['/run/libvirt/virtxend-upstream-sock', '/run/libvirt/libvirt-sock'] as const;

/** Of daemons and of xl. */
const PROGRAM_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/usr/bin'] as const;

/** The socket and the folders of each URI's scheme if no options name others. */
function defaults(connect: string): Pick<DaemonOptions, 'listen' | 'snapshotDir' | 'memoryDir' | 'stateDir'> {
  const listen = connect.startsWith('xen:') ? XEN_SOCKETS[0] : embeddedSocket();
  return { listen, ...defaultFolders(connect, embeddedHome()) };
}

const STRING = { type: 'string' } as const;
const BOOLEAN = { type: 'boolean' } as const;
const OPTIONS = {
  connect: { ...STRING, short: 'c' },
  upstream: STRING,
  'config-dir': { ...STRING, multiple: true },
  'upstream-uri': STRING,
  'upstream-config': STRING,
  auth: STRING,
  mechanism: STRING,
  listen: STRING,
  'listen-ro': STRING,
  'snapshot-dir': STRING,
  'memory-dir': STRING,
  'state-dir': STRING,
  group: STRING,
  mode: STRING,
  'max-clients': STRING,
  dbus: STRING,
  'log-level': STRING,
  help: { ...BOOLEAN, short: 'h' },
  version: BOOLEAN,
} as const;

/**
 * Reads the arguments. INVALID_ARG, in words for the terminal, for anything that does not fit. `isThere`: whether this host
 * has a file or socket.
 */
export function parseOptions(
  argv: readonly string[],
  isThere: (path: string) => boolean = existsSync,
): DaemonOptions | 'help' | 'version' {
  const values = readArguments(argv);
  if (values.help) return 'help';
  if (values.version) return 'version';
  const connect = values.connect ?? 'xen:///system';
  if (!/^xen:\/\/\/(system)?$|^test:\/\/\/default$/.test(connect)) {
    throw usage(`cannot serve '${connect}': --connect takes xen:///system or test:///default`);
  }
  const places = defaults(connect);
  const listen = values.listen ?? places.listen;
  const { owner, upstream } = ownerOf(values.upstream ?? 'auto', connect, isThere);
  return {
    connect,
    owner,
    upstream,
    configDirs: (values['config-dir'] ?? []).map((folder) => resolve(folder)),
    upstreamUri: values['upstream-uri'],
    auth: authOf(values.auth ?? 'auto'),
    upstreamConfig: values['upstream-config'],
    mechanism: mechanismOf(values.mechanism ?? 'auto', upstream),
    listen,
    listenReadOnly: values['listen-ro'] ?? `${listen}-ro`,
    snapshotDir: resolve(values['snapshot-dir'] ?? places.snapshotDir),
    memoryDir: resolve(values['memory-dir'] ?? places.memoryDir),
    stateDir: resolve(values['state-dir'] ?? places.stateDir),
    group: values.group,
    mode: values.mode === undefined ? undefined : modeOf(values.mode),
    maxClients: maxClientsOf(values['max-clients'] ?? '1000'),
    dbus: busOf(values.dbus ?? (connect.startsWith('xen:') ? 'system' : 'none')),
    logLevel: logLevelOf(values['log-level'] ?? 'info'),
  };
}

function readArguments(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, strict: true }).values;
  } catch (error) {
    throw usage((error as Error).message);
  }
}

function ownerOf(
  upstream: string,
  connect: string,
  isThere: (path: string) => boolean,
): Pick<DaemonOptions, 'owner' | 'upstream'> {
  if (upstream === 'xl') {
    if (connect.startsWith('xen:')) return { owner: 'xl', upstream: undefined };
    throw usage(`xl has the domains of xen:///system, not of ${connect}`);
  }
  if (upstream === 'none') {
    if (connect.startsWith('test:')) return { owner: 'embedded', upstream: undefined };
    throw usage(`${connect} needs a libvirtd that owns the domains: --upstream PATH; or xl: --upstream xl`);
  }
  if (upstream !== 'auto') return { owner: 'libvirt', upstream };
  if (connect.startsWith('test:')) return { owner: 'embedded', upstream: undefined };
  const socket = UPSTREAM_SOCKETS.find(isThere);
  // A libvirtd that is installed may only not run yet: then the domains are not xl's.
  const isInstalled = (program: string): boolean => PROGRAM_FOLDERS.some((folder) => isThere(join(folder, program)));
  if (socket === undefined && isInstalled('xl') && !isInstalled('libvirtd') && !isInstalled('virtxend')) {
    return { owner: 'xl', upstream: undefined };
  }
  return { owner: 'libvirt', upstream: socket ?? UPSTREAM_SOCKETS[1] };
}

function mechanismOf(text: string, upstream: string | undefined): MechanismOption {
  const option = MECHANISM_OPTIONS.find((known) => known === text);
  if (!option) throw usage(`--mechanism takes ${MECHANISM_OPTIONS.join(', ')}, not '${text}'`);
  if (option === 'auto' || upstream !== undefined) return option;
  throw usage(`--mechanism ${option} needs a libvirtd that owns the domains: --upstream PATH`);
}

function authOf(text: string): AuthOption {
  const option = AUTH_OPTIONS.find((known) => known === text);
  if (!option) throw usage(`--auth takes ${AUTH_OPTIONS.join(', ')}, not '${text}'`);
  return option;
}

function modeOf(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw usage(`--mode takes three octal digits, not '${text}'`);
  return Number.parseInt(text, 8);
}

function maxClientsOf(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw usage(`--max-clients takes a number from 1 on, not '${text}'`);
  return Number(text);
}

function busOf(text: string): string | undefined {
  if (text === 'none') return undefined;
  if (/^(system|session)$|^unix:./.test(text)) return text;
  throw usage(`--dbus takes system, session, none or an address such as unix:path=/run/bus, not '${text}'`);
}

function logLevelOf(text: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text);
  if (!level) throw usage(`--log-level takes ${LOG_LEVELS.join(', ')}, not '${text}'`);
  return level;
}

function usage(text: string): LibvirtError {
  return new LibvirtError('INVALID_ARG', `${text} (see xlsnapd --help)`);
}

/**
 * The upstream's socket for a read-only client, looked up for each: libvirt names it with `-ro`. A session daemon,
 * which is not root's, makes none, and libvirt's own clients connect to its only socket, read-only.
 */
export function readOnlySocketOf(upstream: string): string {
  const path = `${upstream}-ro`;
  const owner = statSync(upstream, { throwIfNoEntry: false })?.uid ?? 0;
  return owner === 0 || existsSync(path) ? path : upstream;
}
