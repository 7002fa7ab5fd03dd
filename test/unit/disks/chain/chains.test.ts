import { execFileSync } from 'node:child_process';
import { mkdir, open, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { backingImage, readChain, readChains, requireFiles } from '../../../../src/disks/chain/chains.ts';
import { fileKey } from '../../../../src/disks/file-key.ts';
import { checkImage } from '../../../../src/disks/qemu/image-info.ts';
import { hasReason } from '../../../../src/errors.ts';
import { writeOverlay } from '../../../support/disks/overlay-headers.ts';
import { newImage, qemuImg, scratchFolder } from '../../../support/hosts/embedded.ts';

let folder: Awaited<ReturnType<typeof scratchFolder>>;
const at = (name: string) => join(folder.path, name);
const qcow2 = (name: string) => ({ path: at(name), format: 'qcow2' });
const json = (options: object) => `json:${JSON.stringify(options)}`;

/** `path format` of each layer, without the folder; then why the chain ends, if that is not its end. */
async function follow(name: string, format = 'qcow2'): Promise<readonly string[]> {
  const { layers, remote, broken } = await readChain({ path: at(name), format });
  const short = (text: string) => text.replaceAll(`${folder.path}/`, '');
  return [
    ...layers.map((layer) => `${short(layer.path)} ${layer.format}`),
    ...(remote === undefined ? [] : [`remote ${remote}`]),
    ...(broken ? [short(broken.error.detail)] : []),
  ];
}

beforeAll(async () => {
  folder = await scratchFolder();
  await mkdir(at('sub'));
  await newImage(at('base'));
  await writeFile(at('raw'), Buffer.alloc(1 << 20));
});

afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

describe('case 4: a backing image is found by every name that QEMU finds it by', () => {
  const file = (name: string) => ({ driver: 'file', filename: at(name) });
  const NAMES: readonly (readonly [string, (format?: string) => { backing: string; format?: string }, string])[] = [
    ['a path', () => ({ backing: at('base'), format: 'qcow2' }), 'base qcow2'],
    ['a path without a format, which QEMU probes', () => ({ backing: at('base') }), 'base qcow2'],
    ['a raw image without a format', () => ({ backing: at('raw') }), 'raw raw'],
    ['a relative path', () => ({ backing: 'sub/../base', format: 'qcow2' }), 'sub/../base qcow2'],
    ['file:', () => ({ backing: `file:${at('base')}`, format: 'qcow2' }), 'base qcow2'],
    ['json: with a nested file', () => ({ backing: json({ driver: 'qcow2', file: file('base') }) }), 'base qcow2'],
    ['json: without a driver', () => ({ backing: json({ file: file('base') }) }), 'base qcow2'],
    [
      'json: with dotted keys',
      () => ({ backing: json({ driver: 'qcow2', 'file.driver': 'file', 'file.filename': at('base') }) }),
      'base qcow2',
    ],
    [
      'json: in single quotes',
      () => ({ backing: `json:{'driver':'qcow2','file.filename':'${at('base')}'}` }),
      'base qcow2',
    ],
    [
      'json: with raw in between',
      () => ({ backing: json({ driver: 'qcow2', file: { driver: 'raw', file: file('base') } }) }),
      'base qcow2',
    ],
    ['json: of the file alone: it is raw', () => ({ backing: json(file('base')) }), 'base raw'],
    [
      'json: and another format in the header, which counts',
      () => ({ backing: json({ driver: 'qcow2', file: file('base') }), format: 'raw' }),
      'base raw',
    ],
    ['the format `file`: it is raw', () => ({ backing: at('base'), format: 'file' }), 'base raw'],
  ];

  test.each(NAMES)('%s', async (_what, header, expected) => {
    await writeOverlay(at('top'), header());
    expect(await follow('top')).toEqual(['top qcow2', expected]);
  });

  test('relative to the folder of the name by which the overlay was opened, also if that is a link', async () => {
    await writeOverlay(at('sub/top'), { backing: '../base', format: 'qcow2' });
    await symlink(at('sub/top'), at('link'));
    expect(await follow('sub/top')).toEqual(['sub/top qcow2', 'sub/../base qcow2']);
    expect((await follow('link')).at(-1)).toBe("cannot read image '../base': No such file or directory");
  });

  test('in images of other formats', async () => {
    for (const format of ['qed', 'qcow', 'vmdk'] as const) {
      const options = format === 'qcow' ? [] : ['-F', format === 'vmdk' ? 'vmdk' : 'qcow2'];
      const base = format === 'vmdk' ? 'base.vmdk' : 'base';
      if (format === 'vmdk') await qemuImg('create', '-q', '-f', format, at(base), '8M');
      await qemuImg(
        'create',
        '-q',
        '-f',
        format,
        '-b',
        at(base),
        ...(options.length > 0 ? options : ['-F', 'qcow2']),
        at(`o.${format}`),
      );
      expect(await follow(`o.${format}`, format)).toEqual([
        `o.${format} ${format}`,
        `${base} ${options[1] ?? 'qcow2'}`,
      ]);
    }
  });
});

describe('S7: what an image names is not opened, whatever it is', () => {
  const descriptor = (extent: string) =>
    `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="x"\n\nRW 2048 FLAT "${extent}" 0\n`;

  test('extents of a vmdk descriptor, which QEMU would probe: a pipe, a server, a file beside it', async () => {
    execFileSync('mkfifo', [at('extent')]);
    for (const [extent, end] of [
      [at('extent'), []],
      ['raw', []],
      ['nbd:unix:/run/x', [`data file 'nbd:unix:/run/x' of image 'descriptor' is not a path`]],
    ] as const) {
      await writeFile(at('descriptor'), descriptor(extent));
      await writeOverlay(at('top'), { backing: at('descriptor') });
      const begun = performance.now();
      expect(await follow('top')).toEqual(['top qcow2', 'descriptor vmdk', ...end]);
      expect(performance.now() - begun).toBeLessThan(5_000);
      const { dataFiles } = await readChain(qcow2('top'));
      expect(dataFiles).toEqual(end.length > 0 ? [] : [await fileKey(at(extent === 'raw' ? 'raw' : 'extent'))]);
    }
  });

  test('a header full of empty extensions is not read to its end', async () => {
    await writeOverlay(at('full'), {});
    await using file = await open(at('full'), 'r+');
    const extension = Buffer.from('0000000100000000', 'hex');
    await file.write(Buffer.alloc(8_000, extension), 0, 8_000, 104);
    expect(await follow('full')).toEqual(["cannot read image 'full': it has more than 64 header extensions"]);
  });
});

describe('a chain that does not end in an image', () => {
  test.each([
    ['nbd:localhost:10809', 'remote nbd:localhost:10809'],
    ['nbd+unix:///disk?socket=/run/x', 'remote nbd+unix:///disk?socket=/run/x'],
    [
      'json:{"driver":"raw","file":{"driver":"rbd","pool":"p"}}',
      'remote json:{"driver":"raw","file":{"driver":"rbd","pool":"p"}}',
    ],
  ])('ends there, over the network: %s', async (backing, expected) => {
    await writeOverlay(at('top'), { backing });
    expect(await follow('top')).toEqual(['top qcow2', expected]);
  });

  test.each([
    ['x:y', undefined, "is read by protocol 'x', which xlsnap does not know"],
    ['file:base', undefined, "is a file in QEMU's working directory, which is not known"],
    [
      'json:{"driver":"qcow2","file.filename":"base"}',
      undefined,
      "is a file in QEMU's working directory, which is not known",
    ],
    ['json:{"driver":"quorum","children":[]}', undefined, "is read by driver 'quorum', which xlsnap does not know"],
    [
      'json:{"driver":"raw","offset":512,"file":{"driver":"file","filename":"/x"}}',
      undefined,
      "has option 'offset', which xlsnap does not know",
    ],
    ['json:{"file":"node"}', undefined, 'does not name a file'],
    ['json:{"driver":"qcow2"}', undefined, 'does not name a file'],
    ['json:[]', undefined, 'is not a JSON object'],
    ['json:{', undefined, 'is not JSON'],
    ['/x', 'nbd,path=/tmp/s', "is said to have format 'nbd,path=/tmp/s', which QEMU does not have"],
  ])('says why it cannot be followed: %s %s', async (backing, format, reason) => {
    await writeOverlay(at('top'), { backing, ...(format !== undefined && { format }) });
    expect(await follow('top')).toEqual(['top qcow2', `backing image '${backing}' of image 'top' ${reason}`]);
  });

  test('is damaged if its format’s name is longer than QEMU allows', async () => {
    await writeOverlay(at('top'), { backing: at('base'), format: 'qcow2qcow2qcow2q' });
    const { layers, broken } = await readChain(qcow2('top'));
    expect({ layers, detail: broken?.error.detail }).toEqual({
      layers: [],
      detail: expect.stringMatching(/Header extension too large/),
    });
  });

  test('names the missing image', async () => {
    await writeOverlay(at('top'), { backing: at('gone'), format: 'qcow2' });
    const { broken } = await readChain(qcow2('top'));
    expect(broken?.image).toEqual(qcow2('gone'));
    expect(hasReason(broken?.error, 'image-missing')).toBe(true);
    expect(await backingImage(qcow2('top'))).toEqual(qcow2('gone'));
  });

  test('neither waits for a pipe nor opens a device that is no disk', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    for (const backing of [at('pipe'), '/dev/zero', folder.path]) {
      await writeOverlay(at('top'), { backing, format: 'raw' });
      const { broken } = await readChain(qcow2('top'));
      expect(broken?.error.detail).toBe(
        `cannot read image '${backing}': '${backing}' is neither a regular file nor a block device`,
      );
      expect(hasReason(broken?.error, 'image-missing')).toBe(false);
      expect(hasReason(broken?.error, 'image-is-folder')).toBe(backing === folder.path);
    }
  });

  test('that bites its own tail is seen, by whatever names', async () => {
    await writeOverlay(at('ring'), { backing: './sub/../other', format: 'qcow2' });
    await writeOverlay(at('other'), { backing: './ring', format: 'qcow2' });
    expect((await follow('ring')).at(-1)).toMatch(/ring' is its own backing image$/);
    await writeOverlay(at('self'), { backing: './self', format: 'qcow2' });
    expect((await follow('self')).at(-1)).toBe(`image './self' is its own backing image`);
  });

  test('is read up to libvirt’s limit of 200 images', async () => {
    for (let layer = 0; layer <= 200; layer += 1) {
      await writeOverlay(at(`deep${layer}`), layer === 0 ? {} : { backing: at(`deep${layer - 1}`), format: 'qcow2' });
    }
    expect((await readChain(qcow2('deep199'))).broken).toBeUndefined();
    expect((await readChain(qcow2('deep200'))).broken?.error.detail).toBe('the chain has more than 200 images');
  });

  test('and a name that is no UTF-8, or a damaged header, is not a missing image', async () => {
    await writeOverlay(at('top'), { backing: Buffer.from([0x2f, 0xff]), format: 'qcow2' });
    expect(await follow('top')).toEqual(["cannot read image 'top': a name in its header is not UTF-8"]);
    expect(await follow('raw')).toEqual(["cannot read image 'raw': Image is not in qcow2 format"]);
  });
});

test('an external data file belongs to the chain', async () => {
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${at('data')}`, at('split'), '8M');
  const { dataFiles } = await readChain(qcow2('split'));
  expect(dataFiles).toEqual((await readChain({ path: at('data'), format: 'raw' })).layers.map(({ key }) => key));
});

test('an image whose data file is a pipe by now is not given to a program that would open it', async () => {
  const data = at('data to be a pipe');
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${data}`, at('on a pipe'), '8M');
  await rm(data);
  execFileSync('mkfifo', [data]);
  const refusal = `data file of image '${at('on a pipe')}': '${data}' is neither a regular file nor a block device`;
  await expect(requireFiles(qcow2('on a pipe'))).rejects.toThrow(refusal);
  await expect(checkImage(qcow2('on a pipe'))).rejects.toThrow(refusal);
});

test('links and other names are one file', async () => {
  await symlink(at('base'), at('other name'));
  const [a, b] = await readChains([qcow2('base'), qcow2('other name')]);
  expect(a?.layers[0]?.key).toBe(b?.layers[0]?.key);
});
