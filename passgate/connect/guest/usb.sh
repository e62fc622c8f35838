# List the USB devices of this machine, their disks, and what is mounted. POSIX sh; needs no root and changes nothing.
LC_ALL=C
export LC_ALL
sys=${PASSGATE_SYSFS:-/sys}
proc=${PASSGATE_PROC:-/proc}
columns=NAME,TRAN,SERIAL,MODEL,SIZE
echo passgate-usb
while IFS= read -r line; do printf "mountinfo %s\n" "$line"; done 2>/dev/null <"$proc/self/mountinfo"
while read -r swap _; do printf "swap %s\n" "$swap"; done 2>/dev/null <"$proc/swaps"
if [ -d "$sys/bus" ]; then
  for device in "$sys"/bus/usb/devices/*; do
    [ -r "$device/idVendor" ] || continue
    echo device
    for name in idVendor idProduct serial product speed; do
      value=
      { IFS= read -r value <"$device/$name"; } 2>/dev/null
      printf "%s %s\n" "$name" "$value"
    done
    for kind in "$device"/*:*/bInterfaceClass; do
      { IFS= read -r value <"$kind"; } 2>/dev/null && printf "kind %s\n" "$value"
    done
    for disk in "$device"/*:*/host*/target*/*:*/block/*; do
      { IFS= read -r sectors <"$disk/size"; } 2>/dev/null && printf "disk %s %s\n" "${disk##*/}" "$sectors"
      for part in "$disk" "$disk"/"${disk##*/}"*; do
        number=0
        { read -r number <"$part/partition"; } 2>/dev/null
        { read -r numbers <"$part/dev"; } 2>/dev/null &&
          printf "part %s %s %s %s\n" "${disk##*/}" "${part##*/}" "$number" "$numbers"
        for holder in "$part"/holders/*; do
          [ -e "$holder" ] && printf "held %s %s\n" "${disk##*/}" "${holder##*/}"
        done
      done
    done
  done
else
  lsusb || echo unreadable
fi
echo lsblk
lsblk -J -b -o "$columns,MOUNTPOINTS" 2>/dev/null || lsblk -J -b -o "$columns,MOUNTPOINT" 2>/dev/null
echo end
