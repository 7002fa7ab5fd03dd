// A real Xen host with a Debian dom0, in QEMU's software emulation: no KVM, no disk image, no network. XLSNAP_LAB_SYSTEM: Debian's
// name of the system that dom0 is made of, if it is not this machine's.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { labRoot } from '../../../scripts/systems.mjs';
import { bootFiles } from './boot-files.mjs';
import { Dom0 } from './dom0.mjs';
import { findParts } from './requirements.mjs';

/** From power-on to dom0's agent: 10 s on idle cores, and busy ones may take many times that. */
const BOOT_TIMEOUT_MS = 180_000;
/** QEMU ends at once when asked to; after this long it is killed. */
const POWER_OFF_TIMEOUT_MS = 5_000;
const SOCKET_TIMEOUT_MS = 10_000;
/** Folders of ended hosts that stay under test-output/lab, so that a failure can still be read after the next run. */
const KEPT_LOGS = 5;

const HOST_MIB = 3584;
const DOM0_MIB = 2048;

const ROOT = resolve(import.meta.dirname, '../../..');
const OUTPUT = `${ROOT}/test-output/lab`;

// -smap,-smep: dom0 crashes early with them under emulation. No AVX: its emulation has bugs. The AMD vendor of "max" brings emulated
// SVM with nested paging, so PVH and HVM guests exist. -rdtscp: Xen cannot emulate it for PVH guests on that SVM.
const CPU = 'max,-smap,-smep,-avx,-avx2,-f16c,-fma,-rdtscp';

// eager-fpu: with Xen's lazy switching of the FPU, registers of dom0's programs are corrupted while a PVH guest runs (seen under this
// emulation: about one start of Node in three crashed, and none of 75 with it).
// bootscrub, spec-ctrl=no, mitigations, rodata, notests: work that protects or checks a real host and costs seconds in emulation.
const XEN_LINE = `console=com1 com1=115200,8n1 dom0_mem=${DOM0_MIB}M,max:${DOM0_MIB}M loglvl=warning guest_loglvl=warning bootscrub=0 spec-ctrl=no,eager-fpu`;
const DOM0_LINE = 'console=hvc0 loglevel=4 panic=1 rdinit=/init mitigations=off rodata=off cryptomgr.notests';

function qemuArguments({ xen, kernel, dom0Initrd }, root, folder, socket) {
  const share = (id, path, options) => [
    '-fsdev',
    `local,id=${id},path=${path},security_model=none${options}`,
    '-device',
    `virtio-9p-pci,fsdev=${id},mount_tag=${id}`,
  ];
  return [
    '-nodefaults',
    '-display',
    'none',
    '-no-reboot',
    '-M',
    'q35',
    '-accel',
    // One thread and one CPU: with two, the emulated SVM mixes up host and guest at a world switch, and PVH guests die of a triple
    // fault (seen: 2 of 3 starts, one with Xen's own RIP in the guest; none of 8 with one CPU, which is no slower here).
    'tcg,thread=single',
    '-cpu',
    CPU,
    '-smp',
    '1',
    '-m',
    String(HOST_MIB),
    // Xen is a multiboot kernel; dom0's kernel with its command line and dom0's initrd are its modules.
    '-kernel',
    xen,
    '-append',
    XEN_LINE,
    '-initrd',
    `${kernel} ${DOM0_LINE}${root === '' ? '' : ` lab.checkout=${ROOT}`},${dom0Initrd}`,
    '-serial',
    `file:${folder}/console.log`,
    ...share('root', root === '' ? '/' : root, ',readonly=on,multidevs=remap'),
    ...(root === '' ? [] : share('checkout', ROOT, ',readonly=on,multidevs=remap')),
    ...share('lab', folder, ''),
    '-device',
    'virtio-serial-pci',
    '-chardev',
    `socket,id=agent,path=${socket},server=on,wait=off`,
    '-device',
    'virtserialport,chardev=agent,name=xlsnap.lab',
  ];
}

/** The oldest folders of hosts that are gone. */
function pruneLogs() {
  const gone = (folder) => !existsSync(`/proc/${readFileSync(`${OUTPUT}/${folder}/qemu.pid`, 'utf8')}`);
  const folders = readdirSync(OUTPUT)
    .filter((folder) => existsSync(`${OUTPUT}/${folder}/qemu.pid`) && gone(folder))
    .sort();
  for (const folder of folders.slice(0, -KEPT_LOGS)) rmSync(`${OUTPUT}/${folder}`, { recursive: true, force: true });
}

