#!/bin/sh
# Installs the packages on a clean Debian and runs the tool and the C example there: as root, with debootstrap.
#
#     tests/installed/debian.sh PACKAGES WEIGHTS VIDEO
#
# PACKAGES is the folder that `make deb` filled. By environment: SUITE (bookworm), MIRROR (http://deb.debian.org/debian).
set -eu
cd "$(dirname "$0")/../.."
packages=$1
weights=$2
video=$3
mirror=${MIRROR:-http://deb.debian.org/debian}
suite=${SUITE:-bookworm}

root=$(mktemp -d)
chmod 755 "$root"
clean() {
    umount "$root/proc" 2>/dev/null || :
    rm -rf --one-file-system "$root"
}
trap clean EXIT
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 || { tail "$root.log" >&2 && exit 1; }
rm "$root.log"
mount -t proc proc "$root/proc"
cp /etc/resolv.conf "$root/etc/"
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }

mkdir "$root/c4c"
cp "$packages"/*.deb "$weights" "$video" examples/c/embed_video.c "$root/c4c/"
echo 'Dpkg::Use-Pty "0"; APT::Install-Recommends "no";' >"$root/etc/apt/apt.conf.d/quiet"
inside apt-get update -qq
before=$(du -smx "$root" | cut -f1)
# The tool and the library first, alone: they need no compiler.
inside sh -ec 'apt-get install -y -qq /c4c/libc4c[0-9]*.deb /c4c/c4c_*.deb >/dev/null 2>&1'
echo "installed: $(($(du -smx "$root" | cut -f1) - before)) MiB with what it depends on"
inside c4c --version
inside c4c info "/c4c/$(basename "$weights")"
inside c4c selftest
inside sh -ec 'apt-get install -y -qq /c4c/libc4c-dev_*.deb gcc libc6-dev pkg-config >/dev/null 2>&1'
inside sh -ec 'cd /c4c && cc embed_video.c -o embed_video $(pkg-config --cflags --libs c4c) -lm'
inside "/c4c/embed_video" "/c4c/$(basename "$weights")" "/c4c/$(basename "$video")" "a dog runs on the beach"
inside sh -ec 'apt-get remove -y -qq "libc4c*" c4c >/dev/null 2>&1; [ -z "$(find /usr -name "libc4c*" -o -name c4c)" ]'
echo "removed without a trace"
