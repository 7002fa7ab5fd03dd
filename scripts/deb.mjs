// npm run deb -- [--arch amd64|arm64] [--into FOLDER]: builds the Debian package xlsnap_VERSION_ARCH.deb from dist, debian/ and
// the production dependencies of the lock file. The same commit gives the same bytes.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build, ROOT } from './setup.mjs';

/** Node's name of each of Debian's architectures. */
const ARCHITECTURES = { amd64: 'x64', arm64: 'arm64' };

const HOME = 'usr/lib/xlsnap';
const DOC = 'usr/share/doc/xlsnap';
/** Parts of the checkout that are used at run time. */
const PARTS = ['dist', 'packaging', 'schemas', 'package.json'];
const MAN_PAGES = ['xlsnap.1', 'xl.snapshot.cfg.5', 'xlsnapd.8'];
/** Where each shell looks for the completion of a command, when that is first completed. */
const COMPLETIONS = {
  bash: 'usr/share/bash-completion/completions/xlsnap',
  fish: 'usr/share/fish/vendor_completions.d/xlsnap.fish',
  zsh: 'usr/share/zsh/vendor-completions/_xlsnap',
};
const MAINTAINER_SCRIPTS = ['postinst', 'prerm', 'postrm'];

/** The service on a host with Debian's defaults: group libvirt, and polkit judges. `xlsnap install` adapts it to others. */
const SERVICE = {
  write: { group: 'libvirt', mode: '0666' },
  readOnly: { group: 'libvirt', mode: '0666' },
  daemon: ['/usr/bin/node', `/${HOME}/dist/daemon/main.js`],
  xlsnap: ['/usr/bin/node', `/${HOME}/dist/cli/main.js`],
};

const read = (path) => readFileSync(join(ROOT, path), 'utf8');

/** Builds the package from dist as it is, and returns its path. */
export async function buildDeb(architecture, into) {
  const cpu = ARCHITECTURES[architecture];
  if (cpu === undefined) throw new Error(`--arch takes ${Object.keys(ARCHITECTURES).join(' or ')}`);
  const { version } = JSON.parse(read('package.json'));
  const stage = mkdtempSync(join(tmpdir(), 'xlsnap-deb-'));
  const date = execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: ROOT, encoding: 'utf8' }).trim();
  const put = (path, content, mode = 0o644) => {
    mkdirSync(dirname(join(stage, path)), { recursive: true });
    writeFileSync(join(stage, path), content);
    chmodSync(join(stage, path), mode);
  };
  try {
    for (const part of PARTS) cpSync(join(ROOT, part), join(stage, HOME, part), { recursive: true });
    installDependencies(join(stage, HOME), cpu);
    tidy(join(stage, HOME));
    mkdirSync(join(stage, 'usr/bin'));
    for (const [name, main] of [
      ['xlsnap', 'cli/main.js'],
      ['xlsnapd', 'daemon/main.js'],
    ]) {
      chmodSync(join(stage, HOME, 'dist', main), 0o755);
      symlinkSync(`../lib/xlsnap/dist/${main}`, join(stage, 'usr/bin', name));
    }
    const { installedOn } = await import(join(ROOT, 'dist/cli/install/files.js'));
    for (const { packaged, kind, text } of await installedOn(SERVICE)) {
      if (kind === 'file' && packaged !== undefined) put(packaged, text);
    }
    for (const page of MAN_PAGES) put(`usr/share/man/man${page.at(-1)}/${page}.gz`, gzip(read(`man/${page}`)));
    const { COMPLETION_SCRIPTS } = await import(join(ROOT, 'dist/cli/command-line/completion-scripts.js'));
    for (const [shell, script] of COMPLETION_SCRIPTS) put(COMPLETIONS[shell], script);
    put(`${DOC}/changelog.gz`, gzip(changelog(version, Number(date))));
    put(`${DOC}/NEWS.md.gz`, gzip(read('CHANGELOG.md')));
    put(`${DOC}/copyright`, copyright(join(stage, HOME)));
    for (const name of ['README.md', 'SECURITY.md', ...readdirSync(join(ROOT, 'docs')).map((file) => `docs/${file}`)]) {
      put(`${DOC}/${name}`, read(name));
    }
    const { defaultFolders } = await import(join(ROOT, 'dist/store/default-folders.js'));
    const values = {
      '@VERSION@': version,
      '@ARCH@': architecture,
      '@SIZE@': execFileSync('du', ['-sk', stage], { encoding: 'utf8' }).split('\t')[0],
      '@FOLDERS@': Object.values(defaultFolders('xen:///system', '')).join(' '),
    };
    const template = (name) => read(`debian/${name}`).replaceAll(/@[A-Z]+@/g, (word) => values[word] ?? word);
    put('DEBIAN/md5sums', md5sums(stage));
    put('DEBIAN/control', template('control'));
    for (const name of MAINTAINER_SCRIPTS) put(`DEBIAN/${name}`, template(name), 0o755);
    mkdirSync(into, { recursive: true });
    const path = join(into, `xlsnap_${version}_${architecture}.deb`);
    execFileSync('chmod', ['-R', 'u=rwX,go=rX', stage]);
    execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', stage, path], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, SOURCE_DATE_EPOCH: date },
    });
    return path;
  } finally {
    rmSync(stage, { recursive: true });
  }
}

