#!/bin/sh
# Compares the interface that include/c4c.h declares - functions, structs with their offsets, enums with their numbers - with
# the one kept in c4c.abi, by abidiff (Debian: abigail-tools). Any difference fails, additions included.
#
#     tests/abi/check.sh             compare
#     tests/abi/check.sh --accept    compare, then keep the new one
#
# What abidiff calls a change of the ABI (it says "[C]" or "removed") breaks programs that exist: it needs another
# C4C_ABI_VERSION, and with it another SONAME. Added functions, constants, and fields at the end of a struct do not.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# abidw reads debug information. Rust's has neither C's names for types nor the constants, which no function mentions, so it
# is taken from a library with the header's functions, all empty. tests/abi.rs sees to it that libc4c.so exports the same.
{
    echo '#include "c4c.h"'
    cc -E -P -DC4C_API=@function include/c4c.h | tr '\n' ' ' | grep -oE '@function [^;]*;' |
        sed 's/^@function //; s/;$/ { __builtin_trap(); }/'
} >"$work/c4c.c"
abi=$(sed -n 's/^#define C4C_ABI_VERSION //p' include/c4c.h)
include=$PWD/include
(cd "$work" && cc -std=c11 -g -fno-eliminate-unused-debug-types -fPIC -shared -I"$include" c4c.c -Wl,-soname,"libc4c.so.$abi" -o libc4c.so)
abidw --load-all-types --no-show-locs --no-corpus-path --no-comp-dir-path --type-id-style hash "$work/libc4c.so" --out-file "$work/c4c.abi"
[ "$(grep -c '<function-decl name=.c4c_' "$work/c4c.abi")" = "$(wc -l <tests/exports.txt)" ] || {
    echo "the header declares other functions than tests/exports.txt names" >&2
    exit 1
}

same=0
abidiff --harmless --non-reachable-types tests/abi/c4c.abi "$work/c4c.abi" || same=$?
# What is no constant for a compiler is none in debug information.
grep -oE '^#define C4C_[A-Z_]+ -?[0-9]+' include/c4c.h >"$work/macros"
diff tests/abi/macros "$work/macros" || same=1
if [ "${1:-}" = --accept ]; then
    cp "$work/c4c.abi" "$work/macros" tests/abi/
elif [ $same != 0 ]; then
    echo "If this is meant: tests/abi/check.sh --accept" >&2
    exit 1
fi
