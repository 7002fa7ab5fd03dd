/**
 * Who else uses an image: another domain, one of its snapshots, or another disk of the same domain. Asked before an image
 * is written to or removed. QEMU locks only what running domains have open.
 */

import { asLibvirtError, hasReason, isLibvirtError, LibvirtError } from '../../errors.ts';
import type { BackingChain, DiskImage } from '../../model/disk-image.ts';
import { type Domain, type DomainDefinition, isActive } from '../../model/domain.ts';
import type { DiskOfSnapshot } from '../../model/snapshot.ts';
import type { Looking } from '../context.ts';
import { byFileKey } from './files.ts';
import { volumeImage } from './volume-images.ts';

/** An image that is to be written to or removed. `disk`: the disk of the domain that may use it; absent: none may. */
export interface Touched {
  readonly path: string;
  readonly disk?: string;
}

/** One that has an image in its backing chain. */
export interface ImageUser {
  readonly domain: Domain;
  /** Target of the disk. */
  readonly disk: string;
  /** The snapshot of the domain that needs the image; absent: the domain itself. */
  readonly snapshot?: string;
}

interface Use extends ImageUser {
  /** The top of the chain. */
  readonly image: DiskImage;
}

/** Refuses (55) to merge or remove an image that somebody else uses, running or off. Reads only. */
export async function checkNotShared(context: Looking, domain: Domain, touched: readonly Touched[]): Promise<void> {
  for (const [path, user] of await sharedImages(context, domain, touched)) {
    throw new LibvirtError(
      'OPERATION_INVALID',
      `image '${path}' of domain '${domain.ref.name}' is also used by ${describeUser(user)}, and merging overlays would ` +
        'change it: give that one an image of its own first, or forget the snapshot with --metadata',
    );
  }
}

/** Refuses (55) to undo what has made an image that somebody else uses by now, running or off. Reads only. */
export async function checkUndo(context: Looking, domain: Domain, made: readonly Touched[]): Promise<void> {
  for (const [path, user] of await sharedImages(context, domain, made)) {
    throw new LibvirtError(
      'OPERATION_INVALID',
      `image '${path}' of domain '${domain.ref.name}' is neither merged nor removed, since ${describeUser(user)} uses it: give ` +
        "that one an image of its own; then 'xlsnap doctor' says what to do with this one",
    );
  }
}

/**
 * anywhere       in any backing chain
 * as base        below another image
 * only as base   below another image of a disk that is never on the image itself. Disks of two domains that name one image
 *                share it by design, as libvirt lets them; a clone's owner does not know that its base may change
 */
type Sharing = 'anywhere' | 'as base' | 'only as base';

/**
 * Returns those of the images that somebody else uses, by path, and who. Refuses (55) if that cannot be known, since a
 * definition cannot be read, or a chain cannot be followed to its end: only what is missing, or a folder, uses nothing. Reads only.
 */
export async function sharedImages(
  context: Looking,
  domain: Domain,
  touched: readonly Touched[],
  sharing: Sharing = 'anywhere',
): Promise<ReadonlyMap<string, ImageUser>> {
  const shared = new Map<string, ImageUser>();
  if (touched.length === 0) return shared;
  const paths = await byFileKey(
    context.images,
    touched.map(({ path }) => path),
  );
  const onto = await pathsBelow(context.images, touched);
  const ownDisks = new Map(touched.map(({ path, disk }) => [path, disk]));
  const touchedDisks = new Set(ownDisks.values());
  const uses: Use[] = [];
  for (const each of await context.host.list()) uses.push(...(await usesOf(context, each).catch(noneIfGone)));
  const chains = await context.images.chains(uses.map(({ image }) => image));
  const onItself = new Set(uses.map((user, index) => onImage(user, chains[index]?.layers[0]?.key)));
  for (const [index, user] of uses.entries()) {
    const isOwn = user.domain.ref.uuid === domain.ref.uuid;
    const chain = chains[index] as BackingChain;
    const layers = sharing === 'anywhere' ? chain.layers : chain.layers.slice(1);
    const ofDisk = chain.layers.flatMap(({ key }) => onto.get(key) ?? []);
    for (const path of ofDisk) if (!shared.has(path)) shared.set(path, user);
    for (const key of [...layers.map((layer) => layer.key), ...chain.dataFiles]) {
      const path = paths.get(key);
      if (path === undefined || (isOwn && ownDisks.get(path) === user.disk)) continue;
      if (sharing === 'only as base' && onItself.has(onImage(user, key))) continue;
      if (!shared.has(path)) shared.set(path, user);
    }
    // What is wrong with the disk itself is said by those who plan to change it.
    if (!chain.broken || namesNothing(chain.broken) || (isOwn && touchedDisks.has(user.disk))) continue;
    const { image, error } = chain.broken;
    throw isUnknown(user, `its chain cannot be followed beyond image '${image.path}' (${error.detail})`, error);
  }
  return shared;
}

