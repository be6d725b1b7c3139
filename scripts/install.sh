#!/bin/sh
# Puts a finished build where programs find it; `make install` calls it.
#
#     scripts/install.sh BUILD          what make build has made: target/release
#     scripts/install.sh --uninstall    with the same settings
#
# By environment: PREFIX (/usr/local), DESTDIR (none; goes before every path when files are written), LIBDIR (PREFIX/lib),
# INCLUDEDIR, BINDIR, MANDIR, DOCDIR, DATADIR (the tool looks for its demonstration in ../share, seen from BINDIR), and LIBTORCH:
# unset, libtorch's CPU libraries are copied to LIBDIR/c4c; set, as it was for the build, they are used where they are.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PREFIX=${PREFIX:-/usr/local}
LIBDIR=${LIBDIR:-$PREFIX/lib}
INCLUDEDIR=${INCLUDEDIR:-$PREFIX/include}
BINDIR=${BINDIR:-$PREFIX/bin}
MANDIR=${MANDIR:-$PREFIX/share/man}
DOCDIR=${DOCDIR:-$PREFIX/share/doc/c4c}
DATADIR=${DATADIR:-$PREFIX/share}
to=${DESTDIR:-}

for path in "$PREFIX" "$LIBDIR" "$INCLUDEDIR" "$BINDIR" "$MANDIR" "$DOCDIR" "$DATADIR"; do
    case $path in
    /*) ;;
    *) echo "install: $path must be an absolute path" >&2 && exit 1 ;;
    esac
done

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
abi=$(sed -n 's/^#define C4C_ABI_VERSION //p' "$root/include/c4c.h")
library=libc4c.so.$version
case $library in libc4c.so.$abi.*) ;; *) library=libc4c.so.$abi.$version ;; esac
torch_files="libtorch_cpu.so libc10.so libgomp.so.1 libcudart.so.13 libcupti.so.13"
relative() { realpath -m -s --relative-to="$2" "$1"; } # $1 seen from $2; links of this machine mean nothing

# Without, the loader does not see what is new or gone in its folders; elsewhere it does nothing.
tell_loader() { [ -n "$to" ] || [ "$(id -u)" != 0 ] || ldconfig 2>/dev/null || :; }

# Our copies; a link that somebody has put there instead goes as a link.
remove_torch() {
    if [ -L "$to$LIBDIR/c4c" ]; then
        rm "$to$LIBDIR/c4c"
    else
        for name in $torch_files; do rm -f "$to$LIBDIR/c4c/$name"; done
        rmdir "$to$LIBDIR/c4c" 2>/dev/null || :
    fi
}

if [ "$1" = --uninstall ]; then
    rm -f "$to$LIBDIR/libc4c.so" "$to$LIBDIR/libc4c.so.$abi" "$to$LIBDIR/libc4c.so.$abi".* "$to$LIBDIR/libc4c.a" \
        "$to$LIBDIR/pkgconfig/c4c.pc" "$to$INCLUDEDIR/c4c.h" "$to$INCLUDEDIR/c4c.hpp" "$to$BINDIR/c4c" "$to$MANDIR/man1/c4c.1" \
        "$to$LIBDIR/cmake/c4c/c4cConfig.cmake" "$to$LIBDIR/cmake/c4c/c4cConfigVersion.cmake"
    for name in LICENSE NOTICE README.md CHANGELOG.md THIRD-PARTY libtorch/LICENSE libtorch/NOTICE cuda/License.txt; do
        rm -f "$to$DOCDIR/$name"
    done
    (cd "$root/models/demo" && find . -type f) | while read -r name; do rm -f "$to$DATADIR/c4c/demo/$name"; done
    remove_torch
    rmdir "$to$DATADIR/c4c/demo/videos" "$to$DATADIR/c4c/demo" "$to$DATADIR/c4c" "$to$LIBDIR/cmake/c4c" "$to$DOCDIR/libtorch" "$to$DOCDIR/cuda" "$to$DOCDIR" 2>/dev/null || :
    tell_loader
    exit
fi

for name in libc4c.so libc4c.a c4c THIRD-PARTY; do
    [ -e "$1/$name" ] || { echo "install: there is no $name in $1; make build makes it" >&2 && exit 1; }
done
build=$(cd "$1" && pwd)
command -v patchelf >/dev/null || {
    echo "install: patchelf is missing (package patchelf): the installed files must not look for libtorch where they were built" >&2
    exit 1
}
if [ -n "${LIBTORCH:-}" ] && [ ! -e "$LIBTORCH/lib/libtorch_cpu.so" ]; then
    echo "install: LIBTORCH: there is no lib/libtorch_cpu.so in $LIBTORCH" >&2
    exit 1
fi

# Into a new file and then into its place: a running program keeps what it has, and an interrupted installation leaves nothing
# that the loader could take for a library.
part=
trap 'rm -f "$part"' EXIT
trap 'exit 1' INT TERM
put() { # FROM TO MODE [RUNPATH [--force-rpath]]: the RUNPATH makes it a stripped copy
    part=$(dirname "$2")/.part.$$
    if [ -n "${4:-}" ]; then
        strip --strip-unneeded -o "$part" "$1"
        # shellcheck disable=SC2086 # none or one
        patchelf ${5:-} --set-rpath "$4" "$part"
    else
        cp "$1" "$part"
    fi
    chmod "$3" "$part"
    mv "$part" "$2"
}

install -d "$to$LIBDIR/pkgconfig" "$to$LIBDIR/cmake/c4c" "$to$INCLUDEDIR" "$to$BINDIR" "$to$MANDIR/man1" "$to$DOCDIR" \
    "$to$DATADIR/c4c/demo/videos"

# The libraries of libtorch that a CPU needs, and what these need that no distribution has.
library_path="\$ORIGIN/c4c"
tool_path="\$ORIGIN/$(relative "$LIBDIR/c4c" "$BINDIR")"
remove_torch
if [ -n "${LIBTORCH:-}" ]; then
    torch=$(realpath "$LIBTORCH/lib")
    library_path="$library_path:$torch"
    tool_path="$tool_path:$torch"
else
    wheels=$root/third_party/pytorch
    torch=
    install -d "$to$LIBDIR/c4c" "$to$DOCDIR/libtorch" "$to$DOCDIR/cuda"
    for name in $torch_files; do
        # NVIDIA's licence asks for its libraries to be passed on as they are.
        case $name in
        libcud* | libcup*) put "$wheels/nvidia/cu13/lib/$name" "$to$LIBDIR/c4c/$name" 644 ;;
        *) put "$wheels/torch/lib/$name" "$to$LIBDIR/c4c/$name" 644 "\$ORIGIN" --force-rpath ;;
        esac
    done
    install -m 644 "$wheels"/torch-*.dist-info/licenses/* "$to$DOCDIR/libtorch"
    install -m 644 "$wheels"/nvidia_cuda_runtime-*.dist-info/licenses/* "$to$DOCDIR/cuda"
fi

put "$build/libc4c.so" "$to$LIBDIR/$library" 755 "$library_path"
ln -sf "$library" "$to$LIBDIR/libc4c.so.$abi"
ln -sf "libc4c.so.$abi" "$to$LIBDIR/libc4c.so"
# What an older version has left would come first again, once it is the newer one.
find "$to$LIBDIR" -maxdepth 1 -name "libc4c.so.$abi.*" ! -name "$library" -exec rm {} +
put "$build/c4c" "$to$BINDIR/c4c" 755 "$tool_path"
part=$to$LIBDIR/.part.$$
strip --strip-debug -o "$part" "$build/libc4c.a"
chmod 644 "$part"
mv "$part" "$to$LIBDIR/libc4c.a"

install -m 644 "$root/include/c4c.h" "$root/bindings/cpp/c4c.hpp" "$to$INCLUDEDIR"
install -m 644 "$root/packaging/c4c.1" "$to$MANDIR/man1"
install -m 644 "$root/LICENSE" "$root/NOTICE" "$root/README.md" "$root/CHANGELOG.md" "$build/THIRD-PARTY" "$to$DOCDIR"
# Where the tool looks for it: ../share from its own folder.
install -m 644 "$root"/models/demo/*.* "$to$DATADIR/c4c/demo"
install -m 644 "$root"/models/demo/videos/*.mp4 "$to$DATADIR/c4c/demo/videos"

fill() { # FROM TO: what stands between @ in a template
    escaped=$(printf '%s' "$torch" | sed 's/[&|\]/\\&/g')
    sed -e "s|@version@|$version|g" -e "s|@abi@|$abi|g" -e "s|@library@|$library|g" \
        -e "s|@prefix_from_pc@|$(relative "$PREFIX" "$LIBDIR/pkgconfig")|g" \
        -e "s|@libdir_from_prefix@|$(relative "$LIBDIR" "$PREFIX")|g" \
        -e "s|@includedir_from_prefix@|$(relative "$INCLUDEDIR" "$PREFIX")|g" \
        -e "s|@libdir_from_cmake@|$(relative "$LIBDIR" "$LIBDIR/cmake/c4c")|g" \
        -e "s|@includedir_from_cmake@|$(relative "$INCLUDEDIR" "$LIBDIR/cmake/c4c")|g" \
        -e "s|@torch@|${escaped:-\${libdir\}/c4c}|g" -e "s|@torch_cmake@|${escaped:-\${_c4c_libdir\}/c4c}|g" \
        "$root/packaging/$1" >"$2"
    chmod 644 "$2"
}
fill c4c.pc.in "$to$LIBDIR/pkgconfig/c4c.pc"
fill c4cConfig.cmake.in "$to$LIBDIR/cmake/c4c/c4cConfig.cmake"
fill c4cConfigVersion.cmake.in "$to$LIBDIR/cmake/c4c/c4cConfigVersion.cmake"
tell_loader
