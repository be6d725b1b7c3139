#!/bin/sh
# Puts a finished build where programs find it; `make install` calls it.
#
#     scripts/install.sh BUILD          the folder with libc4c.so, libc4c.a and c4c: target/release
#     scripts/install.sh --uninstall    with the same settings
#
# By environment: PREFIX (/usr/local), DESTDIR (none; goes before every path when files are written), LIBDIR (PREFIX/lib),
# INCLUDEDIR, BINDIR, MANDIR, DOCDIR, and LIBTORCH: unset, libtorch's CPU libraries are copied to LIBDIR/c4c; set, as it was
# for the build, they are used where they are.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PREFIX=${PREFIX:-/usr/local}
LIBDIR=${LIBDIR:-$PREFIX/lib}
INCLUDEDIR=${INCLUDEDIR:-$PREFIX/include}
BINDIR=${BINDIR:-$PREFIX/bin}
MANDIR=${MANDIR:-$PREFIX/share/man}
DOCDIR=${DOCDIR:-$PREFIX/share/doc/c4c}
to=${DESTDIR:-}

for path in "$PREFIX" "$LIBDIR" "$INCLUDEDIR" "$BINDIR" "$MANDIR" "$DOCDIR"; do
    case $path in /*) ;; *) echo "install: $path must be an absolute path" >&2 && exit 1 ;; esac
done

if [ "$1" = --uninstall ]; then
    rm -f "$to$LIBDIR"/libc4c.so* "$to$LIBDIR/libc4c.a" "$to$LIBDIR/pkgconfig/c4c.pc" "$to$INCLUDEDIR/c4c.h" \
        "$to$INCLUDEDIR/c4c.hpp" "$to$BINDIR/c4c" "$to$MANDIR/man1/c4c.1"
    rm -rf "$to$LIBDIR/c4c" "$to$LIBDIR/cmake/c4c" "$to$DOCDIR"
    exit
fi
build=$(cd "$1" && pwd)
command -v patchelf >/dev/null || {
    echo "install: patchelf is missing (package patchelf): the installed files must not look for libtorch where they were built" >&2
    exit 1
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
abi=$(sed -n 's/^#define C4C_ABI_VERSION //p' "$root/include/c4c.h")
library=libc4c.so.$version
case $library in libc4c.so.$abi.*) ;; *) library=libc4c.so.$abi.$version ;; esac
relative() { realpath -m -s --relative-to="$2" "$1"; } # $1 seen from $2; links of this machine mean nothing

# The libraries of libtorch that a CPU needs, and what these need that no distribution has.
if [ -n "${LIBTORCH:-}" ]; then
    torch=$(realpath "$LIBTORCH/lib")
    library_path="\$ORIGIN/c4c:$torch"
    tool_path="\$ORIGIN/$(relative "$LIBDIR/c4c" "$BINDIR"):$torch"
else
    wheels=$root/third_party/pytorch
    torch=$LIBDIR/c4c
    library_path="\$ORIGIN/c4c"
    tool_path="\$ORIGIN/$(relative "$LIBDIR/c4c" "$BINDIR")"
    install -d "$to$torch"
    for file in torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libgomp.so.1 \
        nvidia/cu13/lib/libcudart.so.13 nvidia/cu13/lib/libcupti.so.13; do
        name=$(basename "$file")
        strip --strip-unneeded -o "$to$torch/$name.part" "$wheels/$file"
        patchelf --force-rpath --set-rpath "\$ORIGIN" "$to$torch/$name.part"
        chmod 644 "$to$torch/$name.part"
        mv "$to$torch/$name.part" "$to$torch/$name"
    done
    install -d "$to$DOCDIR/libtorch" "$to$DOCDIR/cuda"
    install -m 644 "$wheels"/torch-*.dist-info/licenses/* "$to$DOCDIR/libtorch"
    install -m 644 "$wheels"/nvidia_cuda_runtime-*.dist-info/licenses/* "$to$DOCDIR/cuda"
fi

install -d "$to$LIBDIR/pkgconfig" "$to$LIBDIR/cmake/c4c" "$to$INCLUDEDIR" "$to$BINDIR" \
    "$to$MANDIR/man1" "$to$DOCDIR"

# Into a new file and then into its place: a running program keeps the library that it has.
binary() { # FROM TO RUNPATH MODE
    strip --strip-unneeded -o "$2.part" "$1"
    patchelf --set-rpath "$3" "$2.part"
    chmod "$4" "$2.part"
    mv "$2.part" "$2"
}
binary "$build/libc4c.so" "$to$LIBDIR/$library" "$library_path" 755
ln -sf "$library" "$to$LIBDIR/libc4c.so.$abi"
ln -sf "libc4c.so.$abi" "$to$LIBDIR/libc4c.so"
binary "$build/c4c" "$to$BINDIR/c4c" "$tool_path" 755
strip --strip-debug -o "$to$LIBDIR/libc4c.a" "$build/libc4c.a"
chmod 644 "$to$LIBDIR/libc4c.a"

install -m 644 "$root/include/c4c.h" $(ls "$root"/bindings/cpp/c4c.hpp) "$to$INCLUDEDIR"
install -m 644 "$root/packaging/c4c.1" "$to$MANDIR/man1"
install -m 644 "$root/LICENSE" "$root/NOTICE" "$root/README.md" "$root/CHANGELOG.md" "$to$DOCDIR"

fill() { # FROM TO: what stands between @ in a template
    sed -e "s|@version@|$version|g" -e "s|@abi@|$abi|g" -e "s|@library@|$library|g" \
        -e "s|@prefix_from_pc@|$(relative "$PREFIX" "$LIBDIR/pkgconfig")|g" \
        -e "s|@libdir_from_prefix@|$(relative "$LIBDIR" "$PREFIX")|g" \
        -e "s|@includedir_from_prefix@|$(relative "$INCLUDEDIR" "$PREFIX")|g" \
        -e "s|@libdir_from_cmake@|$(relative "$LIBDIR" "$LIBDIR/cmake/c4c")|g" \
        -e "s|@includedir_from_cmake@|$(relative "$INCLUDEDIR" "$LIBDIR/cmake/c4c")|g" \
        -e "s|@torch@|$(if [ -n "${LIBTORCH:-}" ]; then echo "$torch"; else echo '${libdir}/c4c'; fi)|g" \
        -e "s|@torch_cmake@|$(if [ -n "${LIBTORCH:-}" ]; then echo "$torch"; else echo '${_c4c_libdir}/c4c'; fi)|g" \
        "$root/packaging/$1" >"$2"
    chmod 644 "$2"
}
fill c4c.pc.in "$to$LIBDIR/pkgconfig/c4c.pc"
fill c4cConfig.cmake.in "$to$LIBDIR/cmake/c4c/c4cConfig.cmake"
fill c4cConfigVersion.cmake.in "$to$LIBDIR/cmake/c4c/c4cConfigVersion.cmake"
