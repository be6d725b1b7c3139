#!/bin/sh
# Parity, speed and stress of libc4c on a machine with a GPU that has no Rust, no FFmpeg and no network.
#
#     tools/gpu_check.sh pack FOLDER [BUILD]    here: what travels, under 60 MB, of a finished build (target/release)
#     FOLDER/gpu_check.sh [--device cuda:1] [--quick] [--only parity,bench,stress] [--json FILE]
#                                               there: eight minutes, or two; the table comes last
#
# There Python 3 is needed, with torch 2.11 and numpy; a C compiler as well for the comparison with torch.compile. libtorch is
# torch's own. `--device cpu` runs what makes sense without a GPU. Exits with 0 when all checks passed, 1 when one failed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
MOST=60000000 # bytes

fail() { echo "gpu_check: $*" >&2 && exit 1; }

# What a library or program needs besides glibc, the compiler's libraries and what comes with torch, whose libgomp must be the
# only one of a process.
needed() {
    ldd "$1" | awk '
        /not found/ { print > "/dev/stderr"; bad = 1 }
        $3 ~ /^\// && $1 !~ /^(ld-linux.*|lib(c|m|mvec|dl|rt|pthread|resolv|util|anl|nsl))\.so/ &&
            $1 !~ /^lib(stdc\+\+|gcc_s|gomp|torch.*|c10.*|cudart|cupti.*)\.so/ { print $3 }
        END { exit bad }'
}

pack() {
    root=$(cd "$here/.." && pwd)
    build=$(cd "${2:-$root/target/release}" && pwd)
    for tool in patchelf strip xz ffmpeg; do command -v $tool >/dev/null || fail "$tool is missing"; done
    for name in libc4c.so c4c; do [ -e "$build/$name" ] || fail "there is no $name in $build; make build makes it"; done
    rm -rf "$1"
    mkdir -p "$1"
    to=$(cd "$1" && pwd)
    stage=$to/stage
    mkdir -p "$stage/lib" "$stage/bin" "$stage/models/demo/videos"

    strip --strip-unneeded -o "$stage/lib/libc4c.so.0" "$build/libc4c.so"
    strip --strip-unneeded -o "$stage/bin/c4c" "$build/c4c"
    # RPATH, not RUNPATH: it holds for what these need in turn as well, and the machine's own programs see nothing of it, as they
    # would of LD_LIBRARY_PATH.
    patchelf --force-rpath --set-rpath "\$ORIGIN" "$stage/lib/libc4c.so.0"
    patchelf --force-rpath --set-rpath "\$ORIGIN/../lib" "$stage/bin/c4c"
    needed "$build/libc4c.so" >"$to/needed" && needed "$build/c4c" >>"$to/needed" || fail "ldd does not find everything"
    sort -u "$to/needed" | while read -r library; do cp -L "$library" "$stage/lib/"; done
    rm "$to/needed"
    cp "$root"/models/demo/*.json* "$root/models/demo/pytorch_model.bin" "$stage/models/demo"
    cp "$root"/models/demo/videos/*.mp4 "$stage/models/demo/videos"

    # As the repository has them, so that they find each other.
    for name in tools/gpu_check/*.py benches/peers/clip_torch.py benches/peers/machine.py benches/peers/ours.py \
        benches/peers/prepare.py bindings/python/src/c4c/*.py assets/bpe_simple_vocab_16e6.txt.gz LICENSE NOTICE; do
        # shellcheck disable=SC2086 # a pattern
        for file in "$root"/$name; do
            install -D -m 644 "$file" "$to/${file#"$root/"}"
        done
    done
    mkdir "$to/videos"
    for codec in h264:libx264 hevc:libx265; do
        ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=1280x720:rate=25:duration=4 -c:v "${codec#*:}" -pix_fmt yuv420p -g 50 \
            -x265-params log-level=error "$to/videos/${codec%:*}.mp4" || fail "this ffmpeg cannot make a video with ${codec#*:}"
    done
    cp "$here/gpu_check.sh" "$to/gpu_check.sh"
    tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner -cf - . |
        xz --x86 --lzma2=preset=6,dict=192MiB >"$to/libraries.tar.xz"
    rm -rf "$stage"

    size=$(find "$to" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
    echo "$to: $size bytes, of which libraries.tar.xz $(wc -c <"$to/libraries.tar.xz")"
    [ "$size" -lt $MOST ] || fail "that is more than the $MOST that may travel"
}

check() {
    [ -e "$here/libraries.tar.xz" ] || fail "there is no libraries.tar.xz beside this script; 'gpu_check.sh pack FOLDER' makes a folder that has one"
    command -v python3 >/dev/null || fail "python3 is missing"
    torch=$(python3 -c 'import importlib.util as i; s = i.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")')
    [ -e "$torch/lib/libtorch_cpu.so" ] || fail "python3 has no torch: pip install torch==2.11.0 numpy"
    work=$(mktemp -d "${TMPDIR:-/tmp}/gpu_check.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    python3 - "$here/libraries.tar.xz" "$work" <<'EOF'
import sys, tarfile
with tarfile.open(sys.argv[1]) as archive:
    archive.extractall(sys.argv[2], filter="data")
EOF
    # What torch compiles goes with the rest.
    LD_LIBRARY_PATH=$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PYTHONDONTWRITEBYTECODE=1 \
        TORCHINDUCTOR_CACHE_DIR=$work/inductor TRITON_CACHE_DIR=$work/triton python3 "$here/tools/gpu_check/main.py" --work "$work" "$@"
}

case ${1:-} in
pack)
    [ $# -ge 2 ] || fail "pack needs the name of a folder to make"
    shift
    pack "$@"
    ;;
*) check "$@" ;;
esac
