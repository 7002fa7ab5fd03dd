/** What is accepted is kept, or it is refused when the snapshot is created: docs/semantics.md, "What is kept". */

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';

const run = promisify(execFile);

let home: string;
let daemon: Xlsnapd;
let count = 0;
/** A domain of the test's own, and its image. */
let guest: string;
let image: string;

const path = (name: string) => join(home, name);

async function define(more = '', type = 'xen', driver = ''): Promise<void> {
  const file = path(`${guest}.xml`);
  await writeFile(
    file,
    `<domain type='${type}'><name>${guest}</name><memory>4096</memory><os><type>hvm</type></os><devices>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2'${driver}/><source file='${image}'/>
        <target dev='xvda' bus='xen'/>${more}</disk></devices></domain>`,
  );
  await daemon.ok('define', file);
}

/** Creates a snapshot by its document. */
async function document(inside: string): Promise<string> {
  const file = path(`${guest}.snapshot.xml`);
  await writeFile(file, `<domainsnapshot>${inside}</domainsnapshot>`);
  return file;
}

const create = async (inside: string, ...options: string[]) =>
  await daemon.ok('snapshot-create', guest, await document(inside), ...options);
const refused = async (inside: string, ...options: string[]) =>
  await daemon.refused('snapshot-create', guest, await document(inside), ...options);
const names = async () => (await daemon.ok('snapshot-list', guest, '--name')).split('\n').filter(Boolean);
const source = async () => /<source (\w+)='([^']*)'/.exec(await daemon.ok('dumpxml', guest))?.slice(1);

/** With arguments as bytes: spawn takes no others than UTF-8. */
async function withBytes(...args: readonly string[]): Promise<string> {
  const script = `exec virsh -c '${daemon.uri}' ${args.join(' ')}`;
  const { stderr, stdout } = await run('bash', ['-c', script], { env: { ...process.env, LC_ALL: 'C.UTF-8' } }).catch(
    (error) => error,
  );
  return `${stderr}${stdout}`;
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'kept-'));
  daemon = await Xlsnapd.start({ home });
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

beforeEach(async () => {
  count += 1;
  guest = `g${count}`;
  image = path(`${guest}.qcow2`);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '1M']);
});

describe('case E: paths from which Xen can start the guest', () => {
  test.each([
    ['before upgrade', 'before%20upgrade'],
    ['a,b', 'a%2Cb'],
    ['a\u00a0b', 'a%C2%A0b'],
    ['100%', '100%'],
    ['a%20b', 'a%2520b'],
    ['ünïcode', 'ünïcode'],
  ])('the name %j makes the overlay .%s', async (name, ending) => {
    await define();
    await daemon.ok('snapshot-create-as', guest, name, '--disk-only');
    expect(await source()).toEqual(['file', path(`${guest}.${ending}`)]);
    await daemon.ok('snapshot-revert', guest, name);
    await daemon.ok('snapshot-delete', guest, name);
  });

  test.each([
    ['white space', 'a b.qcow2'],
    ['a comma', 'a,b.qcow2'],
  ])('an overlay with %s in its path is refused, running and off', async (problem, file) => {
    await define();
    // virsh splits a diskspec at single commas.
    const spec = `xvda,file=${path(file).replaceAll(',', ',,')}`;
    for (const state of ['off', 'running']) {
      if (state === 'running') await daemon.ok('start', guest);
      const text = await daemon.refused('snapshot-create-as', guest, 's1', '--disk-only', '--diskspec', spec);
      expect(text).toContain(`unsupported configuration: overlay '${path(file)}' of disk 'xvda' has ${problem}`);
      expect(text).toContain('--diskspec xvda,file=');
    }
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', path(file), '1M']);
    const reuse = ['--disk-only', '--reuse-external', '--diskspec', spec];
    expect(await daemon.refused('snapshot-create-as', guest, 's1', ...reuse)).toContain(problem);
    await daemon.ok('destroy', guest);
    expect(await source()).toEqual(['file', image]);
  });

  test('a guest of another kind may have any path', async () => {
    await define('', 'kvm');
    const spec = `xvda,file=${path(`${guest} a,,b`)}`;
    await daemon.ok('snapshot-create-as', guest, 's1', '--disk-only', '--diskspec', spec);
    expect(await source()).toEqual(['file', path(`${guest} a,b`)]);
  });
});

