#!/bin/busybox sh
# dom0's first program, from its initrd: the drivers of the root, a RAM overlay over the read-only 9p root, and on to the agent.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order
p9=trans=virtio,version=9p2000.L,msize=512000
# cache=loose: the files under the root do not change while the lab runs; without it every exec would cross the channel again.
mount -t 9p -o $p9,ro,cache=loose root /lower || poweroff -f
mount -t tmpfs -o size=75% ram /ram
mkdir /ram/upper /ram/work
mount -t overlay -o lowerdir=/lower,upperdir=/ram/upper,workdir=/ram/work overlay /newroot || poweroff -f
mkdir -p /newroot/mnt/lab
# Of another system's root the checkout is no part: it is mounted at its own place.
for word in $(cat /proc/cmdline); do
  case $word in
    lab.checkout=*)
      mkdir -p "/newroot${word#*=}"
      mount -t 9p -o $p9,ro,cache=loose checkout "/newroot${word#*=}" || poweroff -f
      ;;
  esac
done
# cache=none: a byte written here is in the host's file when write() returns, so logs and results outlive a crash of dom0.
mount -t 9p -o $p9,cache=none lab /newroot/mnt/lab || poweroff -f
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t xenfs xenfs /proc/xen
# There is no udev. Xen's hotplug script "block" waits for ever without /dev/fd.
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
for dir in proc sys dev; do
  mkdir -p "/newroot/$dir"
  mount --move "/$dir" "/newroot/$dir"
done
mount -t tmpfs tmpfs /newroot/run
ip link set lo up
exec switch_root /newroot /bin/bash /mnt/lab/dom0-agent.sh
