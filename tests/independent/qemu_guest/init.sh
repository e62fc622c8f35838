#!/bin/busybox sh
# Process 1 of the guest: loads the modules, then runs each line that comes down the virtio port as a script.
#
# A line is a script in base64. The answer is a line too: the script's exit status, a blank, its output in base64.
export PATH=/bin HOME=/tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=1777 tmp /tmp
while read -r module; do
  insmod "/modules/$module" || echo "NOT LOADED: $module"
done </modules/order
echo LOADED
port=
until [ -n "$port" ]; do
  for one in /dev/vport*; do
    [ -c "$one" ] && port=$one
  done
  sleep 0.1
done
exec 3<>"$port"
echo ready >&3
while read -r line <&3; do
  printf %s "$line" | base64 -d >/tmp/.script
  sh /tmp/.script </dev/null >/tmp/.printed 2>&1 3>&-
  echo "$? $(base64 -w 0 /tmp/.printed)" >&3
done
poweroff -f
