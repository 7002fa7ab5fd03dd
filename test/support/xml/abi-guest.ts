/** A guest with one of everything that an ABI check looks at, in a snapshot. No host could run it: that is not checked. */

const UUID = '11111111-2222-3333-4444-777777777777';

/** Whose snapshots are redefined. */
export const DOMAIN = `<domain type='test'><name>d</name><uuid>${UUID}</uuid><memory>1024</memory><os><type arch='x86_64'>hvm</type></os></domain>`;

export const GUEST = `<domainsnapshot>
<name>s</name><state>running</state><creationTime>5</creationTime><memory snapshot='internal'/>
<domain type='xen'>
  <name>d</name>
  <uuid>${UUID}</uuid>
  <genid>22222222-2222-3333-4444-777777777777</genid>
  <maxMemory slots='16' unit='KiB'>1524288</maxMemory>
  <memory unit='KiB'>524288</memory>
  <currentMemory unit='KiB'>524280</currentMemory>
  <vcpu placement='static' current='3'>4</vcpu>
  <vcpus>
    <vcpu id='0' enabled='yes' hotpluggable='no' order='1'/>
    <vcpu id='1' enabled='yes' hotpluggable='yes' order='2'/>
    <vcpu id='2' enabled='yes' hotpluggable='yes' order='3'/>
    <vcpu id='3' enabled='no' hotpluggable='yes'/>
  </vcpus>
  <sysinfo type='smbios'>
    <bios><entry name='vendor'>V</entry><entry name='version'>1</entry></bios>
    <system><entry name='manufacturer'>M</entry><entry name='product'>P</entry><entry name='serial'>S</entry></system>
    <baseBoard><entry name='manufacturer'>B</entry></baseBoard>
    <chassis><entry name='manufacturer'>C</entry></chassis>
    <oemStrings><entry>O1</entry><entry>O2</entry></oemStrings>
  </sysinfo>
  <os><type arch='x86_64' machine='xenfv'>hvm</type><smbios mode='host'/></os>
  <features>
    <acpi/><apic eoi='on'/><pae/><hap state='on'/><viridian/><privnet/>
    <hyperv mode='custom'>
      <relaxed state='on'/><vapic state='on'/><spinlocks state='on' retries='4096'/><vpindex state='on'/><runtime state='on'/><synic state='on'/>
      <stimer state='on'><direct state='on'/></stimer><vendor_id state='on' value='KVM Hv'/>
    </hyperv>
    <kvm><hidden state='on'/><dirty-ring state='on' size='4096'/></kvm>
    <xen><e820_host state='on'/><passthrough state='on' mode='sync_pt'/></xen>
    <pvspinlock state='on'/><pmu state='on'/><vmport state='on'/><gic version='2'/><smm state='on'><tseg unit='MiB'>8</tseg></smm>
    <ioapic driver='kvm'/><hpt resizing='enabled'><maxpagesize unit='KiB'>1048576</maxpagesize></hpt><vmcoreinfo state='on'/>
    <htm state='on'/><nested-hv state='on'/><msrs unknown='ignore'/><ccf-assist state='on'/><cfpc value='fixed'/><sbbc value='fixed'/><ibs value='fixed-na'/>
    <capabilities policy='allow'><mknod state='on'/></capabilities>
  </features>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='allow' vendor_id='AuthenticAMD'>Haswell</model>
    <vendor>Intel</vendor>
    <topology sockets='1' dies='1' cores='2' threads='2'/>
    <cache level='3' mode='emulate'/>
    <maxphysaddr mode='emulate' bits='42'/>
    <feature policy='require' name='vmx'/>
    <feature policy='disable' name='svm'/>
    <numa>
      <cell id='0' cpus='0-1' memory='262144' unit='KiB'><distances><sibling id='0' value='10'/><sibling id='1' value='21'/></distances></cell>
      <cell id='1' cpus='2-3' memory='262144' unit='KiB'><distances><sibling id='0' value='21'/><sibling id='1' value='10'/></distances></cell>
    </numa>
  </cpu>
  <clock offset='utc'><timer name='tsc' frequency='1000' mode='native'/><timer name='hpet' present='no'/></clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/tmp/a.qcow2'/>
      <target dev='xvda' bus='xen'/>
      <serial>S1</serial>
      <wwn>5000c50015ea71ad</wwn>
    </disk>
    <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/><address type='drive' controller='0' bus='1' target='0' unit='0'/></disk>
    <disk type='file' device='disk'><source file='/tmp/s.qcow2'/><target dev='sda' bus='scsi' rotation_rate='7200'/><address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>
    <disk type='file' device='disk' model='virtio-transitional'><driver name='qemu' queues='4' queue_size='256' iommu='on' ats='on' packed='on' page_per_vq='on'/><source file='/tmp/v.qcow2'/><target dev='vdb' bus='virtio'/><address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/></disk>
    <controller type='usb' index='0' model='qusb2' ports='4'/>
    <controller type='virtio-serial' index='0' ports='16' vectors='4'><driver iommu='on'/></controller>
    <controller type='scsi' index='0' model='auto'/>
    <controller type='xenbus' index='0' maxGrantFrames='64' maxEventChannels='2047'/>
    <filesystem type='mount' accessmode='passthrough' model='virtio'><driver iommu='on'/><source dir='/a'/><target dir='/b'/><readonly/></filesystem>
    <interface type='bridge'>
      <mac address='00:16:3e:00:00:01'/>
      <source bridge='br0'/>
      <model type='netfront'/>
      <driver ats='on'/>
      <mtu size='1400'/>
      <acpi index='7'/>
    </interface>
    <smartcard mode='host'><address type='ccid' controller='0' slot='1'/></smartcard>
    <serial type='pty'><target type='isa-serial' port='0'><model name='isa-serial'/></target><address type='isa' iobase='0x3f8' irq='0x4'/></serial>
    <parallel type='pty'><target port='0'/></parallel>
    <channel type='unix'><target type='virtio' name='org.x'/><address type='virtio-serial' controller='0' bus='0' port='1'/></channel>
    <channel type='unix'><source path='/tmp/guestfwd'/><target type='guestfwd' address='10.0.2.1' port='4600'/></channel>
    <channel type='unix'><target type='xen' name='org.y'/></channel>
    <console type='pty'><target type='serial' port='0'/></console>
    <input type='tablet' bus='usb'/>
    <input type='mouse' bus='virtio' model='virtio'><driver iommu='on'/></input>
    <hub type='usb'/>
    <sound model='ich6'/>
    <video><driver iommu='on'/><model type='qxl' ram='65536' vram='65536' vram64='65536' vgamem='16384' heads='1'><acceleration accel2d='yes' accel3d='yes'/></model></video>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x06' function='0x0'/>
    </hostdev>
    <redirdev bus='usb' type='spicevmc'/>
    <redirfilter><usbdev class='0x08' vendor='0x1234' product='0xBEEF' version='2.56' allow='yes'/><usbdev allow='no'/></redirfilter>
    <watchdog model='i6300esb' action='reset'/>
    <memballoon model='xen' autodeflate='on' freePageReporting='on'><driver iommu='on'/></memballoon>
    <rng model='virtio'><backend model='random'>/dev/random</backend><driver iommu='on'/></rng>
    <panic model='isa'><address type='isa' iobase='0x505'/></panic>
    <shmem name='m' role='master'><model type='ivshmem-plain'/><size unit='M'>4</size><server path='/tmp/s'/><msi vectors='32' ioeventfd='on'/></shmem>
    <tpm model='tpm-tis'><backend type='emulator' version='2.0'><active_pcr_banks><sha1/><sha256/></active_pcr_banks></backend></tpm>
    <memory model='dimm'><target><size unit='KiB'>1024</size><node>0</node></target><address type='dimm' slot='0' base='0x100000000'/></memory>
    <memory model='nvdimm'><uuid>33333333-2222-3333-4444-777777777777</uuid><source><path>/tmp/nv</path><alignsize unit='KiB'>2048</alignsize><pmem/></source><target><size unit='KiB'>2048</size><node>1</node><label><size unit='KiB'>128</size></label><readonly/></target></memory>
    <memory model='virtio-mem'><source/><target><size unit='KiB'>4096</size><node>0</node><block unit='KiB'>2048</block><requested unit='KiB'>2048</requested></target></memory>
    <iommu model='intel'><driver intremap='on' caching_mode='on' eim='on' iotlb='on' aw_bits='48'/></iommu>
    <vsock model='virtio'><cid auto='no' address='3'/><driver iommu='on'/></vsock>
  </devices>
</domain>
</domainsnapshot>`;
