#!/bin/sh
# Makes packages of a finished build; `make deb` and `make tarball` call it.
#
#     scripts/package.sh deb BUILD OUT        libc4c0, libc4c-dev and c4c for this Debian or Ubuntu
#     scripts/package.sh tarball BUILD OUT    one folder that can lie anywhere
#
# By environment: MAINTAINER, "name <address>" of who answers for the packages, and SOURCE_DATE_EPOCH.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
kind=$1
build=$(cd "$2" && pwd)
mkdir -p "$3"
out=$(cd "$3" && pwd)
[ -z "${LIBTORCH:-}" ] || { echo "package: LIBTORCH is set, but a package brings its own libtorch; unset it" >&2 && exit 1; }

umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
abi=$(sed -n 's/^#define C4C_ABI_VERSION //p' "$root/include/c4c.h")
# What is inside says when it was made, not when it was packed.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

tarball() {
    name=c4c-$version-linux-$(uname -m)
    PREFIX=/ LIBDIR=/lib INCLUDEDIR=/include BINDIR=/bin MANDIR=/share/man DOCDIR=/share/doc/c4c DATADIR=/share DESTDIR=$work/$name \
        "$root/scripts/install.sh" "$build"
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" |
        xz -T0 -6 >"$out/$name.tar.xz"
    echo "$out/$name.tar.xz"
}

