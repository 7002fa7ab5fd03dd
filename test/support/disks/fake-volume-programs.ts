/** What LVM's and ZFS's programs do with volumes, and what they answer, as far as the real ones have been seen to. */

export interface FakeVolume {
  readonly contents: string;
  /** Of a snapshot of ZFS: a volume that is made of it. */
  readonly clone?: string;
  /** Of LVM: name of its thin pool. */
  readonly pool?: string;
  readonly origin?: string;
  readonly tags?: readonly string[];
  readonly open?: boolean;
  readonly inactive?: boolean;
  readonly invalid?: boolean;
  /** The snapshot that is being merged into it. */
  readonly merging?: string;
  /** Of a thick snapshot: how much of it is used. 0 if it is left out. */
  readonly percent?: string;
  /** Of an entry `vg`, which stands for the group. */
  readonly freeBytes?: number;
}

/** What each thick volume has, and each group has free, if it is not given. */
const VOLUME_BYTES = 64 << 20;
export const EXTENT_BYTES = 4 << 20;

/** `vg/lv`, `pool/vm`, `pool/vm@snapshot`, oldest first. */
export type Volumes = Map<string, FakeVolume>;

type Program = (volumes: Volumes, args: readonly string[]) => string;

/** Options of LVM's programs that have a value. */
const VALUED: ReadonlySet<string> = new Set([
  '-n',
  '-l',
  '-L',
  '-o',
  '--addtag',
  '--deltag',
  '--reportformat',
  '--units',
]);

function values(args: readonly string[], option: string): readonly string[] {
  return args.flatMap((arg, index) => (arg === option ? [args[index + 1] ?? ''] : []));
}

function named(args: readonly string[]): readonly string[] {
  return args.filter((arg, index) => !arg.startsWith('-') && !VALUED.has(args[index - 1] ?? ''));
}

function need(volumes: Volumes, name: string): FakeVolume {
  const found = volumes.get(name);
  if (!found) throw new Error(`Failed to find logical volume "${name}"`);
  return found;
}

function put(volumes: Volumes, name: string, volume: FakeVolume): void {
  if (volumes.has(name)) throw new Error(`Logical Volume "${name}" already exists`);
  volumes.set(name, volume);
}

/** LVM puts it off while the origin is open. */
function merge(volumes: Volumes, name: string): void {
  const { merging, ...origin } = need(volumes, name);
  if (merging === undefined || origin.open) return;
  volumes.set(name, { ...origin, contents: need(volumes, merging).contents });
  volumes.delete(merging);
}

const last = (args: readonly string[]): string => named(args).at(-1) ?? '';

const ZFS: Readonly<Record<string, (volumes: Volumes, names: readonly string[]) => string>> = {
  list(volumes, names) {
    const dataset = names.at(-1) ?? '';
    if (!volumes.has(dataset)) throw new Error(`cannot open '${dataset}': dataset does not exist`);
    return [...volumes.keys()]
      .map((name, txg) => ({ name, txg }))
      .filter(({ name }) => name.startsWith(`${dataset}@`) || name.startsWith(`${dataset}#`))
      .map(({ name, txg }) => `${txg}\t${name}\n`)
      .join('');
  },
  snapshot(volumes, names) {
    for (const name of names) put(volumes, name, { contents: need(volumes, name.split('@')[0] ?? '').contents });
    return '';
  },
  rollback(volumes, [name = '']) {
    const dataset = name.split('@')[0] ?? '';
    volumes.set(dataset, { ...need(volumes, dataset), contents: need(volumes, name).contents });
    return '';
  },
  destroy(volumes, words) {
    const [name = ''] = words.filter((word) => word !== '-n');
    if (need(volumes, name).clone) throw new Error(`cannot destroy '${name}': snapshot has dependent clones`);
    if (!words.includes('-n')) volumes.delete(name);
    return '';
  },
};

/** By name. Returns what the program prints; an error has its words. */
export const PROGRAMS: Readonly<Record<string, Program>> = {
  lvs(volumes, args) {
    const vg = last(args);
    const found = [...volumes].filter(([name]) => name.startsWith(`${vg}/`));
    if (found.length === 0) throw new Error(`Volume group "${vg}" not found`);
    const merged = new Set(found.map(([, { merging }]) => merging));
    const lv = found
      .filter(([name]) => !merged.has(name))
      .map(([name, volume]) => ({
        lv_name: name.slice(vg.length + 1),
        pool_lv: volume.pool ?? '',
        lv_tags: (volume.tags ?? []).join(','),
        lv_device_open: volume.inactive ? '-1' : volume.open ? '1' : '0',
        lv_snapshot_invalid: volume.invalid ? '1' : '-1',
        lv_merging: volume.merging === undefined ? '0' : '1',
        lv_kernel_major: '-1',
        lv_kernel_minor: '-1',
        lv_size: String(VOLUME_BYTES),
        data_percent: volume.origin && volume.pool === undefined ? (volume.percent ?? '0.00') : '',
        vg_free: String(volumes.get(vg)?.freeBytes ?? VOLUME_BYTES),
        vg_extent_size: String(EXTENT_BYTES),
      }));
    return `${JSON.stringify({ report: [{ lv }] })}\n`;
  },

  lvcreate(volumes, args) {
    const [vg, lv = ''] = last(args).split('/');
    const { contents, pool } = need(volumes, last(args));
    if ((pool !== undefined) === (args.includes('-l') || args.includes('-L'))) {
      throw new Error('Please specify either size or extents with snapshots.');
    }
    const [size = '0b'] = values(args, '-L');
    if (size.endsWith('b') && Number.parseInt(size, 10) % 512 !== 0) throw new Error('Size is not a multiple of 512.');
    const tags = values(args, '--addtag');
    put(volumes, `${vg}/${values(args, '-n')[0]}`, { contents, ...(pool !== undefined && { pool }), origin: lv, tags });
    return '';
  },

  lvrename(volumes, args) {
    const [vg, old = '', fresh] = named(args);
    put(volumes, `${vg}/${fresh}`, need(volumes, `${vg}/${old}`));
    volumes.delete(`${vg}/${old}`);
    for (const [name, volume] of volumes) {
      if (name.startsWith(`${vg}/`) && volume.origin === old && fresh) volumes.set(name, { ...volume, origin: fresh });
    }
    return '';
  },

  lvremove(volumes, args) {
    need(volumes, last(args));
    volumes.delete(last(args));
    return '';
  },

  lvconvert(volumes, args) {
    const snapshot = last(args);
    const origin = `${snapshot.split('/')[0]}/${need(volumes, snapshot).origin}`;
    volumes.set(origin, { ...need(volumes, origin), merging: snapshot });
    merge(volumes, origin);
    return '';
  },

  lvchange(volumes, args) {
    const volume = need(volumes, last(args));
    const removed = values(args, '--deltag');
    const tags = (volume.tags ?? []).filter((tag) => !removed.includes(tag));
    volumes.set(last(args), { ...volume, tags: [...tags, ...values(args, '--addtag')] });
    if (args.includes('--refresh')) merge(volumes, last(args));
    return '';
  },

  zfs(volumes, [command = '', ...args]) {
    return ZFS[command]?.(volumes, args) ?? '';
  },
};

/** True for a command that only looks. */
export function onlyReads(program: string, [command]: readonly string[]): boolean {
  return program === 'lvs' || (program === 'zfs' && command === 'list');
}