const gzip = (text) => gzipSync(text, { level: 9 });

/** Exactly those of the lock file, for that processor, without running their scripts. */
function installDependencies(folder, cpu) {
  for (const name of ['package.json', 'package-lock.json']) cpSync(join(ROOT, name), join(folder, name));
  const options = ['--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  execFileSync('npm', ['ci', ...options, '--os=linux', `--cpu=${cpu}`, '--libc=glibc'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (!existsSync(join(folder, `node_modules/@koromix/koffi-linux-${cpu}`))) {
    throw new Error(
      `npm did not install koffi for ${cpu}: it needs npm 10 or newer for another processor than this one`,
    );
  }
  for (const path of ['package-lock.json', `node_modules/@koromix/koffi-linux-${cpu}/musl_${cpu}`]) {
    rmSync(join(folder, path), { recursive: true });
  }
  // Sources of the binary that is in the package of this processor.
  for (const path of ['vendor', 'doc', 'lib']) rmSync(join(folder, 'node_modules/koffi', path), { recursive: true });
}

/** What packages on npm bring besides the modules that are loaded, types, and sources of native code. */
const NOT_RUN = /(^|\/)(\.[^/]*|node_modules\/.*\/(tests?|examples?|bin))$|\.(d\.ts|map|cc|hh|asm|S)$/;

/** Removes what is not run. npm's packages have files that are marked as programs and are none. */
function tidy(folder) {
  for (const path of readdirSync(folder, { recursive: true })) {
    if (NOT_RUN.test(path)) rmSync(join(folder, path), { recursive: true, force: true });
  }
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) chmodSync(join(entry.parentPath, entry.name), 0o644);
  }
}

/** Debian's form of it; what has changed is in CHANGELOG.md. */
function changelog(version, seconds) {
  const date = new Date(seconds * 1000).toUTCString().replace('GMT', '+0000');
  const maintainer = /^Maintainer: (.*)$/m.exec(read('debian/control'))[1];
  return `xlsnap (${version}) unstable; urgency=medium\n\n  * See NEWS.md.gz.\n\n -- ${maintainer}  ${date}\n`;
}

const APACHE = 'The full text of the licence is in /usr/share/common-licenses/Apache-2.0.';

/** Ours and those of the dependencies, each with its licence as it came (Debian's machine-readable form). */
function copyright(home) {
  const indented = (text) =>
    text
      .trim()
      .split('\n')
      .map((line) => ` ${line.trimEnd() || '.'}`)
      .join('\n');
  const stanzas = packagesIn(join(home, 'node_modules')).map((folder) => {
    const { name, author, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const holder = author?.name ?? author ?? `the authors of ${name}`;
    const id = license?.type ?? license ?? 'own';
    const file = readdirSync(folder).find((each) => /^(licen[cs]e|copying)/i.test(each));
    const own = file === undefined ? `package.json of ${name} says: ${id}.` : readFileSync(join(folder, file), 'utf8');
    return [
      `Files: ${relative(resolve(home, '../../..'), folder)}/*`,
      `Copyright: ${holder}`,
      `License: ${id}-${name.replaceAll(/[@/]/g, '-')}`,
      indented(own.replace(/ *Apache License\s+Version 2\.0[\s\S]*/, APACHE)),
      '',
    ].join('\n');
  });
  const head = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: xlsnap

Files: *
Copyright: The xlsnap authors
License: Apache-2.0
 ${APACHE}
`;
  return [head, ...stanzas].join('\n');
}

function packagesIn(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((path) => /(^|node_modules\/)(@[^/]+\/)?[^/@]+\/package\.json$/.test(path))
    .map((path) => join(folder, dirname(path)))
    .toSorted();
}

function md5sums(stage) {
  const script = 'find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum';
  return execFileSync('sh', ['-c', script], { cwd: stage, encoding: 'utf8', maxBuffer: 2 ** 26 });
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { arch: { type: 'string' }, into: { type: 'string' } } });
  const own = Object.keys(ARCHITECTURES).find((name) => ARCHITECTURES[name] === process.arch);
  build();
  process.stdout.write(`${await buildDeb(values.arch ?? own, resolve(values.into ?? '.'))}\n`);
}