describe('case 6: what a request says of an overlay is honoured or refused', () => {
  const overlay = (parts: string) => `<name>s1</name><disks><disk name='xvda'>${parts}</disk></disks>`;
  const file = (inside: string, attributes = '') => `<source file='/tmp/xlsnap-none/o'${attributes}>${inside}</source>`;

  test.each([
    ['<encryption>', file("<encryption format='luks'><secret type='passphrase' usage='u'/></encryption>")],
    ['<slices>', file("<slices><slice type='storage' offset='0' size='512'/></slices>")],
    ['<reservations>', file("<reservations managed='yes'/>")],
    ['<auth>', file("<auth username='u'><secret type='iscsi' usage='u'/></auth>")],
    ['<seclabel>', file("<seclabel model='dac' relabel='no'/>")],
    ['<initiator>', file("<initiator><iqn name='i'/></initiator>")],
    ['<ssl>', file("<ssl verify='no'/>")],
    ['<cookies>', file("<cookies><cookie name='a'>b</cookie></cookies>")],
    ["startupPolicy='optional'", file('', " startupPolicy='optional'")],
    ["fdgroup='g'", file('', " fdgroup='g'")],
    ["cache='none'", `<driver type='qcow2' cache='none'/>${file('')}`],
    ["discard='unmap'", `<driver type='qcow2' discard='unmap'/>${file('')}`],
    ["name='tap'", `<driver name='tap' type='qcow2'/>${file('')}`],
    ['<metadata_cache>', `<driver><metadata_cache><max_size>1</max_size></metadata_cache></driver>${file('')}`],
    ['<encryption>', `<encryption format='luks'/>${file('')}`],
    ['<backenddomain>', `<backenddomain name='d'/>${file('')}`],
    ['<transient>', `<transient/>${file('')}`],
  ])('%s', async (what, parts) => {
    await define();
    expect(await refused(overlay(parts), '--disk-only')).toMatch(
      new RegExp(`^unsupported configuration: ${what} in <\\w+> of disk 'xvda' is not supported`, 'm'),
    );
    expect(await source()).toEqual(['file', image]);
    expect(await names()).toEqual([]);
  });

  test('what every tool writes is accepted', async () => {
    await define();
    await create(
      overlay(`<driver name='qemu' type='qcow2'/><source file='${path(`${guest}.o`)}' index='1'/>`),
      '--disk-only',
    );
    expect(await source()).toEqual(['file', path(`${guest}.o`)]);
  });

  test.each(['encryption', 'slices'])('a disk with <%s>: its overlay would not have it', async (name) => {
    const inside = { encryption: "<encryption format='luks'/>", slices: '' }[name] ?? '';
    await define(inside);
    if (name === 'slices') {
      const text = await daemon.ok('dumpxml', guest);
      const slices = "<slices><slice type='storage' offset='0' size='512'/></slices>";
      await writeFile(path('sliced.xml'), text.replace(/(<source [^>]*)\/>/, `$1>${slices}</source>`));
      await daemon.ok('define', path('sliced.xml'));
    }
    for (const options of [[], ['--disk-only']]) {
      expect(await daemon.refused('snapshot-create-as', guest, 's1', ...options)).toContain(
        `disk 'xvda' has <${name}>: snapshots of it are not supported`,
      );
    }
  });

  test('an overlay keeps what the definition says of the disk', async () => {
    await define('<serial>42</serial>', 'xen', " cache='none' discard='unmap'");
    await daemon.ok('snapshot-create-as', guest, 's1', '--disk-only');
    const text = await daemon.ok('dumpxml', guest);
    expect(text).toContain("<driver name='qemu' type='qcow2' cache='none' discard='unmap'/>");
    expect(text).toContain('<serial>42</serial>');
  });
});

