#!/bin/sh
# The engine's own tests (src/runtime) under ThreadSanitizer: lines, permits, cancelling, many callers of all kinds.
#
#     C4C_ROUNDS=2000 tests/tsan.sh [FILTER]
#
# Needs nothing but what the build needs, and minutes for its first build, in target/tsan. What is instrumented is this
# crate and what of its dependencies goes into it, the engine's locks among them. The standard library as it is shipped is
# not, nor is libtorch: what is reported of threads and handles whose last use the sanitizer cannot see, and of channels,
# which wait on the standard library's locks, is left out by name below.
set -eu
cd "$(dirname "$0")/.."

HOST=$(rustc -vV | sed -n 's/^host: //p')
OUT=$PWD/target/tsan
mkdir -p "$OUT"

# The sanitizer is not stable, though it comes with the stable compiler.
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
    cargo test --target "$HOST" --target-dir "$OUT" --lib --no-run 2>&1 | tee "$OUT/build.log"
TEST=$(sed -n 's/.*Executable unittests src\/lib.rs (\(.*\))$/\1/p' "$OUT/build.log")
[ -n "$TEST" ] || exit 1

# Nothing would be found without it, and nothing would say so.
nm "$TEST" | grep -q ' T __tsan_init$' || { echo "the test has no sanitizer" >&2; exit 1; }
objdump -d "$TEST" | grep -A400 'Permits.*take.*>:$' | grep -q __tsan_ || { echo "the engine is not instrumented" >&2; exit 1; }

cat >"$OUT/suppressions" <<'EOF'
called_from_lib:libtorch_cpu.so
called_from_lib:libgomp
called_from_lib:libc10.so
race:crossbeam_channel
race:drop_slow
race:Arc<std::sync::poison::mutex::Mutex<core::option::Option<test::run_test
race:Arc<std::thread::thread::Inner
race:CompletedTest
race:std::thread::lifecycle
EOF
rm -f "$OUT"/report.*
TSAN_OPTIONS="suppressions=$OUT/suppressions log_path=$OUT/report exitcode=66 history_size=7" \
    "$TEST" --test-threads=2 "${1:-runtime::}"
for report in "$OUT"/report.*; do
    [ -e "$report" ] || continue
    cat "$report"
    exit 1
done
echo "no races"
