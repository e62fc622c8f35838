# Unmount all that is mounted from one USB disk of this machine, never by force. POSIX sh; needs root.
# Set before it: vendor, product, serial, disk. Each line of its answer is a word and what it is about.
LC_ALL=C
export LC_ALL
sys=${PASSGATE_SYSFS:-/sys}
proc=${PASSGATE_PROC:-/proc}
echo passgate-release

# The kernel writes blanks and backslashes in mount points as \ooo; printf takes that as \0ooo.
plain() { printf '%b.' "$(printf '%s' "$1" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')"; }

# Name the programs that have a file or a folder below this mount point in use.
holders() {
  for process in "$proc"/[0-9]*; do
    comm='?'
    { read -r comm <"$process/comm"; } 2>/dev/null
    ls -l "$process/cwd" "$process/root" "$process/exe" "$process/fd" 2>/dev/null | while IFS= read -r line; do
      case "${line##* -> }" in
        "$1" | "$1"/*) printf "holder %s %s\n" "${process##*/}" "$comm" && break ;;
      esac
    done
  done
}

found=
for device in "$sys"/bus/usb/devices/*; do
  for place in "$device"/*:*/host*/target*/*:*/block/"$disk"; do
    [ -d "$place" ] || continue
    v= p= s=
    { read -r v <"$device/idVendor"; read -r p <"$device/idProduct"; } 2>/dev/null
    { read -r s <"$device/serial"; } 2>/dev/null
    [ "$v:$p:$s" = "$vendor:$product:$serial" ] && found=$place
  done
done
if [ -z "$found" ]; then
  echo gone
  echo end
  exit 0
fi

ids=
held=
for part in "$found" "$found"/"$disk"*; do
  { read -r numbers <"$part/dev"; } 2>/dev/null && ids="$ids $numbers /dev/${part##*/}"
  for holder in "$part"/holders/*; do
    [ -e "$holder" ] && held=yes && printf "held %s %s\n" "${part##*/}" "${holder##*/}"
  done
done
while read -r swap _; do
  case "$ids " in *" $swap "*) held=yes && printf "held %s swap\n" "${swap##*/}" ;; esac
done 2>/dev/null <"$proc/swaps"
if [ -n "$held" ]; then
  echo end
  exit 0
fi

points=
while read -r _ _ numbers _ where _ rest; do
  source=" $rest"
  source=${source##* - }
  source=${source#* }
  case "$ids " in *" $numbers "* | *" ${source%% *} "*) points="$where $points" ;; esac
done <"$proc/self/mountinfo"

sync
set -f # a mount point may be named with a star
for where in $points; do
  name=$(plain "$where")
  if said=$(umount -- "${name%.}" 2>&1); then
    printf "unmounted %s\n" "$where"
    continue
  fi
  printf "busy %s %s\n" "$where" "$(printf '%s' "$said" | tr '\n' ' ')"
  set +f
  holders "${name%.}"
  echo end
  exit 0
done
set +f

# What a container keeps mounted for itself keeps the disk as busy.
for file in "$proc"/[0-9]*/mountinfo; do
  while read -r _ _ numbers _; do
    case "$ids " in
      *" $numbers "*)
        process=${file%/mountinfo}
        comm='?'
        { read -r comm <"$process/comm"; } 2>/dev/null
        printf "elsewhere %s %s\n" "${process##*/}" "$comm"
        break
        ;;
    esac
  done 2>/dev/null <"$file"
done 2>/dev/null
echo end
