/** The domains of an xl host for ordinary clients. xl itself carries out what changes them. */

import { LibvirtError } from '../../errors.ts';
import { type DomainRef, type DomainSummary, isActive } from '../../model/domain.ts';
import type { XmlElement } from '../../model/element.ts';
import { LIFECYCLE } from '../../model/events.ts';
import { XML } from '../../model/flags.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { withoutSecrets } from '../../xml/domain/formats.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { CONFIG_FOLDERS, type ConfiguredDomain } from './config-files.ts';
import type { XlDomain } from './domain.ts';
import type { XlDomains } from './domains.ts';
import { savedFile } from './xendomains.ts';
import type { Xl } from './xl.ts';

/** The kinds of guests, with the machines of libvirt's xen driver. */
const GUESTS = [
  { osType: 'hvm', machine: 'xenfv', types: ['xen'] },
  { osType: 'xen', machine: 'xenpv', types: ['xen'] },
  { osType: 'xenpvh', machine: 'xenpvh', types: ['xen'] },
] as const;

/** libvirt's names. */
const OS_TYPES = { hvm: 'hvm', pv: 'linux', pvh: 'xenpvh' } as const;

interface XlDomainApiOptions {
  readonly domains: XlDomains;
  readonly xl: Xl;
  /** Of xendomains. */
  readonly saveFolder: string;
  /** The port of the domain's VNC server; undefined if it has none. */
  vncPort(domid: number): Promise<string | undefined>;
}

/** The front's DomainApi (src/rpc/server/domain-api.ts). */
export class XlDomainApi {
  /** virConnectGetType of libvirt's own driver for `xen:///system`. */
  readonly type = 'Xen';
  readonly guests = GUESTS;
  readonly #domains: XlDomains;
  readonly #xl: Xl;
  readonly #saveFolder: string;
  readonly #vncPort: (domid: number) => Promise<string | undefined>;

  constructor({ domains, xl, saveFolder, vncPort }: XlDomainApiOptions) {
    this.#domains = domains;
    this.#xl = xl;
    this.#saveFolder = saveFolder;
    this.#vncPort = vncPort;
  }

