/** Domains on overlays are saved by libvirtd, which names the base images: the image gets its name when it names the overlays. */

import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../../src/errors.ts';
import { SavesOnOverlays } from '../../../../../src/hosts/libvirt/overlaid/overlaid-saves.ts';
import { checkLibxlStream, readMemoryImage } from '../../../../../src/memory/image-file.ts';
import type { RecordedSave } from '../../../../../src/snapshots/ports/saves.ts';
import { parseDefinition } from '../../../../../src/xml/domain/definition.ts';
import { GUEST, LIVE_XML, NO_LIVE_DISKS, RUNNING } from '../../../../support/hosts/recorded-upstream.ts';
import { SavingLibvirtd } from '../../../../support/hosts/saving-libvirtd.ts';
import { refusal } from '../../../../support/refusal.ts';

let folder: string;
let libvirtd: SavingLibvirtd;
let saves: SavesOnOverlays;
const at = (name: string): string => join(folder, name);
const overlay = () => ({ path: at('a-much-longer-name-than-that-of-the-base.qcow2'), format: 'qcow2' });

const xml = () =>
  LIVE_XML.replace(
    '</devices>',
    `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${at('a')}'/><target dev='xvda'/></disk></devices>`,
  );

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'overlaid-saves-'));
  libvirtd = new SavingLibvirtd(xml(), at('g.save'));
  const liveDisks = { ...NO_LIVE_DISKS, of: () => new Map([['xvda', overlay()]]) };
  saves = new SavesOnOverlays({ upstream: libvirtd, liveDisks, managedSaveDir: folder });
});
afterEach(() => rm(folder, { recursive: true }));

async function expectWhole(path: string): Promise<void> {
  const image = await readMemoryImage(path);
  await checkLibxlStream(image);
  expect(parseDefinition(image.domainXml).images).toEqual(new Map([['xvda', overlay()]]));
  expect(image.domainXml).not.toContain('metadata');
}

describe.each([
  ['a save', () => at('saved')],
  ['a managed save', () => undefined],
])('%s', (_, to) => {
  const path = () => to() ?? at('g.save');

  test('names the overlays, although the definition that libvirtd writes has no room for them', async () => {
    await saves.carryOut(await saves.plan(RUNNING, to()));
    await expectWhole(path());
    expect((await lstat(path())).isFile()).toBe(true);
    expect(await readdir(folder)).toEqual([path().slice(folder.length + 1)]);
    expect(libvirtd.metadata).toBe('');
  });

  test('has no name that libvirtd would start the domain from before that', async () => {
    let seen: unknown;
    libvirtd.halfway = async () => {
      // What a start would read there: nothing, or zeros without end.
      const link = await readlink(path()).catch((error) => error.code);
      seen = to() === undefined ? await readlink(link) : link;
    };
    await saves.carryOut(await saves.plan(RUNNING, to()));
    await expectWhole(path());
    expect(seen).toBe(to() === undefined ? '/dev/zero' : 'ENOENT');
  });

  test('that libvirtd refuses leaves nothing, and the error names the path that was asked for', async () => {
    libvirtd.outcome = 'failed';
    const { message } = await refusal(saves.carryOut(await saves.plan(RUNNING, to())));
    expect(message).toContain('Failed to save to');
    expect(message).not.toContain('/proc/');
    expect(await readdir(folder)).toEqual([]);
    expect(libvirtd.metadata).toBe('');
  });

  test('whose end was not heard of is whole all the same', async () => {
    libvirtd.outcome = 'late';
    await saves.carryOut(await saves.plan(RUNNING, to()));
    await expectWhole(path());
  });

  test('that was cut off is not given its name, and stays for whoever can read it', async () => {
    libvirtd.outcome = 'cut off';
    const error = await refusal(saves.carryOut(await saves.plan(RUNNING, to())));
    expect(error).toMatchObject({ reason: 'save-unfinished', message: expect.stringContaining(`'${path()}.partial'`) });
    expect(await readdir(folder)).toEqual([`${path().slice(folder.length + 1)}.partial`]);
  });

  describe('of a daemon that has ended', () => {
    /** libvirtd has written it, and nobody has completed it. */
    async function interrupted(change: Partial<RecordedSave> = {}): Promise<RecordedSave> {
      const planned = await saves.plan(RUNNING, to());
      libvirtd.metadata = `<metadata><xlsnap:room xmlns:xlsnap='urn:x'>${' '.repeat(500)}</xlsnap:room></metadata>`;
      await libvirtd.saveFlags(GUEST, `${path()}.partial`);
      if (planned.managed) await symlink('/proc/999999999/fd/3', path());
      return { ...planned, sameBoot: true, ...change };
    }

    test('is completed', async () => {
      expect(await saves.finish(await interrupted())).toBe('it is complete now');
      await expectWhole(path());
      expect(await readdir(folder)).toEqual([path().slice(folder.length + 1)]);
    });

    test.each([
      ['before the host was started again', { sameBoot: false }, GUEST.id, 'the host has been started since'],
      ['and did not take place', {}, GUEST.id, 'the domain runs on'],
      ['and whose domain was started again', {}, GUEST.id + 1, 'the domain has run since'],
    ])('%s leaves nothing', async (_when, change, id, reason) => {
      const save = await interrupted(change);
      libvirtd.ref = { ...GUEST, id };
      expect(await saves.finish(save)).toContain(reason);
      expect(await readdir(folder)).toEqual([]);
    });

    test.each(['there is no file', 'the file is empty'])('and never began leaves nothing: %s', async (file) => {
      const save = { ...(await saves.plan(RUNNING, to())), sameBoot: true };
      if (file === 'the file is empty') await writeFile(`${path()}.partial`, '');
      libvirtd.ref = { ...GUEST, id: -1 };
      expect(await saves.finish(save)).toBe('nothing had been saved yet');
      expect(await readdir(folder)).toEqual([]);
    });
  });
});

