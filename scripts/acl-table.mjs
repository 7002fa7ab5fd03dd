// node scripts/acl-table.mjs FOLDER: writes fixtures/acl.json from libvirt's source (apt-get source libvirt): the permissions that
// remote_protocol.x and qemu_protocol.x declare for each procedure (@acl). test/unit/access/permissions.test.ts holds what is
// judged here against it.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const [source] = process.argv.slice(2);
const OUT = resolve(import.meta.dirname, '../fixtures/acl.json');
const HEADERS = 'include/libvirt';
const read = (path) => readFileSync(join(source, path), 'utf8');

/** Values of the public enumerations by name: a bit, or the name of another one. */
const values = new Map();
for (const file of readdirSync(join(source, HEADERS)).filter((name) => name.endsWith('.h'))) {
  const definition = /^\s*(VIR_\w+)\s*=\s*(?:\(?1U? << (\d+)|(VIR_\w+))/gm;
  for (const [, name, shift, other] of read(join(HEADERS, file)).matchAll(definition)) {
    values.set(name, other ?? 2 ** Number(shift));
  }
}
const bitsOf = (name) => (typeof name === 'string' ? bitsOf(values.get(name)) : name);

/** `domain:read_secure:FLAG` is needed if the flag is set; other conditions (`!FLAG`, `:argument:VALUE`) are kept as they are. */
function permissions(comment) {
  const always = [];
  const withFlags = {};
  for (const [, object, permission, condition] of comment.matchAll(/@acl: (\w+):(\w+)(?::(\S+))?/g)) {
    const name = `${object}.${permission}`.replaceAll('_', '-');
    const bit = condition && bitsOf(condition);
    if (!condition) always.push(name);
    else withFlags[name] = bit === undefined ? condition : (withFlags[name] ?? 0) + bit;
  }
  return { always, withFlags };
}

function table(protocol, prefix) {
  const procedure = new RegExp(`/\\*\\*((?:(?!\\*/)[^])*?)\\*/\\s*${prefix}_PROC_(\\w+) = (\\d+)`, 'g');
  return [...read(`src/remote/${protocol}`).matchAll(procedure)].map(
    ([, comment, name, number]) => `    "${number}": ${JSON.stringify({ name, ...permissions(comment) })}`,
  );
}

const [, version] = /version: '([\d.]+)'/.exec(read('meson.build'));
const programs = Object.entries({ REMOTE: 'remote_protocol.x', QEMU: 'qemu_protocol.x' }).map(
  ([program, protocol]) => `  "${program}": {\n${table(protocol, program).join(',\n')}\n  }`,
);
writeFileSync(OUT, `{\n  "libvirt": "${version}",\n${programs.join(',\n')}\n}\n`);
