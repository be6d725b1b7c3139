#!/bin/sh
# Compiles tap and compares what it makes of running pipelines with what c4c makes of files that hold the same frames.
#
#     C4C_TEST_WEIGHTS=FILE examples/gstreamer/test.sh
#
# Needs c4c and GStreamer's libraries by pkg-config, gst-launch-1.0 (Debian: gstreamer1.0-tools) and the base and good
# plugins. CFLAGS may hold what else the compiler is to be told.
set -eu
cd "$(dirname "$0")"

WEIGHTS=${C4C_TEST_WEIGHTS:?is unset: it names a checkpoint of CLIP4Clip, however small}
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT

fail() { echo "test.sh: $*" >&2; exit 1; }

# shellcheck disable=SC2046,SC2086 # several flags
compile() {
    ${CC:-cc} -std=c11 -O1 -g -Wall -Wextra -Wpedantic -Werror ${CFLAGS:-} "$1.c" -o "$TMP/$1" \
        $(pkg-config --cflags --libs c4c gstreamer-app-1.0 gstreamer-video-1.0) \
        "-Wl,-rpath,$(pkg-config --variable=libdir c4c)"
}
compile tap
compile reference

# SOURCE OPTION...: what tap prints, in lines.json
tap() { "$TMP/tap" "$WEIGHTS" "$@" --vectors >"$TMP/lines.json" || fail "tap $1: status $?"; }

# NAME EXPECTED: as many lines as in EXPECTED, each with its vector but for $TOLERANCE.
TOLERANCE=1e-6
same() {
    paste "$2" "$TMP/lines.json" | sed 's/{[^{]*"vector":\[\([^]]*\)\][^}]*}/\1/g' |
        awk -F '\t' -v name="$1" -v most=$TOLERANCE '
        { n = split($1, a, ","); m = split($2, b, ","); ab = aa = bb = 0
          for (i = 1; i <= n; i++) { ab += a[i] * b[i]; aa += a[i] * a[i]; bb += b[i] * b[i] }
          if (n < 2 || n != m || !(1 - ab / sqrt(aa * bb) <= most)) exit bad = 1
          if (1 - ab / sqrt(aa * bb) > far) far = 1 - ab / sqrt(aa * bb) }
        END { if (bad || NR == 0) { print "line " NR; exit 1 }; printf "%-32s 1 - cosine %.1e\n", name, far }' ||
        fail "$1: not the vector of the same frames in a file"
}

# One window of 12 frames, which nothing can make tap skip. VP9 with quantizer 0 loses nothing, and its files tell the
# colours' matrix and range.
RATE=framerate=120/1
EVERY="--every 0.1"
FRAMES="videotestsrc num-buffers=12 pattern=smpte100 horizontal-speed=3"
FULL=1:3:5:1 # range, and BT.709 thrice
for picture in 321x241,bt601 321x241,bt709 321x241,bt2020 321x241,$FULL 640x360,bt709; do
    size=${picture%,*}
    raw="$FRAMES ! video/x-raw,width=${size%x*},height=${size#*x},$RATE,colorimetry=${picture#*,}"
    # shellcheck disable=SC2086 # a pipeline
    gst-launch-1.0 -q $raw,format=I420 ! vp9enc min-quantizer=0 max-quantizer=0 deadline=1 ! webmmux ! \
        filesink "location=$TMP/lossless.webm"
    "$TMP/reference" "$WEIGHTS" "$TMP/lossless.webm" 0.1 12 >"$TMP/expected.json"
    for format in NV12 I420; do
        tap "$raw,format=$format" $EVERY
        same "$picture $format" "$TMP/expected.json"
    done
    # The decoder's own buffers, whose rows are padded as it likes: GstVideoMeta tells how.
    tap "$TMP/lossless.webm" $EVERY
    same "$picture decoded" "$TMP/expected.json"
done

# RGB, whose colours GStreamer and swscale do not round alike, and at odd widths do not interpolate alike either.
TOLERANCE=1e-4
raw="videotestsrc num-buffers=12 pattern=smpte100 ! video/x-raw,width=322,height=242,$RATE"
tap "$raw,format=NV12" $EVERY
cp "$TMP/lines.json" "$TMP/expected.json"
for format in RGB BGR RGBA BGRA RGBx BGRx YV12; do # videoconvert makes something of the last
    tap "$raw,format=$format" $EVERY
    same "$format" "$TMP/expected.json"