/** Returns the touched paths by the keys of the devices and files below them. Who uses a whole disk uses its partitions, too. */
async function pathsBelow(
  images: Looking['images'],
  touched: readonly Touched[],
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const { path } of touched) for (const key of await images.keysBelow(path)) found.set(key, path);
  return found;
}

/** Nothing can be below an image that is missing, or that is a folder. */
function namesNothing({ error }: NonNullable<BackingChain['broken']>): boolean {
  return hasReason(error, 'image-missing') || hasReason(error, 'image-is-folder');
}

/** A disk of a domain, and the image that it is on. */
function onImage({ domain, disk }: ImageUser, key: string | undefined): string {
  return `${domain.ref.uuid} ${disk} ${key}`;
}

/** For messages: `domain 'a' (disk 'xvdb')`, `domain 'a' (disk 'xvdb' in snapshot 's')`. */
export function describeUser({ domain: { ref }, disk, snapshot }: ImageUser): string {
  return `domain '${ref.name}' (disk '${disk}'${snapshot === undefined ? '' : ` in snapshot '${snapshot}'`})`;
}

/** The images of all that the domain would ever start with: now, at its next start, and after a revert. */
async function usesOf({ host, snapshotsOf }: Looking, domain: Domain): Promise<readonly Use[]> {
  const read = async (which: 'live' | 'persistent') =>
    await host.definition(domain, which).catch((error) => {
      if (!isLibvirtError(error, ...NOT_UNDERSTOOD)) throw error;
      throw isUnreadable(domain, asLibvirtError(error));
    });
  const live = await read('live');
  const next = domain.persistent && isActive(domain) ? [await read('persistent')] : [];
  const snapshots = (await snapshotsOf(domain.ref)).tree.all();
  const uses: Use[] = [
    ...[live, ...next].flatMap((definition) => disksOf(definition).map((each) => ({ ...each, domain }))),
    ...snapshots.flatMap(({ name, images }) => images.map((each) => ({ ...each, domain, snapshot: name }))),
  ];
  const onVolumes = [
    ...[live, ...next].flatMap(({ volumes }) => volumes.map((each) => ({ ...each, domain }))),
    ...snapshots.flatMap(({ name, volumes }) => volumes.map((each) => ({ ...each, domain, snapshot: name }))),
  ];
  for (const { volume, format, ...user } of onVolumes) {
    const image = await volumeImage(host, { volume, format }).catch((error) => {
      const cause = asLibvirtError(error);
      throw isUnknown(user, cause.detail, cause);
    });
    if (image) uses.push({ ...user, image });
  }
  return uses;
}

function disksOf({ disks, images }: DomainDefinition): readonly DiskOfSnapshot[] {
  return disks.flatMap(({ target, type }) => {
    const image = images.get(target);
    // A folder that QEMU shows as a disk is no image.
    return image && type !== 'dir' ? [{ disk: target, image }] : [];
  });
}

/** A domain that is gone since the list was made uses nothing. */
function noneIfGone(error: unknown): readonly Use[] {
  if (!isLibvirtError(error, 'NO_DOMAIN')) throw error;
  return [];
}

/** A definition that this project cannot read. Other errors are not about the domain: the connection may be lost. */
const NOT_UNDERSTOOD = ['XML_ERROR', 'XML_DETAIL', 'CONFIG_UNSUPPORTED', 'INTERNAL_ERROR'] as const;

function isUnreadable({ ref }: Domain, cause: LibvirtError): LibvirtError {
  const text = `domain '${ref.name}' may use the same images: its definition cannot be read (${cause.detail}). Mend that, or undefine it`;
  return new LibvirtError('OPERATION_INVALID', text, { cause });
}

/** `reason`: why nobody knows which images it uses. */
function isUnknown(user: ImageUser, reason: string, cause: LibvirtError): LibvirtError {
  return new LibvirtError(
    'OPERATION_INVALID',
    `${describeUser(user)} may use the same images: ${reason}. Mend that, give that disk another image, or, to forget a ` +
      'snapshot and keep all images, delete it with --metadata',
    { cause },
  );
}