/** The folder that dom0 sees as /mnt/lab: its programs, the commands, all logs. */
function prepareFolder(files) {
  mkdirSync(OUTPUT, { recursive: true });
  pruneLogs();
  const folder = mkdtempSync(`${OUTPUT}/${new Date().toISOString().replaceAll(':', '-').slice(0, 19)}-`);
  for (const part of ['commands', 'log']) mkdirSync(`${folder}/${part}`);
  for (const script of ['dom0-agent.sh', 'dom0-lib.sh'])
    copyFileSync(resolve(import.meta.dirname, script), `${folder}/${script}`);
  symlinkSync(files.kernel, `${folder}/guest.kernel`); // dom0 has the same paths under its root
  symlinkSync(files.bzImage, `${folder}/guest.bzimage`);
  symlinkSync(files.guestInitrd, `${folder}/guest.initrd`);
  symlinkSync(ROOT, `${folder}/checkout`);
  return folder;
}

async function connectWhenListening(place) {
  for (const deadline = Date.now() + SOCKET_TIMEOUT_MS; ; ) {
    try {
      return await Dom0.connect(place);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((done) => setTimeout(done, 50));
    }
  }
}

export class LabHost {
  #qemu;
  #place;
  #dom0;

  /** Boots a host and waits until its dom0 takes commands. */
  static async boot() {
    const root = labRoot(process.env.XLSNAP_LAB_SYSTEM);
    const files = bootFiles(findParts(root));
    const folder = prepareFolder(files);
    const place = { folder, socket: `${mkdtempSync(`${tmpdir()}/xlsnap-lab-`)}/agent` }; // a socket's path has 107 bytes at most
    const errors = openSync(`${folder}/qemu.log`, 'a');
    // The host must not outlive us, whatever ends us.
    const qemu = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...qemuArguments(files, root, folder, place.socket)],
      {
        stdio: ['ignore', errors, errors],
      },
    );
    closeSync(errors);
    writeFileSync(`${folder}/qemu.pid`, String(qemu.pid));
    const host = new LabHost(qemu, place);
    try {
      await host.#connect();
      return host;
    } catch (error) {
      await host[Symbol.asyncDispose]();
      const said = readFileSync(`${folder}/qemu.log`, 'utf8').trim();
      throw new Error(`the lab host did not come up; see ${folder}/console.log${said && `\n${said}`}`, {
        cause: error,
      });
    }
  }

  constructor(qemu, place) {
    this.#qemu = qemu;
    this.#place = place;
  }

  /** Where another process's `Dom0.connect` finds this host, once `hangUp` has freed the line: it carries one at a time. */
  get place() {
    return this.#place;
  }

  get dom0() {
    return this.#dom0;
  }

  get folder() {
    return this.#place.folder;
  }

  run(script, options) {
    return this.#dom0.run(script, options);
  }

  hangUp() {
    this.#dom0.close();
  }

  /** Cuts the power. There is nothing to lose: the root was read-only, and the logs were written through. */
  async [Symbol.asyncDispose]() {
    this.#dom0?.close();
    if (this.#qemu.exitCode === null && this.#qemu.signalCode === null) {
      const ended = once(this.#qemu, 'exit');
      this.#qemu.kill('SIGTERM');
      const kill = setTimeout(() => this.#qemu.kill('SIGKILL'), POWER_OFF_TIMEOUT_MS);
      await ended;
      clearTimeout(kill);
    }
    rmSync(resolve(this.#place.socket, '..'), { recursive: true, force: true });
  }

  async #connect() {
    const failure = new AbortController();
    const fail = (message) => failure.abort(new Error(message));
    this.#qemu.once('error', (error) => fail(`QEMU cannot be started: ${error.message}`));
    this.#qemu.once('exit', (code, signal) => fail(`QEMU ended (${signal ?? `status ${code}`})`));
    const limit = setTimeout(() => fail(`no answer from dom0 in ${BOOT_TIMEOUT_MS} ms`), BOOT_TIMEOUT_MS);
    const failed = once(failure.signal, 'abort').then(() => Promise.reject(failure.signal.reason));
    failed.catch(() => {}); // after the boot it is the end of a command that tells
    try {
      this.#dom0 = await Promise.race([connectWhenListening(this.#place), failed]);
      await Promise.race([this.#dom0.ready, failed]);
    } finally {
      clearTimeout(limit);
    }
  }
}