test('a managed save does not resume over what its guest has written since', async () => {
  const planned = await saves.plan(RUNNING, undefined);
  await libvirtd.saveFlags(GUEST, at('g.save.partial'));
  await writeFile(overlay().path, '');
  const later = Date.now() / 1000 + 60;
  await utimes(overlay().path, later, later);
  expect(await saves.finish({ ...planned, sameBoot: true })).toContain('the domain has run since');
  expect(await readdir(folder)).toEqual([overlay().path.slice(folder.length + 1)]);
});

test('a file at the path is replaced', async () => {
  await writeFile(at('saved'), 'old');
  await saves.carryOut(await saves.plan(RUNNING, at('saved')));
  await expectWhole(at('saved'));
});

test('a libvirtd that cannot open our files, and one that keeps managed saves elsewhere, saves to a file', async () => {
  libvirtd.sharesProcesses = async () => false;
  await saves.carryOut(await saves.plan(RUNNING, at('saved')));
  await expectWhole(at('saved'));
  libvirtd.ref = GUEST;
  const managed = await refusal(saves.carryOut(await saves.plan(RUNNING, undefined)));
  expect(managed).toMatchObject({ code: 'OPERATION_UNSUPPORTED', message: expect.stringContaining("'virsh save'") });
  const elsewhere = new SavesOnOverlays({ upstream: libvirtd, liveDisks: NO_LIVE_DISKS });
  expect((await refusal(elsewhere.plan(RUNNING, undefined))).message).toContain("'virsh save'");
  expect(await readdir(folder)).toEqual(['saved']);
});

test('a save for which there is no room is refused before the guest is touched', async () => {
  libvirtd.xml = xml().replace('65536</memory>', `${2 ** 50}</memory>`);
  const { code, message } = await refusal(saves.plan(RUNNING, at('saved')));
  expect(code).toBe('OPERATION_FAILED');
  expect(message).toContain(at('saved'));
  expect(await readdir(folder)).toEqual([]);
});

test('if nobody can say whether the guest has ended, what was saved stays', async () => {
  const save = await saves.plan(RUNNING, at('saved'));
  libvirtd.outcome = 'late';
  libvirtd.lookupByUUID = async () => {
    throw new LibvirtError('RPC', 'connection lost');
  };
  const error = await refusal(saves.carryOut(save));
  expect(error).toMatchObject({ reason: 'save-unfinished', message: expect.stringContaining('connection lost') });
  expect(await readdir(folder)).toEqual(['saved.partial']);
  // Nor is it removed later, as long as nobody can say so.
  await refusal(saves.finish({ ...save, sameBoot: true }));
  expect(await readdir(folder)).toEqual(['saved.partial']);
});

test('a disk that was moved to another image since the save was planned stays on that', async () => {
  const save = await saves.plan(RUNNING, at('saved'));
  libvirtd.xml = xml().replace(at('a'), at('b'));
  await saves.carryOut(save);
  const { domainXml } = await readMemoryImage(at('saved'));
  expect(parseDefinition(domainXml).images.get('xvda')?.path).toBe(at('b'));
});

describe('a managed save of a daemon that has ended', () => {
  async function interrupted(): Promise<RecordedSave> {
    const planned = await saves.plan(RUNNING, undefined);
    await libvirtd.saveFlags(GUEST, at('g.save.partial'));
    return { ...planned, sameBoot: true };
  }

  test('the guest that runs on has no room in its definition any more', async () => {
    const save = await interrupted();
    libvirtd.metadata = "<metadata><xlsnap:room xmlns:xlsnap='urn:x'>xxx</xlsnap:room></metadata>";
    libvirtd.ref = GUEST;
    await saves.finish(save);
    expect(libvirtd.metadata).toBe('');
  });

  test('a managed save that libvirtd has made since stays as it is', async () => {
    const save = await interrupted();
    await writeFile(at('g.save'), 'newer');
    expect(await saves.finish(save)).toContain('the domain has run since');
    expect(await readFile(at('g.save'), 'utf8')).toBe('newer');
  });

  test('a managed save of a guest on block devices is not completed: nobody can tell whether it has run since', async () => {
    const save = await interrupted();
    const moves = save.moves.map((move) => ({ ...move, to: { ...move.to, path: '/dev/null' } }));
    expect(await saves.finish({ ...save, moves })).toContain('the domain has run since');
  });

  test('an image that cannot be opened is not taken for one that was never written', async () => {
    const save = await interrupted();
    await rm(at('g.save.partial'));
    await mkdir(at('g.save.partial'));
    await expect(saves.finish(save)).rejects.toMatchObject({ code: 'EISDIR' });
    expect(await readdir(folder)).toEqual(['g.save.partial']);
  });
});
