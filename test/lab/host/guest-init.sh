#!/bin/busybox sh
# The guest: counts in RAM ("tick N" on its console, about twice a second) and writes each count to the start of every disk
# before it goes on. After a revert both counts must be back: the disk holds the last tick, or the one before it.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order
count=0
while :; do
  count=$((count + 1))
  echo "tick $count"
  for disk in /dev/xvd?; do
    [ -b "$disk" ] && printf '%08d' "$count" | dd of="$disk" conv=notrunc,fsync 2> /dev/null
  done
  sleep 0.5
done
