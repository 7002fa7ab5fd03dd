import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from '@jest/globals';

const SRC = resolve(import.meta.dirname, '../../src');

/** Which rooms of src, or single files of them, a room may import from. Its own files, `errors.ts` and `model` are open to all but model itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  model: [],
  xml: ['model'],
  disks: ['model'],
  libxl: ['model', 'disks'],
  store: ['model', 'xml', 'snapshots'],
  snapshots: ['model', 'xml'],
  hosts: ['model', 'xml', 'snapshots', 'libxl', 'disks'],
  rpc: ['model', 'snapshots'],
  dbus: ['model', 'snapshots'],
  cli: ['model', 'xml', 'rpc', 'disks', 'libxl', 'store', 'snapshots/libxl-args.ts', 'hosts/test-memory.ts'],
  daemon: ['model', 'xml', 'disks', 'libxl', 'store', 'snapshots', 'hosts', 'rpc', 'dbus'],
};

/** Files of another room that may be imported for their types alone. */
const TYPES_ONLY: Readonly<Record<string, readonly string[]>> = {
  store: ['snapshots/ports.ts'],
  hosts: ['snapshots/ports.ts'],
  rpc: ['snapshots/api.ts', 'snapshots/ports.ts'],
  dbus: ['snapshots/api.ts', 'snapshots/ports.ts'],
};

/** The one room each of these packages may be imported in. */
const PACKAGE_ROOMS: Readonly<Record<string, string>> = { koffi: 'libxl', 'dbus-next': 'dbus', 'libxml2-wasm': 'xml' };

const IMPORT = /^\s*(?:import|export)\s+(type\s)?[^'"]*?from\s+['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)/gm;

interface Import {
  readonly file: string;
  readonly room: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

const imports: readonly Import[] = sources.flatMap((file) =>
  [...readFileSync(join(SRC, file), 'utf8').matchAll(IMPORT)].map((match) => {
    const specifier = match[2] ?? match[3] ?? '';
    const target = specifier.startsWith('.') ? relative(SRC, resolve(SRC, dirname(file), specifier)) : specifier;
    return { file, room: file.split('/')[0] ?? '', target, typeOnly: match[1] !== undefined };
  }),
);

test('the rooms of src exist and every file lies in one of them', () => {
  const rooms = new Set(sources.map((file) => file.split('/')[0]));
  for (const room of rooms) expect([...Object.keys(MAY_IMPORT), 'index.ts', 'errors.ts', 'version.ts']).toContain(room);
  expect(imports.length).toBeGreaterThan(50);
});

test('imports between rooms go one way only', () => {
  const wrong = imports.filter(({ room, target, typeOnly }) => {
    const allowed = MAY_IMPORT[room];
    const targetRoom = target.split('/')[0] ?? '';
    if (!allowed || !target.endsWith('.ts') || target === 'errors.ts' || target === 'version.ts' || targetRoom === room)
      return false;
    if (!allowed.includes(targetRoom)) return !allowed.includes(target);
    const restricted = targetRoom === 'snapshots' ? TYPES_ONLY[room] : undefined;
    return restricted !== undefined && !(typeOnly && restricted.includes(target));
  });
  expect(wrong).toEqual([]);
});

test('no file imports itself, through whatever others', () => {
  const importsOf = new Map(sources.map((file) => [file, imports.filter((each) => each.file === file)]));
  const reached = (file: string, seen = new Set<string>()): ReadonlySet<string> => {
    for (const { target } of importsOf.get(file) ?? []) {
      if (seen.has(target)) continue;
      seen.add(target);
      reached(target, seen);
    }
    return seen;
  };
  expect(sources.filter((file) => reached(file).has(file))).toEqual([]);
});

test('koffi, dbus-next and the XML engine are each imported in one room', () => {
  const wrong = imports.filter(({ room, target }) => target in PACKAGE_ROOMS && PACKAGE_ROOMS[target] !== room);
  expect(wrong).toEqual([]);
});

test('index.ts only re-exports', () => {
  const lines = readFileSync(join(SRC, 'index.ts'), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
  expect(lines.replace(/export\s+(type\s+)?(\*|\{[^}]*\})\s+from\s+'[^']+';/g, '').trim()).toBe('');
});
