#!/bin/sh
# Installs a build into an empty prefix and uses it as programs in C, C++, Go and Python do, with the installed files alone and
# nothing of this shell's environment.
#
#     tests/installed/run.sh BUILD [TEST...]     the folder with libc4c.so, libc4c.a and c4c: target/debug
#
# Prints a line a test, as cargo does, and what a failed one said.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
build=$(cd "$1" && pwd) || exit 1
shift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
torch=${LIBTORCH:-$root/third_party/pytorch/torch}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/c4c
prefix=$work/prefix
home=$work/home
mkdir -p "$home"

go=$(command -v go || echo "$cache/tests/bin/go")
[ -x "$cache/tests/bin/go" ] && go=$cache/tests/bin/go
# What a shell of somebody who has just logged in knows, and where this package was put. CGO_CFLAGS is what tells Go's cache, which
# does not see what pkg-config says, that the library is another one.
clean() {
    env -i PATH="/usr/local/bin:/usr/bin:/bin:$(dirname "$go")" HOME="$home" LANG=C.UTF-8 PKG_CONFIG_PATH="$prefix/lib/pkgconfig" \
        LD_LIBRARY_PATH="$prefix/lib" CMAKE_PREFIX_PATH="$prefix" C4C_TEST_WEIGHTS="$weights" C4C_TEST_VIDEO="$video" \
        C4C_TEST_HEADER="$prefix/include/c4c.h" GOCACHE="$cache/go-build" GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local \
        CGO_CFLAGS="-O2 -g -I$prefix/include" "$@"
}
weights=$work/tiny.bin
video=$work/video.mp4

prepare() {
    cargo run --quiet --example make_checkpoint -- "$weights" tiny &&
        ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=size=320x240:rate=25 -frames:v 50 -c:v libx264 -pix_fmt yuv420p "$video" &&
        scripts/third_party.py >"$build/THIRD-PARTY" && PREFIX=$prefix scripts/install.sh "$build"
}

# The same list of files as ever, none of which knows where it was put or that it was staged; what is taken away is ours.
files() {
    (cd "$prefix" && find . ! -type d | LC_ALL=C sort) >"$work/files" &&
        sed "s/@version@/$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)/" tests/installed/files.txt | diff - "$work/files" &&
        readelf -d "$prefix/lib/libc4c.so" | grep -q 'SONAME.*\[libc4c.so.0\]' &&
        readelf -d "$prefix/lib/libc4c.so" | grep -q 'RUNPATH.*\[$ORIGIN/c4c\]' &&
        readelf -d "$prefix/bin/c4c" | grep -q 'RUNPATH.*\[$ORIGIN/../lib/c4c\]' &&
        ! grep -rlF "$prefix" "$prefix" &&
        DESTDIR=$work/stage PREFIX=/opt/c4c scripts/install.sh "$build" && diff -r "$prefix" "$work/stage/opt/c4c" &&
        DESTDIR=$work/root PREFIX=/ LIBDIR=/lib scripts/install.sh "$build" && diff -r "$prefix" "$work/root" &&
        touch "$work/stage/opt/c4c/lib/c4c/theirs" "$work/stage/opt/c4c/lib/libc4c.so.0.0.1" &&
        DESTDIR=$work/stage PREFIX=/opt/c4c scripts/install.sh "$build" &&
        [ ! -e "$work/stage/opt/c4c/lib/libc4c.so.0.0.1" ] &&
        DESTDIR=$work/stage PREFIX=/opt/c4c scripts/install.sh --uninstall &&
        [ "$(find "$work/stage" ! -type d)" = "$work/stage/opt/c4c/lib/c4c/theirs" ] &&
        ! PREFIX=relative scripts/install.sh "$build" 2>/dev/null
    found=$?
    rm -rf "$work/stage" "$work/root"
    return $found
}

exports() { nm -D --defined-only "$prefix/lib/libc4c.so" | awk '{ print $3 }' | diff tests/exports.txt -; }