done

# A tag that asks for a turn does what turning does.
raw="$FRAMES ! video/x-raw,width=320,height=240,$RATE,format=NV12"
for turn in 90:90r 180:180 270:90l; do
    tap "$raw ! videoflip video-direction=${turn#*:}" $EVERY
    cp "$TMP/lines.json" "$TMP/expected.json"
    tap "$raw ! taginject tags=image-orientation=rotate-${turn%:*}" $EVERY
    same "turned by ${turn%:*}" "$TMP/expected.json"
done

# Which frames make a window: 12 of 30, all of 5, one, and what is there at the end. A second lies between two of them,
# so that the first is done with when the next comes.
windows() {
    expected=$1
    shift
    tap "$@" --every 1
    got=$(awk -F '[:,]' '{ printf "%s%s-%s:%s", (NR > 1 ? " " : ""), $2, $4, $6 }' "$TMP/lines.json")
    [ "$got" = "$expected" ] || fail "$1: windows are $got"
}
windows "0.000-0.933:12 1.000-1.933:12" "videotestsrc num-buffers=60 ! video/x-raw,framerate=30/1"
windows "0.000-0.800:5 1.000-1.800:5" "videotestsrc num-buffers=10 ! video/x-raw,framerate=5/1"
windows "0.000-0.000:1 1.000-1.000:1" "videotestsrc num-buffers=33 ! video/x-raw,framerate=30/1" --window 1
windows "0.000-0.167:3" "videotestsrc num-buffers=6 ! video/x-raw,framerate=30/1" --text "a dog" --text "a cat"
grep -q '"cosines":\[[-0-9.e]*,[-0-9.e]*\]' "$TMP/lines.json" || fail "two texts have not two cosines"

# A picture of 4K every millisecond is more than can be embedded: most are skipped, counted, and nobody waits.
still="videotestsrc num-buffers=1 ! video/x-raw,width=3840,height=2160 ! imagefreeze num-buffers=300"
tap "$still ! video/x-raw,framerate=1000/1" --every 0.001 --window 1
tail -n 1 "$TMP/lines.json" | grep -q '"windows_skipped":[1-9][0-9]*,"frames_dropped":[1-9]' ||
    fail "no window was skipped"

# Ends: a signal is a good one, errors are not.
for signal in INT TERM; do
    rm -f "$TMP/live.json"
    "$TMP/tap" "$WEIGHTS" "videotestsrc is-live=true" --every 0.1 >"$TMP/live.json" &
    tap=$!
    while [ ! -s "$TMP/live.json" ]; do
        kill -0 $tap 2>/dev/null || fail "a live source came to an end"
        sleep 0.1
    done
    (sleep 60; kill -KILL $tap) >/dev/null 2>&1 & # it would run on for ever
    watchdog=$!
    kill -$signal $tap
    wait $tap || fail "SIG$signal: status $?"
    kill $watchdog
done

wrong() { # STATUS MESSAGE ARGUMENT...
    status=$1 message=$2
    shift 2
    result=0
    "$TMP/tap" "$@" >"$TMP/lines.json" 2>"$TMP/errors" || result=$?
    [ $result = "$status" ] || fail "tap $*: status $result"
    grep -q "$message" "$TMP/errors" || fail "tap $*: $(cat "$TMP/errors")"
    [ ! -s "$TMP/lines.json" ] || fail "tap $*: printed a result"
}
wrong 1 C4C_E_WEIGHTS_IO "$TMP/none" videotestsrc
wrong 1 C4C_E_TIMEOUT "$WEIGHTS" "videotestsrc num-buffers=3" --deadline 0.000001
wrong 1 "no element" "$WEIGHTS" "nosuchsource ! identity"
wrong 1 "not found" "$WEIGHTS" "file://$TMP/none"
wrong 1 "could not link" "$WEIGHTS" audiotestsrc
undated="num-buffers=3 sizetype=fixed sizemax=230400 ! video/x-raw,format=RGB,width=320,height=240,framerate=30/1"
wrong 1 timestamps "$WEIGHTS" "fakesrc format=time $undated"
wrong 1 timestamps "$WEIGHTS" "fakesrc format=bytes $undated"
wrong 2 arguments "$WEIGHTS" videotestsrc --every 0
wrong 2 arguments "$WEIGHTS"
echo "all is as it is to be"
