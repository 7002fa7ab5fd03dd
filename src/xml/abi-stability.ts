/**
 * Whether a guest saved under one definition could go on under another (virDomainDefCheckABIStability): what the guest
 * sees must stay, what only the host sees (paths, bridges, formats) may change. libvirt's checks, in its order and words.
 */

import { LibvirtError } from '../errors.ts';
import { childAt, childElements, type XmlElement } from '../model/element.ts';
import {
  ADDRESS,
  CPU,
  DEVICES,
  type DeviceKind,
  type Fact,
  FEATURES,
  MACHINE,
  SYSTEM,
  TIMERS,
  vcpusOnline,
  XEN_FEATURES,
} from './abi-facts.ts';
import { orderedDiskElements } from './domain-disks.ts';

/** Refuses (67) a definition that a guest saved under `source` would notice. Both as libvirt prints them, inactive. */
export function checkAbiStability(source: XmlElement, target: XmlElement): void {
  checkFacts(MACHINE, source, target);
  checkVcpusOnline(source, target);
  checkFacts(SYSTEM, source, target);
  checkFeatures(source, target);
  checkTimers(source, target);
  checkFacts(CPU, source, target);
  for (const kind of DEVICES) checkDevices(kind, source, target);
}

function checkFacts(facts: readonly Fact[], source: XmlElement, target: XmlElement): void {
  for (const [sentence, read] of facts) {
    const [wanted, given] = [read(source), read(target)];
    if (wanted !== given) throw unstable(sentence, given, wanted);
  }
}

/** As many vCPUs, but not as many of them online: libvirt names the first that differs. */
function checkVcpusOnline(source: XmlElement, target: XmlElement): void {
  const [wanted, given] = [vcpusOnline(source), vcpusOnline(target)];
  if (wanted === given) return;
  const first = Math.min(Number(wanted), Number(given));
  throw unstable(`State of vCPU '${first}' differs between source and destination definitions`);
}

function checkFeatures(source: XmlElement, target: XmlElement): void {
  const check = (what: string, path: readonly string[]): void => {
    const [wanted, given] = [stateOf(source, path), stateOf(target, path)];
    if (wanted !== given) throw unstable(`State of ${what} differs: source: '%s', destination: '%s'`, wanted, given);
  };
  for (const name of FEATURES) check(`feature '${name}'`, ['features', name]);
  for (const name of XEN_FEATURES) check(`Xen feature '${name}'`, ['features', 'xen', name]);
}

function checkTimers(source: XmlElement, target: XmlElement): void {
  const [wanted, given] = [childrenOf(source, 'clock', 'timer'), childrenOf(target, 'clock', 'timer')];
  if (wanted.length !== given.length) throw unstable('Target domain timers do not match source');
  checkPairs(TIMERS, wanted, given);
}

function stateOf(domain: XmlElement, path: readonly string[]): string {
  const feature = childAt(domain, ...path);
  return feature ? (feature.attributes.state ?? 'on') : 'default';
}

function checkDevices({ name, count, facts, implied }: DeviceKind, source: XmlElement, target: XmlElement): void {
  const [wanted, given] = [devicesOf(source, name), devicesOf(target, name)];
  if (implied && given.length === 0) return;
  if (wanted.length !== given.length) {
    const sentence = `Target domain ${count} does not match source %s`;
    throw unstable(sentence, String(given.length), String(wanted.length));
  }
  checkPairs([...facts, ...ADDRESS], wanted, given);
}

function devicesOf(domain: XmlElement, name: string): readonly XmlElement[] {
  return name === 'disk' ? orderedDiskElements(domain) : childrenOf(domain, 'devices', name);
}

function childrenOf(domain: XmlElement, parent: string, name: string): readonly XmlElement[] {
  const found = childAt(domain, parent);
  return found ? childElements(found, name) : [];
}

function checkPairs(facts: readonly Fact[], wanted: readonly XmlElement[], given: readonly XmlElement[]): void {
  wanted.forEach((one, index) => {
    const other = given[index];
    if (other) checkFacts(facts, one, other);
  });
}

function unstable(sentence: string, ...values: readonly (string | undefined)[]): LibvirtError {
  const rest = [...values];
  const text = sentence.replace(/%s/g, () => rest.shift() ?? 'none');
  return new LibvirtError('CONFIG_UNSUPPORTED', text, { domain: 'DOMAIN' });
}