describe('case 7: a disk that another domain serves', () => {
  test('is refused, running and off, and a file of that name here stays as it is', async () => {
    await define("<backenddomain name='storage'/>");
    const before = await readFile(image);
    for (const options of [[], ['--disk-only']]) {
      const text = await daemon.refused('snapshot-create-as', guest, 's1', ...options);
      expect(text).toMatch(/^unsupported configuration: .*disk 'xvda', which domain 'storage' serves/m);
    }
    expect(await readFile(image)).toEqual(before);
  });

  test('is refused for a revert and a delete of a snapshot that was redefined', async () => {
    await define();
    await daemon.ok('snapshot-create-as', guest, 's1');
    const text = await daemon.ok('snapshot-dumpxml', guest, 's1');
    await daemon.ok('snapshot-delete', guest, 's1', '--metadata');
    await writeFile(path('foreign.xml'), text.replace('<target ', "<backenddomain name='storage'/><target "));
    await daemon.ok('snapshot-create', guest, path('foreign.xml'), '--redefine');
    const before = await readFile(image);
    for (const command of ['snapshot-revert', 'snapshot-delete']) {
      expect(await daemon.refused(command, guest, 's1')).toContain("which domain 'storage' serves (<backenddomain>)");
    }
    expect(await readFile(image)).toEqual(before);
    await daemon.ok('snapshot-delete', guest, 's1', '--metadata');
  });
});

