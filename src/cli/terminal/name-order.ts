/** The order of virsh's lists: strcasecmp(3), which compares bytes in the locale of the user. */

/** A thing that is listed by its name. */
interface Named {
  readonly name: string;
}

/** The locales of the C library in which the small letter of I is not i (they have LC_CTYPE of tr_TR), with UTF-8. */
const DOTLESS_I = /^(?:tr_TR|tr_CY|az_AZ|crh_UA|ku_TR|tt_RU(?=.*@iqtelif))\.utf-?8(?:@|$)/i;

/**
 * Returns the comparison for names: bytes, with the case of ASCII letters ignored. In the locales above I is no small letter's
 * capital, and comes before all letters. A locale with another charset than UTF-8 is treated as C.
 */
export function nameOrder({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): (a: Named, b: Named) => number {
  const capitals = DOTLESS_I.test(LC_ALL || LC_CTYPE || LANG || 'C') ? /[A-HJ-Z]/g : /[A-Z]/g;
  const key = ({ name }: Named) => Buffer.from(name.replace(capitals, (letter) => letter.toLowerCase()));
  return (a, b) => Buffer.compare(key(a), key(b));
}
