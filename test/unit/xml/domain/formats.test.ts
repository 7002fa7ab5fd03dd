import { describe, expect, test } from '@jest/globals';
import { parseDomain } from '../../../../src/xml/domain/domain.ts';
import { inactiveFormat, withoutSecrets } from '../../../../src/xml/domain/formats.ts';
import { writeElement } from '../../../../src/xml/engine/write.ts';
import { virshSession } from '../../../support/xml/virsh-document.ts';

const devices = (content: string): string => `<domain type='xen'><devices>${content}</devices></domain>`;
const format = (rule: typeof inactiveFormat, text: string): string =>
  writeElement(rule(parseDomain(text)))
    .replace(/^\s+/gm, '')
    .replaceAll('\n', '');

describe('a live definition as libvirt prints it inactive', () => {
  test('the domain’s own id goes', () => {
    expect(format(inactiveFormat, "<domain type='xen' id='3'><name>d</name></domain>")).toBe(
      "<domain type='xen'><name>d</name></domain>",
    );
  });

  test.each([
    ['an alias that libvirt gave', "<input type='mouse'><alias name='input0'/></input>", "<input type='mouse'/>"],
    ['an alias that the user gave stays', "<input><alias name='ua-x'/></input>", "<input><alias name='ua-x'/></input>"],
    [
      'a console’s terminal',
      "<console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/><target type='xen' port='0'/></console>",
      "<console type='pty'><target type='xen' port='0'/></console>",
    ],
    [
      'a serial port’s terminal',
      "<serial type='pty'><source path='/dev/pts/4'/><target port='0'/></serial>",
      "<serial type='pty'><target port='0'/></serial>",
    ],
    [
      'a port that writes to a file keeps it',
      "<serial type='file'><source path='/var/log/x'/><target port='0'/></serial>",
      "<serial type='file'><source path='/var/log/x'/><target port='0'/></serial>",
    ],
    [
      'a channel’s state',
      "<channel type='unix'><source mode='bind' path='/s'/><target type='xen' name='x' state='connected'/></channel>",
      "<channel type='unix'><source mode='bind' path='/s'/><target type='xen' name='x'/></channel>",
    ],
    [
      'a target name that a driver generated',
      "<interface type='bridge'><source bridge='br0'/><target dev='vif3.0'/><model type='netfront'/></interface>",
      "<interface type='bridge'><source bridge='br0'/><model type='netfront'/></interface>",
    ],
    [
      'a target name that the user gave stays',
      "<interface type='bridge'><source bridge='br0'/><target dev='lan0'/></interface>",
      "<interface type='bridge'><source bridge='br0'/><target dev='lan0'/></interface>",
    ],
    [
      'where a network was plugged in',
      "<interface type='network'><source network='n' portid='1-2' bridge='virbr0'/></interface>",
      "<interface type='network'><source network='n'/></interface>",
    ],
    [
      'a VNC port that libvirt chose',
      "<graphics type='vnc' port='5900' autoport='yes' listen='::'><listen type='address' address='::'/></graphics>",
      "<graphics type='vnc' port='-1' autoport='yes' listen='::'><listen type='address' address='::'/></graphics>",
    ],
    [
      'a VNC port that the user chose stays',
      "<graphics type='vnc' port='5907' autoport='no'/>",
      "<graphics type='vnc' port='5907' autoport='no'/>",
    ],
    [
      'SPICE ports that libvirt chose',
      "<graphics type='spice' port='5900' tlsPort='5901' autoport='yes'/>",
      "<graphics type='spice' autoport='yes'/>",
    ],
    [
      'the address of a network to listen on',
      "<graphics type='vnc'><listen type='network' network='n' address='10.0.0.1'/></graphics>",
      "<graphics type='vnc'><listen type='network' network='n'/></graphics>",
    ],
    [
      'a disk’s index, copy job and labels to skip',
      "<disk><source file='/a' index='1'><seclabel model='dac' labelskip='yes'/><seclabel relabel='no'/></source><mirror/></disk>",
      "<disk><source file='/a'><seclabel relabel='no'/></source></disk>",
    ],
  ])('%s', (_, live, inactive) => {
    expect(format(inactiveFormat, devices(live))).toBe(devices(inactive));
  });

  test.each([
    [
      "<seclabel type='dynamic' model='m' relabel='yes'><label>l</label><imagelabel>i</imagelabel></seclabel>",
      "<seclabel type='dynamic' model='m' relabel='yes'/>",
    ],
    [
      "<seclabel type='dynamic' model='m'><label>l</label><baselabel>b</baselabel></seclabel>",
      "<seclabel type='dynamic' model='m'><baselabel>b</baselabel></seclabel>",
    ],
    [
      "<seclabel type='static' model='m'><label>l</label><imagelabel>i</imagelabel></seclabel>",
      "<seclabel type='static' model='m'><label>l</label></seclabel>",
    ],
  ])('%s', (live, inactive) => {
    expect(format(inactiveFormat, `<domain type='xen'>${live}</domain>`)).toBe(
      `<domain type='xen'>${inactive}</domain>`,
    );
  });

  test('disks come in libvirt’s order, where they were among the devices', () => {
    const disk = (target: string, bus: string) => `<disk><target dev='${target}' bus='${bus}'/></disk>`;
    expect(
      format(
        inactiveFormat,
        devices(`<emulator>/e</emulator>${disk('vdb', 'virtio')}${disk('hda', 'ide')}${disk('vda', 'virtio')}<input/>`),
      ),
    ).toBe(
      devices(`<emulator>/e</emulator>${disk('vda', 'virtio')}${disk('vdb', 'virtio')}${disk('hda', 'ide')}<input/>`),
    );
  });

  test('nothing of an inactive definition changes', () => {
    const text = devices(
      "<graphics type='vnc' port='-1' autoport='yes'/><console type='pty'><target port='0'/></console>",
    );
    expect(format(inactiveFormat, text)).toBe(text);
    expect(inactiveFormat(inactiveFormat(parseDomain(text)))).toEqual(inactiveFormat(parseDomain(text)));
  });
});

const SECRETIVE = `<domain type='test'><name>d</name><memory>1024</memory><os><type>hvm</type></os><devices>
  <disk type='network'><source protocol='https' name='p/a'><host name='h' port='12'/>
    <cookies><cookie name='c'>v</cookie></cookies></source><target dev='vdb' bus='virtio'/></disk>
  <disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/></disk>
  <interface type='bridge'><source bridge='br0'/><target dev='vnet3'/></interface>
  <graphics type='vnc' autoport='yes' passwd='sec' passwdValidTo='2030-01-01T00:00:00'/>
  <graphics type='spice' autoport='yes' passwd='sec2'/>
  <console type='pty'/></devices></domain>`;

describe('pairs that libvirt’s own test driver prints', () => {
  const session = virshSession(SECRETIVE, 'start d', 'dumpxml d', 'dumpxml --security-info d', 'dumpxml --inactive d');
  const [live = '', secure = '', inactive = ''] = session.match(/<domain [\s\S]*?<\/domain>/g) ?? [];

  test('with and without secrets', () => {
    expect(secure).toContain("passwd='sec'");
    expect(writeElement(withoutSecrets(parseDomain(secure)))).toBe(`${live}\n`);
  });

  test('live and inactive', () => {
    expect(live).toContain("id='");
    expect(writeElement(inactiveFormat(parseDomain(live)))).toBe(`${inactive}\n`);
  });
});
