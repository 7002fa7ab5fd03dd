# Loaded before every command in dom0: libvirtd, guests, xlsnapd, and the counters of a guest.
GUEST_KERNEL=/mnt/lab/guest.kernel GUEST_BZIMAGE=/mnt/lab/guest.bzimage GUEST_INITRD=/mnt/lab/guest.initrd
GUEST_LINE='console=hvc0 quiet rdinit=/init mitigations=off cryptomgr.notests rodata=off'
LOG=/mnt/lab/log

fail() { echo "$*" >&2; return 1; }

# until_true SECONDS COMMAND...: repeats the command until it succeeds.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}

# A real libvirtd with the xen driver alone; the others start slowly and have nothing to do. Logs: $LOG/libvirtd.log, $LOG/libxl
start_libvirtd() {
  virsh -c xen:///system version > /dev/null 2>&1 && return
  # An emulated AMD CPU under Xen lacks two flags that libvirt's model has, and then libvirt finds no model at all and no driver.
  sed -i "/name='sep'/d; /name='vme'/d" /usr/share/libvirt/cpu_map/x86_qemu64.xml
  mkdir -p /run/lab/drivers /var/log/libvirt /var/lib/libvirt/libxl /var/lib/libvirt/images $LOG/libxl
  rm -rf /var/log/libvirt/libxl
  ln -s $LOG/libxl /var/log/libvirt/libxl # libxl's own words about each domain
  ln -sf /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_libxl.so /run/lab/drivers/
  LIBVIRT_DRIVER_DIR=/run/lab/drivers LIBVIRT_LOG_FILTERS='3:*' LIBVIRT_LOG_OUTPUTS='3:stderr' \
    setsid libvirtd >> "$LOG/libvirtd.log" 2>&1 &
  echo $! > /run/lab/libvirtd.pid
  until_true 120 virsh -c xen:///system version || fail "libvirtd does not answer: $(< "$LOG/libvirtd.log")"
}

stop_libvirtd() { end_program libvirtd; }

# guest_xml NAME pv|pvh|hvm MEMORY_MIB [FORMAT:IMAGE...]: the libvirt domain of a counting guest, its disks xvda, xvdb, …
# phy:DEVICE is a block device that the kernel's blkback serves.
# Without ACPI a PVH guest finds no interrupt controller and stands still before its first word. Of an HVM guest the device
# model loads the kernel, and takes none but a bzImage.
guest_xml() {
  local name=$1 type=$2 memory=$3 machine=xenpvh os=xenpvh loader='' kernel=$GUEST_KERNEL disk letter=a kind source driver
  shift 3
  [ "$type" = pv ] && machine=xenpv os=linux
  [ "$type" = hvm ] && machine=xenfv os=hvm kernel=$GUEST_BZIMAGE loader="<loader type='rom'>$XEN/boot/hvmloader</loader>"
  cat << XML
<domain type='xen'>
  <name>$name</name>
  <memory unit='MiB'>$memory</memory>
  <vcpu>1</vcpu>
  <os>
    <type machine='$machine'>$os</type>$loader
    <kernel>$kernel</kernel>
    <initrd>$GUEST_INITRD</initrd>
    <cmdline>$GUEST_LINE</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
XML
  for disk in "$@"; do
    kind=file source=file driver="name='qemu' type='${disk%%:*}'"
    [[ $disk == phy:* ]] && kind=block source=dev driver="name='phy' type='raw'"
    echo "    <disk type='$kind' device='disk'><driver $driver/><source $source='${disk#*:}'/><target dev='xvd$letter' bus='xen'/></disk>"
    letter=$(tr a-y b-z <<< "$letter")
  done
  printf "    <console type='pty'><target type='xen'/></console>\n  </devices>\n</domain>\n"
}

# guest_cfg, with the arguments of guest_xml: the same guest as a file for xl.
guest_cfg() {
  local name=$1 type=$2 memory=$3 disks='' disk letter=a
  shift 3
  for disk in "$@"; do
    disks+="'format=${disk%%:*},vdev=xvd$letter,access=rw,target=${disk#*:}',"
    letter=$(tr a-y b-z <<< "$letter")
  done
  printf "name='%s'\ntype='%s'\nmemory=%s\nvcpus=1\nkernel='%s'\nramdisk='%s'\nextra='%s'\ndisk=[%s]\n" \
    "$name" "$type" "$memory" "$GUEST_KERNEL" "$GUEST_INITRD" "$GUEST_LINE" "$disks"
}

define_guest() { guest_xml "$@" | virsh -c xen:///system define /dev/stdin; }
# create_guest, with the arguments of guest_xml: it runs, and is gone once it is off.
create_guest() { guest_xml "$@" | virsh -c xen:///system create /dev/stdin; }

# ticks NAME: every value that the guest's RAM counter ever had, oldest first.
ticks() { grep -aso 'tick [0-9]\+' "$LOG/console/guest-$1.log" | cut -d' ' -f2; }
reached() { [ "$(ticks "$1" | tail -n 1)" -ge "$2" ]; }

# wait_tick NAME N: until the counter stands at N or past it.
wait_tick() { until_true 120 reached "$1" "$2" || fail "guest $1 did not reach tick $2: last was $(ticks "$1" | tail -n 1)"; }

# disk_count IMAGE: the count at the start of a disk image of any format; of a running guest's image too.
disk_count() {
  qemu-img dd -U -O raw bs=512 count=1 "if=$1" of=/run/lab/sector > /dev/null || return
  head -c 8 /run/lab/sector | tr -dc 0-9 | sed 's/^0*//'
}

shut_off() { [ "$(virsh -c xen:///system domstate "$1")" = 'shut off' ]; }

# start_xlsnapd SOCKET [OPTION...]: this checkout's daemon; ready when it listens at SOCKET. Log: $LOG/xlsnapd.log
start_xlsnapd() {
  local socket=$1 pid
  shift
  setsid node /mnt/lab/checkout/dist/daemon/main.js "$@" >> "$LOG/xlsnapd.log" 2>&1 &
  pid=$!
  echo $pid > /run/lab/xlsnapd.pid
  until_true 300 answered_or_gone "$socket" $pid
  [ -S "$socket" ] && kill -0 $pid || fail "xlsnapd does not listen at $socket: $(< "$LOG/xlsnapd.log")"
}
answered_or_gone() { [ -S "$1" ] || ! kill -0 "$2"; }

stop_xlsnapd() { end_program xlsnapd; }

end_program() {
  local pid
  pid=$(< "/run/lab/$1.pid")
  kill "$pid"
  until_true 30 ended "$pid" || fail "$1 does not end: $(tail -n 20 "$LOG/$1.log")"
}
ended() { ! kill -0 "$1"; }

# disk_hash IMAGE [SNAPSHOT]: of all that a guest sees of the image now, or of what it saw at its internal snapshot.
disk_hash() {
  qemu-img convert -U ${2:+-l "snapshot.name=$2"} -O raw "$1" /run/lab/raw && sha256sum < /run/lab/raw | cut -c 1-64
}

# make_volume_group NAME MIB: of LVM, on a loop file in RAM. There is no udev, for which LVM would wait, and none of its daemons.
make_volume_group() {
  modprobe -a loop dm-mod dm-snapshot dm-thin-pool xen-blkback || return
  echo 'devices { use_devicesfile=0 } activation { udev_sync=0 udev_rules=0 monitoring=0 } global { use_lvmpolld=0 }' > /etc/lvm/lvm.conf
  truncate -s "$2M" "/run/lab/$1.pv" && vgcreate -qq "$1" "$(losetup --find --show "/run/lab/$1.pv")"
}
