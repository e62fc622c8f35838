# Count the CPUs that are online, and the memory, of this machine. POSIX sh; needs no root and changes nothing.
LC_ALL=C
export LC_ALL
proc=${PASSGATE_PROC:-/proc}
echo passgate-hardware
printf "cpus %s\n" "$(grep -c '^processor' "$proc/cpuinfo" 2>/dev/null)"
while read -r name size _; do
  [ "$name" = MemTotal: ] && printf "memory_kb %s\n" "$size"
done 2>/dev/null <"$proc/meminfo"
echo end