# The manual knows every command that the tool has.
manual() {
    mandoc -Tlint -Wwarning "$prefix/share/man/man1/c4c.1" &&
        clean "$prefix/bin/c4c" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }' >"$work/commands" &&
        [ -s "$work/commands" ] && while read -r command; do grep -q "^\.It Cm $command" packaging/c4c.1 || return 1; done <"$work/commands" &&
        clean "$prefix/bin/c4c" info "$weights" | grep -q '^problems *none'
}

# The demonstration's model comes along, and this machine computes with it what it should.
selftest() {
    clean "$prefix/bin/c4c" selftest --all-precisions && clean "$prefix/bin/c4c" index "$prefix/share/c4c/demo/videos" -o "$work/demo.db" &&
        clean "$prefix/bin/c4c" search -i "$work/demo.db" -k 1 "a ball moves to the right" | grep -q 'orange-circle-right\.mp4$'
}

answers() { # PROGRAM: the example's output has a vector of unit length
    clean "$1" "$weights" "$video" "a dog" | tee -a /dev/stderr | grep -q 'norm \(1\.0000\|0\.9999\)'
}

c_shared() {
    clean sh -c 'cc -Wall -Wextra -Werror examples/c/embed_video.c -o "$0" $(pkg-config --cflags --libs c4c) -lm' "$work/c_shared" &&
        answers "$work/c_shared"
}

c_static() {
    clean sh -c 'cc examples/c/embed_video.c -o "$0" $(pkg-config --cflags c4c) $(pkg-config --variable=libdir c4c)/libc4c.a \
        $(pkg-config --static --libs c4c | sed s/-lc4c//) -lm' "$work/c_static" &&
        ! readelf -d "$work/c_static" | grep -q libc4c && answers "$work/c_static"
}

# The folder that was installed can be moved.
c_moved() {
    mv "$prefix" "$prefix-elsewhere" && prefix=$prefix-elsewhere && c_shared
    moved=$?
    mv "$work/prefix-elsewhere" "$work/prefix"
    prefix=$work/prefix
    return $moved
}

cmake_c() {
    mkdir -p "$work/cmake_c/once" "$work/cmake_c/again" && for folder in once again; do
        printf 'find_package(c4c REQUIRED CONFIG)\nadd_executable(%s %s)\ntarget_link_libraries(%s c4c::c4c m)\n' \
            $folder "$root/examples/c/embed_video.c" $folder >"$work/cmake_c/$folder/CMakeLists.txt"
    done && cat >"$work/cmake_c/CMakeLists.txt" <<EOF
cmake_minimum_required(VERSION 3.18)
project(app C CXX)
add_subdirectory(once)
find_package(c4c 0.1 REQUIRED CONFIG)
add_executable(shared $root/examples/c/embed_video.c)
target_link_libraries(shared c4c::c4c m)
add_executable(static $root/examples/c/embed_video.c)
target_link_libraries(static c4c::c4c_static m)
add_subdirectory(again)
find_package(c4c 0.2 QUIET CONFIG)
if(c4c_FOUND)
    message(FATAL_ERROR "0.1 is taken for 0.2")
endif()
EOF
    clean cmake -S "$work/cmake_c" -B "$work/cmake_c/build" && clean cmake --build "$work/cmake_c/build" &&
        answers "$work/cmake_c/build/shared" && answers "$work/cmake_c/build/static"
}

interface() { tests/abi/check.sh; }

# Warnings are errors there.
reference() { doxygen docs/Doxyfile; }

# libtorch from where the host has it.
other_libtorch() {
    mkdir -p "$work/other" && LIBTORCH=$torch PREFIX=$work/other scripts/install.sh "$build" &&
        [ ! -e "$work/other/lib/c4c" ] && mv "$prefix" "$prefix-elsewhere" && ln -s other "$prefix" && c_shared && c_static
    other=$?
    rm -rf "$prefix" "$work/other"
    mv "$prefix-elsewhere" "$prefix"
    return $other
}

cmake_project() { # SOURCE BUILD OPTION...
    source=$1
    to=$work/$2
    shift 2
    clean cmake -S "$source" -B "$to" "$@" && clean cmake --build "$to" -j "$(nproc)"
}

