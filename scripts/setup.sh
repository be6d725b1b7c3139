#!/bin/sh
# Installs what the build needs and is not there yet: system packages (as root, else it says which), and libtorch from its
# PyPI wheel. Does nothing, and needs no network, when all of it is there.
set -eu
cd "$(dirname "$0")/.."

TORCH=2.11.0 # tch 0.24 goes with this version and no other

RUST=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
rustc --version 2>/dev/null | awk -v want="$RUST" '
    { split($2, have, "."); split(want, need, "."); exit !(have[1] > need[1] || (have[1] == need[1] && have[2] >= need[2])) }
    END { exit NR == 0 }' && command -v cargo >/dev/null || {
    echo "Rust $RUST or newer is missing: https://rustup.rs says how to install it." >&2
    exit 1
}

missing=""
need() { # PACKAGE COMMAND...: the package is missing when the command fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
some_file() { for file in "$@"; do [ -e "$file" ] && return 0; done; return 1; }

need g++ c++ --version
need pkg-config pkg-config --version
need binutils readelf --version
need ffmpeg ffmpeg -version
# bindgen wants libclang and the headers that come with the compiler of the same version.
need libclang-dev some_file /usr/lib/llvm-*/lib/libclang.so /usr/lib/llvm-*/lib/libclang-[0-9]*.so "${LIBCLANG_PATH:-/nowhere}"/libclang*.so*
need libclang-dev some_file /usr/lib/llvm-*/lib/clang/*/include/stddef.h "${LIBCLANG_PATH:-/nowhere}"
for library in "avcodec 59.37" "avformat 59.27" "avutil 57.28" "swscale 6.7"; do # FFmpeg 5.1
    need "lib${library% *}-dev" pkg-config --exists "lib${library% *} >= ${library#* }"
done
if [ -z "${LIBTORCH:-}" ] && [ ! -e third_party/pytorch/torch/lib/libtorch_cpu.so ]; then
    need python3-pip python3 -m pip --version
fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "These packages are missing (names as in Debian and Ubuntu):$missing" >&2
        echo "Install them and run this again, for instance:  sudo apt-get install$missing" >&2
        exit 1
    fi
    echo "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ -z "${LIBTORCH:-}" ] && [ ! -e third_party/pytorch/torch/lib/libtorch_cpu.so ]; then
    echo "fetching libtorch $TORCH (about 540 MB)"
    rm -rf third_party/pytorch.part
    # The wheel's libtorch_cpu needs two small CUDA libraries to load, even where nothing runs on CUDA.
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --only-binary=:all: \
        --target third_party/pytorch.part "torch==$TORCH" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
    # Complete or not there.
    rm -rf third_party/pytorch
    mv third_party/pytorch.part third_party/pytorch
fi