  async domains(): Promise<readonly DomainSummary[]> {
    return (await this.#domains.all()).map((domain) => this.#summary(domain));
  }

  async domain(ref: DomainRef): Promise<DomainSummary> {
    return this.#summary(await this.#domains.find(ref));
  }

  async xmlDesc(ref: DomainRef, flags: number): Promise<string> {
    const domain = await this.#domains.find(ref);
    const isLive = isActive(domain) && !(flags & XML.INACTIVE);
    const { element } = await this.#domains.definition(domain, isLive ? 'live' : 'persistent');
    const shown = isLive ? withRun(element, domain.ref.id, await this.#vncPort(domain.ref.id)) : element;
    return writeElement(flags & XML.SECURE ? shown : withoutSecrets(shown));
  }

  async define(): Promise<never> {
    throw this.#isXls('virDomainDefineXML', 'write its file there');
  }

  async undefine(): Promise<never> {
    throw this.#isXls('virDomainUndefine', 'remove its file there');
  }

  async rename(): Promise<never> {
    throw this.#isXls('virDomainRename', 'change its file there');
  }

  async createXML(): Promise<never> {
    throw this.#isXls('virDomainCreateXML', 'write its file there, or run: xl create FILE');
  }

  async create(ref: DomainRef, { paused }: { readonly paused: boolean }): Promise<DomainRef> {
    const started = await this.#domains.alone(ref, async () => {
      const domain = await this.#domains.find(ref);
      if (isActive(domain)) throw new LibvirtError('OPERATION_INVALID', 'domain is already running');
      await this.#refuseSaved(domain.ref);
      await startFromFile(this.#xl, domain, { paused });
      return (await this.#domains.find(ref)).ref;
    });
    this.#domains.emit(started, LIFECYCLE.STARTED_BOOTED);
    if (paused) this.#domains.emit(started, LIFECYCLE.SUSPENDED_PAUSED);
    return started;
  }

  async destroy(ref: DomainRef): Promise<void> {
    await this.#ask(ref, 'destroy', 'Failed to destroy');
  }

  async shutdown(ref: DomainRef): Promise<void> {
    await this.#ask(ref, 'shutdown', 'Failed to shutdown', ['-F']);
  }

  async reboot(ref: DomainRef): Promise<void> {
    await this.#ask(ref, 'reboot', 'Failed to reboot', ['-F']);
  }

  async suspend(ref: DomainRef): Promise<void> {
    await this.#ask(ref, 'pause', 'Failed to suspend');
  }

  async resume(ref: DomainRef): Promise<void> {
    await this.#ask(ref, 'unpause', 'Failed to resume');
  }

  /** What xendomains restores later is older than what the guest would write from now on. */
  async #refuseSaved({ name }: DomainRef): Promise<void> {
    const path = await savedFile(this.#saveFolder, name);
    if (path === undefined) return;
    const text =
      `cannot boot domain '${name}': xendomains has saved it in '${path}'; to continue it: ` +
      `${shellCommand('xl', 'restore', path)}; to boot it, remove that file`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }

  /** `-F`: an HVM guest without Xen's drivers is asked by ACPI. */
  async #ask(ref: DomainRef, command: string, failure: string, options: readonly string[] = []): Promise<void> {
    await this.#domains.exclusive(ref, async () => {
      const { ref: now } = await this.#domains.findActive(ref);
      const text = `${failure} domain '${now.name}' with xl`;
      if (now.id === 0) throw new LibvirtError('OPERATION_INVALID', `${text}: it is the control domain`);
      const args = [command, ...options, String(now.id)];
      if (command === 'destroy') await this.#xl.change(args, text);
      else await this.#xl.ask(args, text);
      await this.#domains.all();
    });
  }

  #isXls(call: string, instead: string): LibvirtError {
    const text = `${call} is not supported: xl configures the domains of this host by files in ${CONFIG_FOLDERS[0]}; ${instead}`;
    return new LibvirtError('OPERATION_UNSUPPORTED', text);
  }

  /** Of a guest that is only being made libxl has no config yet. */
  #summary(domain: XlDomain): DomainSummary {
    const { ref, state, running, configured } = domain;
    const { c_info, b_info } = this.#domains.config(domain);
    const currentKib = running?.current_memkb ?? 0;
    const maxMemoryKib = BigInt(b_info.max_memkb ?? b_info.target_memkb ?? currentKib);
    return {
      ref,
      state,
      reason: this.#domains.reason(domain),
      persistent: configured !== undefined,
      autostart: configured?.autostart ?? false,
      maxMemoryKib,
      memoryKib: running ? BigInt(currentKib) : maxMemoryKib,
      vcpus: running?.vcpu_online ?? b_info.max_vcpus ?? 1,
      cpuTime: BigInt(running?.cpu_time ?? 0),
      osType: OS_TYPES[c_info.type ?? running?.domain_type ?? 'pv'],
    };
  }
}

/** Refuses (55) a domain that no file configures, or two of them. */
export function requireFile({ ref, configured }: XlDomain): ConfiguredDomain & { readonly path: string } {
  const [path, ...others] = configured?.paths ?? [];
  if (configured && path !== undefined && others.length === 0) return { ...configured, path };
  const reason =
    path === undefined
      ? `no file in ${CONFIG_FOLDERS.join(' or ')} configures it: xl has nothing to start it from`
      : `more than one file configures it: ${[path, ...others].map((each) => `'${each}'`).join(', ')}`;
  throw new LibvirtError('OPERATION_INVALID', `cannot start domain '${ref.name}': ${reason}`);
}

/** Starts a domain from its file, under the UUID that clients know. */
export async function startFromFile(xl: Xl, domain: XlDomain, { paused }: { readonly paused: boolean }): Promise<void> {
  const { path, uuid } = requireFile(domain);
  const failure = `Failed to start domain '${domain.ref.name}' with xl`;
  await xl.change(['create', '-q', ...(paused ? ['-p'] : []), path, `uuid="${uuid}"`], failure);
}

/** What a definition shows only while the domain runs. */
function withRun(domain: XmlElement, id: number, vncPort: string | undefined): XmlElement {
  const shown = vncPort === undefined ? domain : withVncPort(domain, vncPort);
  return { ...shown, attributes: { ...shown.attributes, id: String(id) } };
}

function withVncPort(parent: XmlElement, port: string): XmlElement {
  const children = parent.children.map((child) => {
    if (typeof child === 'string') return child;
    if (child.name === 'devices') return withVncPort(child, port);
    const isVnc = child.name === 'graphics' && child.attributes.type === 'vnc';
    return isVnc ? { ...child, attributes: { ...child.attributes, port } } : child;
  });
  return { ...parent, children };
}
