/** Finds the libxenlight of this machine, or says why there is none that can be used. */

import { openFfi } from '../../native/ffi.ts';
import { type Libxenlight, loadLibxenlight } from './bindings.ts';
import { libxlInstallCommand } from './libxl-package.ts';

/** Minor versions of Xen 4. 4.14 is too old: its libxl_domain_resume ignores suspend_cancel for PV and PVH. */
const OLDEST = 15;
const NEWEST = 22;
/** Versions that cannot be used are looked for only to name them. */
const LATEST_IMAGINABLE = 40;

/** The soname is the only selector of the ABI. */
const sonames = (from: number, to: number): readonly string[] =>
  Array.from({ length: from - to + 1 }, (_, i) => `libxenlight.so.4.${from - i}`);

/** The names under which the libraries are tried. */
export interface Candidates {
  /** In this order; the first that loads is used. */
  readonly supported: readonly string[];
  readonly tooNew: readonly string[];
  readonly tooOld: readonly string[];
}

const CANDIDATES: Candidates = {
  supported: sonames(NEWEST, OLDEST),
  tooNew: sonames(LATEST_IMAGINABLE, NEWEST + 1),
  tooOld: sonames(OLDEST - 1, 1),
};

/**
 * koffi's and glibc's words for a library that is in no folder. If one of its dependencies is, its name comes in
 * between.
 */
const ABSENT = /^[^:]*: cannot open shared object file: No such file/;

/** No library can be used; `missing` says why, and what to install. */
interface MissingLibrary {
  readonly missing: string;
}

/**
 * Loads the newest supported libxenlight. Never rejects because of a library: a damaged one is a reason in `missing`.
 */
export async function openLibxenlight(candidates: Candidates = CANDIDATES): Promise<Libxenlight | MissingLibrary> {
  const koffi = await openFfi();
  const reasons: string[] = [];
  for (const soname of candidates.supported) {
    try {
      return await loadLibxenlight(koffi.load(soname), soname);
    } catch (error) {
      const { message } = error as Error;
      if (!ABSENT.test(message)) reasons.push(`${soname} cannot be used: ${message}`);
    }
  }
  const isInstalled = (soname: string): boolean => {
    try {
      koffi.load(soname);
      return true;
    } catch (error) {
      return !ABSENT.test((error as Error).message);
    }
  };
  const range = `${candidates.supported.at(-1)} to ${candidates.supported[0]}`;
  for (const soname of candidates.tooNew.filter(isInstalled)) {
    reasons.push(`${soname} is newer than this version of xlsnapd knows (${range}): install a newer xlsnap`);
  }
  for (const soname of candidates.tooOld.filter(isInstalled)) {
    reasons.push(`${soname} is too old (${range} can be used): install a newer Xen`);
  }
  if (reasons.length === 0) {
    const install = await libxlInstallCommand();
    const advice = install === undefined ? "install Xen's libraries" : `run: ${install}`;
    reasons.push(`no libxenlight on this machine (${range} can be used); ${advice}`);
  }
  return { missing: reasons.join('; ') };
}
