/**
 * The table "How clients connect" of docs/operators.md, by its rows: each client, as it is installed, lists the snapshots of a
 * domain that only xlsnapd has on this host. libvirtd has no Xen there, and says so.
 */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { asOnXen, noSystemdHost, PACKAGE_THERE, SystemdHost } from '../support/daemons/systemd-host.ts';
import { describeUnless } from '../support/describe-unless.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const TEST_MS = 240_000;
const INSTALL = `node ${PACKAGE_THERE}/dist/cli/main.js --quiet install`;
const CLIENTS = `${PACKAGE_THERE}/test/support/clients`;

const GUEST = "<domain type='test'><name>guest</name><memory>65536</memory><os><type>hvm</type></os></domain>";

/** bob, in group libvirt, logs in by ssh with a key; libvirtd listens to the network, too. */
const PREPARE = `
  GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=/run/go go build -o /run/go-snapshots ${CLIENTS}/snapshots.go &
  useradd --system --create-home --home-dir /run/bob --groups libvirt --password '*' bob
  ssh-keygen -q -t ed25519 -N '' -f /run/key
  ssh-keygen -q -t ed25519 -N '' -f /run/hostkey
  mkdir -p /run/sshd
  /usr/sbin/sshd -f /dev/null -p 2222 -h /run/hostkey -o AuthorizedKeysFile=/run/key.pub -o StrictModes=no -o PidFile=none

  mkdir -p /etc/pki/CA /etc/pki/libvirt/private
  cd /etc/pki
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority -keyout authority.key -out CA/cacert.pem
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE \
    -CA CA/cacert.pem -CAkey authority.key -keyout libvirt/private/serverkey.pem -out libvirt/servercert.pem
  cp libvirt/servercert.pem libvirt/clientcert.pem
  cp libvirt/private/serverkey.pem libvirt/private/clientkey.pem
  echo 'auth_tcp = "none"' >> /etc/libvirt/libvirtd.conf
  systemctl stop libvirtd.service
  systemctl start libvirtd-tcp.socket libvirtd-tls.socket

  printf '%s' "${GUEST}" > /run/guest.xml
  ${INSTALL} > /dev/null; ${asOnXen('--upstream-uri test:///default')}
  ${INSTALL} > /dev/null
  virsh -q -c xen:///system define /run/guest.xml
  virsh -q -c xen:///system start guest
  virsh -q -c xen:///system snapshot-create-as guest s1
  wait`;

const SSH = 'xen+ssh://bob@localhost:2222/system?keyfile=/run/key&no_verify=1';
const SOCKET = '/run/libvirt/virtxend-sock';
const virsh = (uri: string) => `virsh -q -c '${uri}' snapshot-list guest --name`;

const REACHED = 's1';
/** What libvirtd itself says of xen:///system on a host without Xen. */
const LIBVIRTD = 'libxenlight state driver is not active';

/** By the first cell of its row: what a client runs, and what it gets. A row's "to do" is a client of its own. */
const ROWS: Readonly<Record<string, readonly (readonly [command: string, said: string])[]>> = {
  'the C library and what uses it (virsh, virt-manager, python, cockpit by libvirt-dbus) with `xen:///system`': [
    [virsh('xen:///system'), REACHED],
    [`/usr/bin/python3 ${CLIENTS}/snapshots.py xen:///system guest`, REACHED],
    [
      "busctl call org.libvirt /org/libvirt/Xen org.libvirt.Connect DomainLookupByName s guest | cut -d'\"' -f2 | xargs -I{} " +
        "busctl call org.libvirt {} org.libvirt.Domain ListDomainSnapshots u 0 | sed 's/.*_\\(.*\\)\"/\\1/'",
      REACHED,
    ],
  ],
  'the same without a URI': [
    ['virsh -q snapshot-list guest --name', "failed to get domain 'guest'"],
    [`LIBVIRT_DEFAULT_URI=xen:///system virsh -q snapshot-list guest --name`, REACHED],
    [`echo 'uri_default = "xen:///system"' >> /etc/libvirt/libvirt.conf; virsh -q snapshot-list guest --name`, REACHED],
  ],
  '`xen+ssh://host/system` with `virt-ssh-helper` there': [
    [virsh(SSH), REACHED],
    [virsh(`${SSH}&proxy=native`), REACHED],
    [`node ${PACKAGE_THERE}/dist/cli/main.js -q -c '${SSH}' snapshot-list guest --name`, REACHED],
  ],
  '`xen+ssh://host/system?proxy=netcat`': [
    [virsh(`${SSH}&proxy=netcat`), LIBVIRTD],
    [virsh(`${SSH}&proxy=netcat&socket=${SOCKET}`), REACHED],
  ],
  'go-libvirt of DigitalOcean, which dials `/var/run/libvirt/libvirt-sock` by default': [
    ['/run/go-snapshots /var/run/libvirt/libvirt-sock xen:///system guest', LIBVIRTD],
    [`/run/go-snapshots ${SOCKET} xen:///system guest`, REACHED],
  ],
  'TLS and TCP (`xen://host/system`, `xen+tcp://host/system`)': [
    [virsh('xen+tcp://localhost/system'), LIBVIRTD],
    [virsh('xen+tls://localhost/system'), LIBVIRTD],
    [virsh('xen://localhost/system'), LIBVIRTD],
    [virsh(SSH), REACHED],
  ],
};

/** The table's first two cells, by row. */
function documented(): readonly (readonly string[])[] {
  const [, section = ''] = readFileSync(resolve(ROOT, 'docs/operators.md'), 'utf8').split('## How clients connect\n');
  const lines = section.split('\n## ')[0]?.split('\n') ?? [];
  const rows = lines.filter((line) => line.startsWith('| ')).map((line) => line.split('|').map((cell) => cell.trim()));
  return rows.slice(1).map(([, client = '', reaches = '']) => [client, reaches.replace(/:.*/, '')]);
}

test('every row of the table is tried here, with what it says', () => {
  const measured = Object.entries(ROWS).map(([client, [first]]) => [client, first?.[1] === REACHED ? 'yes' : 'no']);
  expect(documented()).toEqual(measured);
});

describeUnless(noSystemdHost, 'on a host after xlsnap install', () => {
  let host: SystemdHost;

  beforeAll(async () => {
    host = await SystemdHost.boot(ROOT);
    await host.must(PREPARE);
  }, TEST_MS);
  afterAll(async () => await host?.[Symbol.asyncDispose]());

  test.each(Object.entries(ROWS))('%s', async (_, clients) => {
    for (const [command, expected] of clients) {
      const { stdout, stderr } = await host.run('sh', '-c', command);
      expect([command, stdout || stderr]).toEqual([command, expect.stringContaining(expected)]);
    }
  });
});
