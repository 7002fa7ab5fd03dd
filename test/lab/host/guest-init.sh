#!/bin/busybox sh
# The guest: counts in RAM ("tick N" on its console, about twice a second) and writes each count to the start of every disk
# before it goes on. After a revert both counts must be back: the disk holds the last tick, or the one before it.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir /disks
while read -r module; do insmod "/modules/$module"; done < /modules/order
count=0
while :; do
  count=$((count + 1))
  echo "tick $count"
  for disk in /sys/block/xvd?; do
    node=/disks/${disk##*/}
    # In /dev a node goes with its disk, and dd would make a file there, which the next disk of that name could not replace.
    [ -b "$node" ] || mknod "$node" b $(tr : ' ' < "$disk/dev") 2> /dev/null
    [ -b "$node" ] && printf '%08d' "$count" | dd of="$node" conv=notrunc,fsync 2> /dev/null
  done
  sleep 0.5
done