arch=
runtime=libc4c$abi
revision=$version-1
maintainer=${MAINTAINER:-the libc4c authors <libc4c@localhost>}
# A package of the files that were moved to $work/NAME: its description on stdin, more fields as arguments.
deb() {
    name=$1
    files=$work/$name
    shift
    doc=$files/usr/share/doc/$name
    mkdir -p "$files/DEBIAN" "$doc"
    cp "$work/copyright" "$doc/copyright"
    gzip -9n <"$root/CHANGELOG.md" >"$doc/changelog.gz"
    printf 'libc4c (%s) unstable; urgency=medium\n\n  * Packages made by the project itself.\n\n -- %s  %s\n' \
        "$revision" "$maintainer" "$(date -uRd "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
    {
        printf 'Package: %s\nSource: libc4c\nVersion: %s\nArchitecture: %s\n' "$name" "$revision" "$arch"
        printf 'Maintainer: %s\nInstalled-Size: %s\n' "$maintainer" "$(du -sk "$files" | cut -f1)"
        printf 'Priority: optional\n'
        printf '%s\n' "$@"
        cat
    } >"$files/DEBIAN/control"
    (cd "$files" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$files/DEBIAN/md5sums"
    dpkg-deb --root-owner-group -Zxz -z6 --build "$files" "$out/${name}_${revision}_$arch.deb" >/dev/null
    echo "$out/${name}_${revision}_$arch.deb"
}

# What a package's programs and libraries need, by the packages that have it here; ours are named by hand.
needs() {
    mkdir -p "$work/needs/debian"
    printf 'Source: libc4c\n\nPackage: any\nArchitecture: any\n' >"$work/needs/debian/control"
    (cd "$work/needs" && dpkg-shlibdeps -O --ignore-missing-info "-x$runtime" -l"$work/$runtime$lib" -l"$work/$runtime$lib/c4c" "$@" \
        2>"$work/shlibdeps") |
        sed -n 's/^shlibs:Depends=//p' | grep . || { cat "$work/shlibdeps" >&2 && exit 1; }
}

debs() {
    arch=$(dpkg --print-architecture)
    rm -f "$out"/libc4c*_"$arch".deb "$out"/c4c_*_"$arch".deb
    lib=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
    PREFIX=/usr LIBDIR=$lib DOCDIR=/usr/share/doc/$runtime DESTDIR=$work/$runtime "$root/scripts/install.sh" "$build"
    {
        printf 'libc4c: text and video embeddings with CLIP4Clip\nCopyright 2026 the libc4c authors\n\n'
        printf 'Apache License 2.0; on Debian systems its text is in /usr/share/common-licenses/Apache-2.0.\n\n'
        cat "$root/NOTICE"
        printf '\nlibtorch (%s/c4c), from PyTorch:\n' "$lib"
        printf 'its licences and those of its parts are in /usr/share/doc/%s/libtorch, NVIDIA'"'"'s for libcudart and\n' "$runtime"
        printf 'libcupti in /usr/share/doc/%s/cuda. Those of the Rust crates that are linked in are in\n' "$runtime"
        printf '/usr/share/doc/%s/THIRD-PARTY.gz.\n' "$runtime"
    } >"$work/copyright"
    move() { # PACKAGE PATH...
        package=$1
        shift
        for path in "$@"; do
            mkdir -p "$work/$package$(dirname "$path")"
            mv "$work/$runtime$path" "$work/$package$path"
        done
    }
    rm "$work/$runtime/usr/share/doc/$runtime/LICENSE" "$work/$runtime/usr/share/doc/$runtime/NOTICE" \
        "$work/$runtime/usr/share/doc/$runtime/CHANGELOG.md"
    gzip -9n "$work/$runtime/usr/share/doc/$runtime/libtorch/LICENSE" "$work/$runtime/usr/share/doc/$runtime/libtorch/NOTICE" \
        "$work/$runtime/usr/share/doc/$runtime/cuda/License.txt"
    gzip -9n "$work/$runtime/usr/share/man/man1/c4c.1" "$work/$runtime/usr/share/doc/$runtime/THIRD-PARTY"
    move libc4c-dev "$lib/libc4c.so" "$lib/libc4c.a" "$lib/pkgconfig" "$lib/cmake" /usr/include
    move c4c /usr/bin /usr/share/man /usr/share/c4c
    chmod 644 "$work/$runtime$lib"/libc4c.so.*.*

    # pkg-config knows the system's folders by these names and leaves them out.
    sed -i -e 's|^prefix=.*|prefix=/usr|' "$work/libc4c-dev$lib/pkgconfig/c4c.pc"
    # Debian has this one.
    rm "$work/$runtime$lib/c4c/libgomp.so.1"

    # Dependencies before the packages: they are read from the files.
    runtime_needs=$(needs "$work/$runtime$lib"/libc4c.so.*.* "$work/$runtime$lib"/c4c/*.so*)
    tool_needs=$(needs "$work/c4c/usr/bin/c4c")
    mkdir -p "$work/$runtime/DEBIAN"
    printf 'libc4c %s %s (>= %s)\n' "$abi" "$runtime" "$version" >"$work/$runtime/DEBIAN/shlibs"
    printf 'activate-noawait ldconfig\n' >"$work/$runtime/DEBIAN/triggers"
    deb "$runtime" "Section: non-free/libs" "Depends: $runtime_needs" "Multi-Arch: same" <<EOF
Description: text and video embeddings with CLIP4Clip - library
 libc4c embeds sentences and videos into one space, so that videos can be
 found by words, from inside a native program. It brings the CPU libraries of
 libtorch 2.11 in a folder of its own and decodes with the system's FFmpeg.
EOF
    deb libc4c-dev "Section: libdevel" "Depends: $runtime (= $revision)" \
        "Suggests: libavformat-dev, libavcodec-dev, libswscale-dev, libavutil-dev" <<EOF
Description: text and video embeddings with CLIP4Clip - development files
 Headers for C and C++, the static library, and what pkg-config and CMake need
 to find libc4c.
EOF
    deb c4c "Section: video" "Depends: $runtime (= $revision), $tool_needs" <<EOF
Description: text and video embeddings with CLIP4Clip - tool
 The command-line tool of libc4c embeds videos and texts, keeps an index of
 folders of videos and finds them by words, and tells what a checkpoint is. A
 small model for demonstration comes with it.
EOF
}

case $kind in
deb) debs ;;
tarball) tarball ;;
*) echo "package: deb or tarball, not $kind" >&2 && exit 1 ;;
esac
