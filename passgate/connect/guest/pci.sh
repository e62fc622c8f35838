# List the PCI functions of this machine. POSIX sh; needs no root and changes nothing.
LC_ALL=C
export LC_ALL
sys=${PASSGATE_SYSFS:-/sys}
echo passgate-pci
if [ -d "$sys/bus/pci" ]; then
  for function in "$sys"/bus/pci/devices/*; do
    { read -r vendor <"$function/vendor" && read -r device <"$function/device"; } 2>/dev/null &&
      printf "pci %s %s %s\n" "${function##*/}" "$vendor" "$device"
  done
else
  echo unreadable
fi
echo end