cpp() { cmake_project bindings/cpp cpp && clean ctest --test-dir "$work/cpp" --output-on-failure; }

cpp_sanitized() {
    cmake_project bindings/cpp cpp_sanitized -DC4C_SANITIZE=ON &&
        clean ctest --test-dir "$work/cpp_sanitized" --output-on-failure
}

cpp_examples() {
    cmake_project examples/cpp cpp_examples &&
        clean "$work/cpp_examples/search" "$weights" "a dog" "$video" | grep -q "$video" &&
        clean "$work/cpp_examples/avframe" "$weights" "$video" "a dog" &&
        ffmpeg -nostdin -v error -y -i "$video" -c copy -bsf:v h264_mp4toannexb "$work/raw.h264" && # has no timestamps
        clean "$work/cpp_examples/avframe" "$weights" "$work/raw.h264" "a dog"
}

in_go() { (cd bindings/go && clean "$@"); }

go_vet() {
    gofmt=$("$go" env GOROOT)/bin/gofmt
    in_go "$go" vet ./... && if [ -x "$gofmt" ]; then [ -z "$("$gofmt" -l bindings/go examples/go)" ]; fi
}
go_race() { in_go "$go" test -count=1 -race ./...; }
go_checked() { in_go env GOEXPERIMENT=cgocheck2 "$go" test -count=1 ./...; }
go_service() { (cd examples/go && clean "$go" vet ./... && clean "$go" test -count=1 -race ./...); }

python=$cache/tests/bin/python

# The wheel with the installed library, into a folder of its own; torch's is the one that was built with.
python_wheel() {
    [ -d "$work/site" ] || {
        cp -r bindings/python "$work/python" &&
            clean env C4C_LIBRARY="$prefix/lib/libc4c.so.0" "$python" -m pip wheel --quiet --no-deps --no-build-isolation \
                -w "$work/wheels" "$work/python" &&
            clean "$python" -m pip install --quiet --no-deps --no-index --target "$work/site" "$work"/wheels/*.whl
    }
}

in_python() {
    (cd bindings/python && clean env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$work/site:$(dirname "$torch")" \
        C4C_TEST_TORCH="$(dirname "$torch")" "$@")
}

# The installed library, which needs no torch; its tests make and try a wheel, too.
python() { python_wheel && in_python env C4C_LIBRARY="$prefix/lib/libc4c.so.0" "$python" -m pytest -q -p no:cacheprovider; }

python_example() {
    python_wheel && in_python "$python" -c "
import sys, c4c
with c4c.Model(sys.argv[1]) as model:
    video = model.embed_video(sys.argv[2])
    words = model.embed_text('a dog runs on the beach')
    assert -1 <= float(words @ video) <= 1 and abs(float(video @ video) - 1) < 1e-5
" "$weights" "$video"
}

python_lint() {
    (cd bindings/python && "$cache/tests/bin/ruff" check --no-cache . && "$cache/tests/bin/ruff" format --no-cache --check . &&
        "$python" -m mypy --cache-dir "$work/mypy")
}

gstreamer() { clean examples/gstreamer/test.sh; }

all="files exports manual selftest interface reference c_shared c_static c_moved other_libtorch cmake_c cpp cpp_sanitized cpp_examples go_vet go_race go_checked go_service \
python python_example python_lint gstreamer"
# These are about the libtorch that an installation brings along, where the build has not been given another.
[ -z "${LIBTORCH:-}" ] || all=$(echo "$all" | sed 's/files//; s/other_libtorch//')
passed=0
failed=
prepare || exit 1
for name in ${*:-$all}; do
    if "$name" >"$work/$name.log" 2>&1; then
        echo "test installed::$name ... ok"
        passed=$((passed + 1))
    else
        echo "test installed::$name ... FAILED"
        failed="$failed $name"
    fi
done
for name in $failed; do
    echo "---- installed::$name ----"
    tail -n 60 "$work/$name.log"
done
set -- $failed
echo "test result: $([ $# = 0 ] && echo ok || echo FAILED). $passed passed; $# failed"
[ $# = 0 ]
