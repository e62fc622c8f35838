#!/bin/sh
# Fetch Debian's kernel for the guest under QEMU and unpack what is needed of it, without installing it.
#
# It goes where the tests look: $XDG_CACHE_HOME/passgate-tests/kernel. Needs apt's lists (`apt-get update`), not root.
set -eu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/passgate-tests
package=$(apt-cache depends linux-image-amd64 | sed -n 's/^  Depends: \(linux-image-[0-9].*-amd64\)$/\1/p' | head -n 1)
[ -n "$package" ] || { echo "apt knows no linux-image-amd64; run apt-get update" >&2; exit 1; }
[ -e "$cache/kernel/boot/vmlinuz-${package#linux-image-}" ] && exit 0
mkdir -p "$cache"
work=$(mktemp -d "$cache/kernel-XXXXXX")
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package")
dpkg-deb --fsys-tarfile "$work/$package"_*.deb |
  tar -x -C "$work" --wildcards './boot/vmlinuz-*' './lib/modules/*/kernel/arch/*' './lib/modules/*/kernel/block/*' \
    './lib/modules/*/kernel/crypto/*' './lib/modules/*/kernel/drivers/char/*' './lib/modules/*/kernel/drivers/scsi/*' \
    './lib/modules/*/kernel/drivers/usb/*' './lib/modules/*/kernel/drivers/virtio/*' './lib/modules/*/kernel/fs/fat/*' \
    './lib/modules/*/kernel/fs/nls/*' './lib/modules/*/kernel/lib/*'
rm -f "$work/$package"_*.deb
rm -rf "$cache/kernel"
# Renamed whole, so that a suite that runs beside this one never boots half a kernel.
mv "$work" "$cache/kernel"