test('case 9: a file under /dev is a file', async () => {
  await define();
  const folder = await mkdtemp('/dev/shm/kept-');
  try {
    await daemon.ok('snapshot-create-as', guest, 's1', '--disk-only', '--diskspec', `xvda,file=${folder}/o.qcow2`);
    expect(await daemon.ok('dumpxml', guest)).toMatch(/<disk type='file'/);
    expect(await source()).toEqual(['file', `${folder}/o.qcow2`]);
    await daemon.ok('start', guest);
    await daemon.ok('snapshot-create-as', guest, 's2', '--disk-only');
    expect(await source()).toEqual(['file', `${folder}/o.s2`]);
    await daemon.ok('destroy', guest);
    await daemon.ok('snapshot-delete', guest, 's2');
    await daemon.ok('snapshot-delete', guest, 's1');
    expect(await source()).toEqual(['file', image]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe('case 10: bytes that are not UTF-8', () => {
  test.each([
    ['as it is', ''],
    // libvirt refuses it, too.
    ['with its encoding', "<?xml version='1.0' encoding='ISO-8859-1'?>"],
  ])('in a document, %s: libvirt’s refusal', async (_, declaration) => {
    await define();
    const file = path('latin1.xml');
    await writeFile(file, `${declaration}<domainsnapshot>\n  <name>caf\xe9</name>\n</domainsnapshot>`, 'latin1');
    expect(await daemon.refused('snapshot-create', guest, file)).toMatch(
      /^\(domain_snapshot\):2: Input is not proper UTF-8, indicate encoding !\nBytes: 0xE9 0x3C 0x2F 0x6E\n {2}<name>caf\\xe9<\/name>\n-{11}\^$/m,
    );
    expect(await names()).toEqual([]);
  });

  test('in a name: no such object, never another one', async () => {
    await define();
    await daemon.ok('snapshot-create-as', guest, 'caf\ufffd');
    for (const command of ['snapshot-delete', 'snapshot-revert', 'snapshot-dumpxml']) {
      expect(await withBytes(command, guest, "$'caf\\xfc'")).toContain('Domain snapshot not found');
    }
    expect(await withBytes('dominfo', "$'g\\xfc'")).toContain('failed to get domain');
    expect(await names()).toEqual(['caf\ufffd']);
  });

  test('xlsnap passes them on as they are', async () => {
    await define();
    await daemon.ok('snapshot-create-as', guest, 'caf\ufffd');
    const xlsnap = join(import.meta.dirname, '../../dist/cli/main.js');
    const script = `exec '${process.execPath}' '${xlsnap}' -c '${daemon.uri}' snapshot-delete ${guest} $'caf\\xfc'`;
    await expect(run('bash', ['-c', script])).rejects.toMatchObject({
      stderr: expect.stringContaining('Domain snapshot not found'),
    });
    expect(await names()).toEqual(['caf\ufffd']);
  });
});

describe('cases 11 and 12: names', () => {
  test.each([
    ['a carriage return', 'c&#13;r', 'a control character'],
    ['a line end', 'c&#10;r', 'a control character'],
    ['a tab', 'c&#9;r', 'a control character'],
    ['U+0085', 'c&#x85;r', 'a control character'],
    ['U+FDD0', 'c\ufdd0r', 'a code point that QEMU does not accept'],
    ['U+1FFFE', 'c&#x1fffe;r', 'a code point that QEMU does not accept'],
  ])('with %s are refused at once', async (_, name, problem) => {
    await define();
    await daemon.ok('start', guest);
    for (const options of [[], ['--no-metadata', '--disk-only']]) {
      expect(await refused(`<name>${name}</name>`, ...options)).toContain(`name can't contain ${problem}`);
    }
    await daemon.ok('snapshot-create-as', guest, 'kept');
    expect(await names()).toEqual(['kept']);
  });
});

test('case 15: all <disks> elements count', async () => {
  await define();
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', path(`${guest}.b`), '1M']);
  const text = await daemon.ok('dumpxml', guest);
  const second = `<disk type='file'><driver name='qemu' type='qcow2'/><source file='${path(`${guest}.b`)}'/><target dev='xvdb' bus='xen'/></disk>`;
  await writeFile(path('two.xml'), text.replace('</devices>', `${second}</devices>`));
  await daemon.ok('define', path('two.xml'));
  const disks = (disk: string) =>
    `<disks><disk name='${disk}'><source file='${path(`${guest}.${disk}.o`)}'/></disk></disks>`;
  await create(`<name>s1</name>${disks('xvda')}${disks('xvdb')}`, '--disk-only');
  expect(await daemon.ok('domblklist', guest)).toContain(path(`${guest}.xvdb.o`));
  expect(await refused(`<name>s2</name>${disks('xvda')}${disks('xvda')}`, '--disk-only')).toContain('specified twice');
});

test('case 17: every event that libvirt 9.0 knows can be waited for', async () => {
  const listen = spawn('virsh', ['-c', daemon.uri, 'event', '--all', '--timeout', '1']);
  let text = '';
  listen.stderr.on('data', (data) => {
    text += data;
  });
  await new Promise((ended) => listen.once('exit', ended));
  expect(text).not.toContain('unsupported event ID');
});

test('what is accepted is the same after a restart and a redefinition', async () => {
  guest = 'test';
  const name = `  x <'"&  y\u2028 `;
  const escaped = '  x &lt;&apos;"&amp;  y\u2028 ';
  const description = '&#13; a&#9;b&#10;c &lt;&amp;&gt;&quot;&apos; \u0085\u2028\u{1f600} ';
  await create(`<name>${escaped}</name><description>${description}</description>`);
  const before = await daemon.ok('snapshot-dumpxml', guest, name);
  expect(before).toContain('<description>&#13; a\tb\nc &lt;');
  await daemon.stop();
  daemon = await Xlsnapd.start({ home });
  expect(await daemon.ok('snapshot-dumpxml', guest, name)).toBe(before);
  await writeFile(path('again.xml'), before);
  await daemon.ok('snapshot-create', guest, path('again.xml'), '--redefine');
  expect(await daemon.ok('snapshot-dumpxml', guest, name)).toBe(before);
  await daemon.ok('snapshot-revert', guest, name);
  await daemon.ok('snapshot-delete', guest, name);
});
