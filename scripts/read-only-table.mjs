// node scripts/read-only-table.mjs FOLDER: writes src/rpc/wire/read-only/{allowed,refused,functions}.ts from libvirt's
// source (apt-get source libvirt). A procedure is refused if the function of the public API that it dispatches to checks for
// read-only connections (virCheckReadOnlyGoto): nothing in the protocol's own files says so.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const [source] = process.argv.slice(2);
const OUT = resolve(import.meta.dirname, '../src/rpc/wire/read-only');
const read = (path) => readFileSync(join(source, path), 'utf8');
const SECURE = ['(conn->flags & VIR_CONNECT_RO)', 'with secure flag'];

/** Every function with the error domain of its file, and what it says of read-only connections. */
const api = new Map();
for (const file of readdirSync(join(source, 'src')).filter((name) => /^libvirt(-.*)?\.c$/.test(name))) {
  const text = read(join('src', file));
  const domain = /#define VIR_FROM_THIS VIR_FROM_(\w+)/.exec(text)?.[1];
  for (const [, name, body] of text.matchAll(/^(?:[a-z][\w *]*[ *])?(vir\w+)\(((?:.*\n)*?)^}/gm)) {
    const rule = body.includes('virCheckReadOnlyGoto(')
      ? 'refused'
      : SECURE.every((part) => body.includes(part))
        ? 'secure'
        : 'allowed';
    api.set(name, { domain, rule });
  }
}

/** The body of what serves each procedure. */
function dispatchers(prefix, protocol) {
  const generator = [join(source, 'src/rpc/gendispatch.pl'), '--mode=server'];
  const upper = prefix.toUpperCase();
  const generated = execFileSync('perl', [...generator, prefix, upper, join(source, protocol)], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  const bodies = new Map();
  const text = generated + read('src/remote/remote_daemon_dispatch.c');
  const functions = new RegExp(`^(?:static int )?(${prefix}Dispatch\\w+)\\(((?:.*\\n)*?)^}`, 'gm');
  for (const [, name, body] of text.matchAll(functions)) bodies.set(name.toLowerCase(), body);
  return bodies;
}

function procedures(prefix, protocol) {
  const bodies = dispatchers(prefix, protocol);
  const pattern = new RegExp(`${prefix.toUpperCase()}_PROC_(\\w+) = (\\d+)`, 'g');
  return [...read(protocol).matchAll(pattern)].map(([, name, number]) => {
    const body = bodies.get(`${prefix}dispatch${name.replaceAll('_', '').toLowerCase()}`) ?? '';
    const called = [...body.matchAll(/\b(vir\w+)\(/g)].map(([, call]) => call).filter((call) => api.has(call));
    const call = called.find((each) => api.get(each).rule !== 'allowed') ?? called[0];
    // An event, which no client may send, is dispatched by nothing.
    const event = body === '';
    return { number: Number(number), name, call, event, ...api.get(call) };
  });
}

const [, version] = /version: '([\d.]+)'/.exec(read('meson.build'));
const HEAD = `/**\n * Written by scripts/read-only-table.mjs from the source of libvirt ${version}.`;

/** These dispatch to no function of the API. */
const OWN = /^(AUTH_|CONNECT_CLOSE$)/;
const remote = procedures('remote', 'src/remote/remote_protocol.x').filter(({ event }) => !event);
const unread = remote.filter(({ name, call }) => !call && !OWN.test(name) && name !== 'CONNECT_SET_IDENTITY');
if (unread.length > 0) throw new Error(`not understood: ${unread.map(({ name }) => name).join(', ')}`);
const others = {
  QEMU: procedures('qemu', 'src/remote/qemu_protocol.x'),
  LXC: procedures('lxc', 'src/remote/lxc_protocol.x'),
};

const allowed = remote.filter(({ rule, name }) => rule === 'allowed' || rule === 'secure' || OWN.test(name));
const tables = {
  allowed: `${HEAD}
 * Procedures of the remote program that a read-only connection may call. Those that show secrets on request have a rule
 * of their own in procedures.ts.
 */
export const ALLOWED = {
${allowed.map(({ name, number }) => `  ${name}: ${number},`).join('\n')}
} as const;
`,
  refused: `${HEAD}
 * Procedures that a read-only connection may not call: the error domain of the refusal, and the function it names.
 */

import type { ErrorDomain } from '../../../errors.ts';

type Refused = Partial<Record<ErrorDomain, Readonly<Record<number, string>>>>;

/** By program. */
export const REFUSED: Readonly<Record<'REMOTE' | 'QEMU' | 'LXC', Refused>> = {
${Object.entries({ REMOTE: remote, ...others })
  .map(([program, all]) => `  ${program}: {\n${byDomain(all.filter(({ rule }) => rule === 'refused'))}\n  },`)
  .join('\n')}
};
`,
  functions: `${HEAD}
 * The functions of the public API behind the procedures of allowed.ts, by the error domain of their file. The table of
 * those that a read-only connection may not call names theirs.
 */

import type { ErrorDomain } from '../../../errors.ts';

/** Of the remote program, by number. */
export const FUNCTIONS: Partial<Record<ErrorDomain, Readonly<Record<number, string>>>> = {
${byDomain(allowed.filter(({ name }) => !OWN.test(name)).map(named))}
};
`,
};

/** Some dispatchers call another function first, which finds the object. */
function named(procedure) {
  const { name, call } = procedure;
  const expected = `vir${name.replaceAll('_', '')}`;
  const own = [...api.keys()].find((each) => each.toLowerCase() === expected.toLowerCase());
  return { ...procedure, call: own ?? call };
}

function byDomain(chosen) {
  const domains = [...new Set(chosen.map(({ domain }) => domain))];
  const rows = (domain) => chosen.filter((each) => each.domain === domain);
  const row = ({ number, call }) => `      ${number}: '${call}',`;
  return domains.map((domain) => `    ${domain}: {\n${rows(domain).map(row).join('\n')}\n    },`).join('\n');
}

for (const [name, text] of Object.entries(tables)) writeFileSync(join(OUT, `${name}.ts`), text);
execFileSync('npx', ['biome', 'check', '--write', OUT], { stdio: 'inherit' });
