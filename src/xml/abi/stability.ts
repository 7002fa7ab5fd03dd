/**
 * Checks whether a guest that was saved with one definition can resume with another (virDomainDefCheckABIStability): what
 * the guest sees must stay; what only the host sees (paths, bridges, formats) may change. libvirt's checks, order and words.
 */

import { isDeepStrictEqual } from 'node:util';
import { LibvirtError } from '../../errors.ts';
import type { XmlElement } from '../../model/element.ts';
import { DEVICES } from './devices.ts';
import { BALLOON, GUEST } from './facts.ts';
import type { Check, Fact, Group } from './read.ts';

interface AbiOptions {
  /** Current memory: of a running guest it may have changed from one look at the definition to the next. */
  readonly balloon?: 'may differ';
}

/**
 * Refuses (CONFIG_UNSUPPORTED) a `target` that a guest saved with `source` would notice. Both are inactive definitions
 * as libvirt prints them. The same definition is never refused, not even for a value that cannot be read.
 */
export function checkAbiStability(source: XmlElement, target: XmlElement, { balloon }: AbiOptions = {}): void {
  if (isDeepStrictEqual(source, target)) return;
  for (const check of [...GUEST, ...DEVICES]) {
    if (check !== BALLOON || balloon !== 'may differ') runCheck(check, source, target);
  }
}

function runCheck(check: Check, source: XmlElement, target: XmlElement): void {
  if (typeof check === 'function') for (const fact of check(source, target)) checkFact(fact, source, target);
  else if ('members' in check) checkGroup(check, source, target);
  else checkFact(check, source, target);
}

function checkGroup({ members, count, facts, implied }: Group, source: XmlElement, target: XmlElement): void {
  const [wanted, given] = [members(source), members(target)];
  if (implied && given.length === 0) return;
  if (wanted.length !== given.length) throw unstable(count, String(given.length), String(wanted.length));
  wanted.forEach((one, index) => {
    const other = given[index];
    if (other) for (const fact of facts) checkFact(fact, one, other);
  });
}

function checkFact([sentence, read]: Fact, source: XmlElement, target: XmlElement): void {
  const [wanted, given] = [read(source), read(target)];
  if (wanted !== given) throw unstable(sentence, given, wanted);
}

function unstable(sentence: string, target = 'none', source = 'none'): LibvirtError {
  const text = sentence.replace(/%[ts]/g, (place) => (place === '%t' ? target : source));
  return new LibvirtError('CONFIG_UNSUPPORTED', text, { domain: 'DOMAIN' });
}
