#!/bin/bash
# dom0's pid 1: starts what a Xen host needs, then does what the lab asks for over the virtio-serial port.
#   run ID    runs /mnt/lab/commands/ID/script; its output goes to stdout and stderr next to it; answers {"id":"ID","rc":N}
#   kill ID   ends that command and what it started in its session
# A command that wants something to outlive it starts that in a session of its own (setsid).
xen=$(ls -d /usr/lib/xen-[0-9]* | tail -n 1)
export XEN=$xen PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$xen/bin
export HOME=/root LC_ALL=C.UTF-8 TERM=dumb
exec < /dev/null

mkdir -p /run/lock /run/xen /run/xenstored /run/libvirt /run/lab /mnt/lab/log/console /var/lib/xen
oxenstored --pid-file /run/xenstored.pid
echo xlsnap-lab > /proc/sys/kernel/hostname
mkfifo /run/lab/idle
exec 3<> /dev/vport*p1 4<> /run/lab/idle
pause() { read -r -t "$1" _ <&4; }

until [ -S /run/xenstored/socket ]; do pause 0.05; done
xenconsoled --pid-file=/run/xenconsoled.pid --log=guest --log-dir=/mnt/lab/log/console &
xen-init-dom0 > /dev/null &
wait

run() {
  local dir=/mnt/lab/commands/$1
  setsid bash -c '. /mnt/lab/dom0-lib.sh; . "$0"' "$dir/script" > "$dir/stdout" 2> "$dir/stderr" 3>&- 4>&- &
  echo $! > "/run/lab/$1.pid"
  wait $! 2> /dev/null
  printf '{"id":"%s","rc":%d}\n' "$1" $? >&3
}

read -r up _ < /proc/uptime
printf '{"ready":true,"dom0Seconds":%s}\n' "$up" >&3
while :; do
  while read -r verb id <&3; do
    case $verb in
      run) run "$id" & ;;
      kill) kill -KILL -- "-$(< "/run/lab/$id.pid")" 2> /dev/null ;;
    esac
  done
  pause 0.1 # nobody is connected to the other end: a read then returns at once
done
