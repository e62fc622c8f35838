# Mount partitions of one USB disk of this machine again. POSIX sh; needs root.
# Set before it: vendor, product, serial, and for each mount the parameters part, mount point, kind, options.
LC_ALL=C
export LC_ALL
sys=${PASSGATE_SYSFS:-/sys}
proc=${PASSGATE_PROC:-/proc}
echo passgate-take-back

plain() { printf '%b.' "$(printf '%s' "$1" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')"; }

# Find the node of a partition: the disk may have another name now.
node() {
  for device in "$sys"/bus/usb/devices/*; do
    v= p= s=
    { read -r v <"$device/idVendor"; read -r p <"$device/idProduct"; } 2>/dev/null
    { read -r s <"$device/serial"; } 2>/dev/null
    [ "$v:$p:$s" = "$vendor:$product:$serial" ] || continue
    for disk in "$device"/*:*/host*/target*/*:*/block/*; do
      [ -d "$disk" ] || continue
      [ "$1" = 0 ] && echo "/dev/${disk##*/}" && return
      for part in "$disk"/"${disk##*/}"*; do
        number=
        { read -r number <"$part/partition"; } 2>/dev/null
        [ "$number" = "$1" ] && echo "/dev/${part##*/}" && return
      done
    done
  done
}

while [ $# -ge 4 ]; do
  from=$(node "$1")
  if [ -z "$from" ]; then
    echo gone
    break
  fi
  there=
  while read -r _ _ _ _ where _; do
    name=$(plain "$where")
    [ "${name%.}" = "$2" ] && there=yes
  done <"$proc/self/mountinfo"
  if [ -n "$there" ]; then
    echo "mounted $1"
  elif mount ${3:+-t "$3"} -o "$4" -- "$from" "$2" 2>/dev/null || said=$(mount ${3:+-t "$3"} -- "$from" "$2" 2>&1); then
    echo "mounted $1"
  else
    printf "failed %s %s\n" "$1" "$(printf '%s' "$said" | tr '\n' ' ')"
  fi
  shift 4
done
echo end
