/** What the proxy shows and refuses of running domains on overlays that libvirtd does not know. */

import { beforeEach, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../../src/errors.ts';
import { OverlaidDomains } from '../../../../../src/hosts/libvirt/overlaid/overlaid-domains.ts';
import { parseDefinition } from '../../../../../src/xml/domain/definition.ts';
import {
  GUEST,
  LIVE_XML,
  NO_LIVE_DISKS,
  Record,
  RecordedUpstream,
} from '../../../../support/hosts/recorded-upstream.ts';
import { refusal } from '../../../../support/refusal.ts';

const DISK = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/d/a b'/><target dev='xvda'/></disk>`;
const ACTIONS = '<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>';

let upstream: RecordedUpstream;
let overlays: ReadonlyMap<string, { readonly path: string; readonly format: string }>;
const overlaid = () =>
  new OverlaidDomains({
    upstream,
    liveDisks: { ...NO_LIVE_DISKS, any: true, has: (uuid) => uuid === GUEST.uuid, of: () => overlays },
    devicesChanged: async () => {},
  });

beforeEach(() => {
  upstream = new RecordedUpstream(new Record());
  upstream.xml = LIVE_XML.replace('<devices>', `${ACTIONS}<devices>${DISK}`);
  overlays = new Map([['xvda', { path: '/d/a.b1', format: 'qcow2' }]]);
});

test('it is shown with its overlays, and without what xlsnap has put into its definition for a save', () => {
  const room = `<metadata><x:y xmlns:x='urn:x'/><xlsnap:room xmlns:xlsnap='urn:room'>  </xlsnap:room></metadata>`;
  const shown = overlaid().definition(upstream.xml.replace('</uuid>', `</uuid>${room}`));
  expect(parseDefinition(shown).images.get('xvda')?.path).toBe('/d/a.b1');
  expect(shown).toContain('x:y');
  expect(shown).not.toContain('room');
  const alone = room.replace("<x:y xmlns:x='urn:x'/>", '');
  expect(overlaid().definition(upstream.xml.replace('</uuid>', `</uuid>${alone}`))).not.toContain('metadata');
});

test.each(['on_poweroff', 'on_reboot', 'on_crash'])(
  'it is not undefined if libvirtd would start it again on the base images (%s); the way out can be pasted',
  async (event) => {
    const destroying = ACTIONS.replace('restart', 'destroy');
    upstream.xml = upstream.xml.replace(ACTIONS, destroying.replace(`<${event}>destroy`, `<${event}>rename-restart`));
    const { code, message } = await refusal(overlaid().checkUndefine(GUEST));
    expect(code).toBe('OPERATION_INVALID');
    expect(message).toContain(`<${event}>`);
    expect(message).toContain("virsh blockcommit g xvda --active --pivot --base '/d/a b'");
  },
);

test('it may be undefined if it ends with this run, if it is off, and if all its disks are on what libvirtd shows', async () => {
  const xml = upstream.xml;
  upstream.xml = xml.replace('restart', 'destroy');
  await overlaid().checkUndefine(GUEST);
  upstream.xml = xml;
  upstream.ref = { ...GUEST, id: -1 };
  await overlaid().checkUndefine(GUEST);
  upstream.ref = GUEST;
  overlays = new Map();
  await overlaid().checkUndefine(GUEST);
  await overlaid().checkMigrate(GUEST);
});

test('it is not migrated to a host that would start it on the base images', async () => {
  upstream.xml = upstream.xml.replace('restart', 'destroy');
  expect((await refusal(overlaid().checkMigrate(GUEST))).message).toContain('cannot be migrated');
});

test('if its record cannot be read, clients see what libvirtd has; any other failure is not hidden', () => {
  const failing = (code: 'OPERATION_INVALID' | 'SYSTEM_ERROR') =>
    new OverlaidDomains({
      upstream,
      liveDisks: {
        ...NO_LIVE_DISKS,
        of: () => {
          throw new LibvirtError(code, 'no');
        },
      },
      devicesChanged: async () => {},
    });
  expect(failing('OPERATION_INVALID').definition(upstream.xml)).toBe(upstream.xml);
  expect(() => failing('SYSTEM_ERROR').definition(upstream.xml)).toThrow('no');
});
