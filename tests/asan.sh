#!/bin/sh
# Decodes damaged and made-up videos (hostile_video.rs) and computes models of odd widths (shapes.rs) under AddressSanitizer:
# this library's Rust, C and C++ are instrumented, and what FFmpeg and libtorch take and give back of memory is watched.
#
#     C4C_ROUNDS=2000 C4C_MEDIA=FOLDER tests/asan.sh [FILTER]
#
# Needs nothing but what the build needs, and minutes for its first build, in target/asan. LEAKS=0 where processes must not
# trace each other, as in some containers: looking for leaks needs that.
set -eu
cd "$(dirname "$0")/.."

HOST=$(rustc -vV | sed -n 's/^host: //p')
OUT=$PWD/target/asan
mkdir -p "$OUT"

# Only what goes into the test is instrumented: build scripts are linked without the sanitizer.
for compiler in cc c++; do
    cat >"$OUT/$compiler" <<EOF
#!/bin/sh
case "\$*" in
*/asan/$HOST/*) exec $compiler -fsanitize=address "\$@" ;;
*) exec $compiler "\$@" ;;
esac
EOF
    chmod +x "$OUT/$compiler"
done

# The sanitizer is not stable, though it comes with the stable compiler.
build() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CC=$OUT/cc CXX=$OUT/c++ \
        cargo test --target "$HOST" --target-dir "$OUT" --test hostile_video --test shapes --no-run 2>&1
}
build | tee "$OUT/build.log"
TEST=$(sed -n 's/.*Executable tests\/hostile_video.rs (\(.*\))$/\1/p' "$OUT/build.log")
SHAPES=$(sed -n 's/.*Executable tests\/shapes.rs (\(.*\))$/\1/p' "$OUT/build.log")
[ -n "$TEST" ] && [ -n "$SHAPES" ] || exit 1

# Nothing would be found without it, and nothing would say so: the runtime is there, and our C calls it.
nm "$TEST" | grep -q ' T __asan_init$' || { echo "the test has no sanitizer" >&2; exit 1; }
objdump -d "$TEST" --disassemble=c4c_av_orientation | grep -q __asan_ || { echo "the C is not instrumented" >&2; exit 1; }
objdump -d "$SHAPES" --disassemble=c4c_pass_images | grep -q __asan_ || { echo "the C++ is not instrumented" >&2; exit 1; }

rm -f "$OUT"/report.*
# Reports go to files, since the test takes stderr for itself. FFmpeg is told no where a file asks for more memory than there
# is. What was freed is kept for a short while only, since the test bounds memory; endless_sources does so more tightly than
# the sanitizer's allocator allows.
export ASAN_OPTIONS="log_path=$OUT/report:allocator_may_return_null=1:quarantine_size_mb=16:detect_leaks=${LEAKS:-1}"
"$SHAPES" --nocapture && "$TEST" --nocapture --skip endless_sources "$@" || {
    status=$?
    cat "$OUT"/report.* >&2 2>/dev/null || true
    exit $status
}
echo "no report of AddressSanitizer"
