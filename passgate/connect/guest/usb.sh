# List the USB devices of this machine and their disks. POSIX sh; needs no root and changes nothing.
LC_ALL=C
export LC_ALL
sys=${PASSGATE_SYSFS:-/sys}
columns=NAME,TRAN,SERIAL,MODEL,SIZE
echo passgate-usb
if [ -d "$sys/bus" ]; then
  for device in "$sys"/bus/usb/devices/*; do
    [ -r "$device/idVendor" ] || continue
    echo device
    for name in idVendor idProduct serial product speed; do
      value=
      { IFS= read -r value <"$device/$name"; } 2>/dev/null
      printf "%s %s\n" "$name" "$value"
    done
    for disk in "$device"/*:*/host*/target*/*:*/block/*; do
      { IFS= read -r sectors <"$disk/size"; } 2>/dev/null && printf "disk %s %s\n" "${disk##*/}" "$sectors"
    done
  done
else
  lsusb || echo unreadable
fi
echo lsblk
lsblk -J -b -o "$columns,MOUNTPOINTS" 2>/dev/null || lsblk -J -b -o "$columns,MOUNTPOINT" 2>/dev/null
echo end
