#!/usr/bin/env python3
"""How time and memory grow with the number of images, texts and callers and with the length of a video.

    growth.py [--library FILE] [--weights FILE] [--precision f32|bf16] [--threads N]
              [--only images|texts|video|callers] [--points N,N...] [--quick] [--json FILE] [--out FOLDER]

Prints a table for each curve and writes a picture of it into the folder. README.md says what is measured.
"""
import argparse
import ctypes as c
import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent / "peers")]
import picture

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "c4c"

# Steeper than this is worth a look: measurements of what is linear stay below.
STEEP = 1.1
# What two runs of the same differ by, in MiB.
NOISE = 4
LIMIT_S = 1800

FRAMES = 12
FRAME_SIZE = (320, 240)
TEXT = "a man in a red jacket rides his bicycle along the beach {}"
# A text takes so little that starting the callers together would count.
TEXTS_IN_TURN = 8


class Curve:
    """`points` are what is measured, `few` what --quick does; `name(n)` is the label of a point."""

    def __init__(self, part, title, axis, item, points, few, name=str):
        self.part, self.title, self.axis, self.item = part, title, axis, item
        self.points, self.few, self.name = points, few, name


def duration(seconds):
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds} s"


CURVES = {
    "images": Curve("images", "Images in one call", "images", "image",
                    (1, 2, 4, 8, 12, 16, 24, 48, 96, 192, 384), (1, 4, 12, 48)),
    "texts": Curve("texts", "Texts in one call", "texts", "text",
                   (1, 2, 4, 8, 16, 32, 64, 128, 256), (1, 8, 64)),
    "video": Curve("video", "Length of a video file", "length of the video", "minute of video",
                   (1, 10, 60, 600, 3600, 7200), (1, 10, 60, 600), duration),
    "callers_frames": Curve("callers", f"Callers at once, a video of {FRAMES} frames each", "callers", "call",
                            (1, 2, 4, 8, 16), (1, 2, 4)),
    "callers_texts": Curve("callers", "Callers at once, a text each", "callers", "call", (1, 2, 4, 8, 16), (1, 2, 4)),
}


# A point: a process of its own, which prints JSON.

def memory_mib():
    """The largest resident set since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def pictures(count):
    """`c4c_frame`s of noise. A dozen lie in memory, so that the caller's own memory does not grow with their number."""
    width, height = FRAME_SIZE
    bytes_ = [c.create_string_buffer(os.urandom(width * height * 3)) for _ in range(min(count, FRAMES))]
    from c4c import PixelFormat
    from c4c._abi import c4c_frame
    frames = (c4c_frame * count)()
    for i, frame in enumerate(frames):
        frame.struct_size, frame.format = c.sizeof(c4c_frame), PixelFormat.RGB24
        frame.width, frame.height = width, height
        frame.planes[0], frame.strides[0] = c.addressof(bytes_[i % FRAMES]), width * 3
    frames.kept = bytes_
    return frames


def sentences(count, first=0):
    return (c.c_char_p * count)(*[TEXT.format(first + i).encode() for i in range(count)])


class Calls:
    """Calls with everything that the caller brings, so that only what the library takes is measured."""

    def __init__(self, model):
        self.model = model

    def rows(self, count):
        floats = count * self.model.dim
        room = (c.c_float * floats)(*[1.0] * floats)
        return room, c.c_size_t(floats)

    def prepared(self, name, *arguments, rows):
        """A call without arguments."""
        out, room = self.rows(rows)
        return lambda: self.model.call(name, *arguments, None, out, room)

    def images(self, n):
        return self.prepared("c4c_embed_images", pictures(n), c.c_size_t(n), rows=n)

    def texts(self, n, first=0):
        return self.prepared("c4c_embed_text", sentences(n, first), c.c_size_t(n), rows=n)

    def frames(self):
        return self.prepared("c4c_embed_frames", pictures(FRAMES), c.c_size_t(FRAMES), rows=1)

    def video(self, path):
        options = self.model.c4c.VideoOptions(decode_threads=self.model.threads).to_c()
        return self.prepared("c4c_embed_video_path", str(path).encode(), c.byref(options), rows=1)


class Together:
    """Threads that make their calls at the same time: a round is over when the last one has its answer."""

    def __init__(self, calls, in_turn):
        self.start, self.end = (threading.Barrier(len(calls) + 1) for _ in range(2))
        self.failure = None
        for call in calls:
            threading.Thread(target=self.caller, args=(call, in_turn), daemon=True).start()

    def caller(self, call, in_turn):
        while True:
            self.start.wait()
            try:
                for _ in range(in_turn):
                    call()
            except Exception as failure:
                self.failure = failure
            self.end.wait()

    def __call__(self):
        self.start.wait()
        self.end.wait()
        if self.failure:
            raise self.failure


def work(curve, n, model, video):
    """What is measured, and how many times over it is done."""
    calls = Calls(model)
    if curve == "images":
        return calls.images(n), 1
    if curve == "texts":
        return calls.texts(n), 1
    if curve == "video":
        return calls.video(video), 1
    if curve == "callers_frames":
        return Together([calls.frames() for _ in range(n)], 1), 1
    return Together([calls.texts(1, i) for i in range(n)], TEXTS_IN_TURN), TEXTS_IN_TURN


def point(asked):
    import ours

    with ours.Model(asked["library"], asked["weights"], asked["precision"], asked["threads"]) as model:
        run, times = work(asked["curve"], asked["n"], model, asked["video"])
        Path("/proc/self/clear_refs").write_text("5")
        before = memory_mib()
        run()
        least, budget_s = (2, 0.3) if asked["quick"] else (3, 3.0)
        took = []
        while len(took) < least or len(took) < 15 and sum(took) < budget_s:
            start = time.perf_counter()
            run()
            took.append(time.perf_counter() - start)
        peak = memory_mib() - before
        ms = [1e3 * t / times for t in took]
        about = {**model.about(), "threads": model.info()["num_threads"]}
    return {"n": asked["n"], "ms": statistics.median(ms), "min_ms": min(ms), "rounds": len(ms), "peak_mib": peak,
            "about": about}


# The driver.

def ffmpeg(*arguments, out):
    part = out.with_name(out.stem + ".part" + out.suffix)
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments, str(part)], check=True)
    part.rename(out)  # complete or not there


def video_file(folder, seconds):
    """H.264 of 640x360 at 25 frames a second; what is longer than a minute is that minute over and over."""
    path = folder / f"{seconds}s.mp4"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    if seconds <= 60:
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-frames:v", str(seconds * 25), "-c:v", "libx264",
               "-preset", "veryfast", "-crf", "28", "-pix_fmt", "yuv420p", out=path)
    else:
        minute = video_file(folder, 60)
        ffmpeg("-stream_loop", str(seconds // 60 - 1), "-i", str(minute), "-c", "copy", out=path)
    return path


def measure(arguments, curve, n):
    asked = {"curve": curve, "n": n, "library": str(arguments.library.resolve()), "weights": str(arguments.weights),
             "precision": arguments.precision, "threads": arguments.threads, "quick": arguments.quick,
             "video": str(video_file(arguments.videos, n)) if curve == "video" else None}
    done = subprocess.run([sys.executable, __file__, "--point", json.dumps(asked)], stdout=subprocess.PIPE, text=True,
                          timeout=LIMIT_S)
    if done.returncode:
        sys.exit(f"growth.py: {curve} at {n} failed")
    return json.loads(done.stdout)


def slope(xs, ys):
    """The exponent e of the power y = a x^e that fits best."""
    xs, ys = [math.log(x) for x in xs], [math.log(y) for y in ys]
    x, y = statistics.fmean(xs), statistics.fmean(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys)) / sum((a - x) ** 2 for a in xs)


def growth(points):
    """The exponents over all points and over the last three, and how memory ends."""
    def exponents(key, least):
        def over(part):
            return slope([p["n"] for p in part], [max(p[key], least) for p in part])
        return {"overall": over(points), "upper_end": over(points[-3:])}

    *_, before, last = points
    more = last["peak_mib"] - before["peak_mib"]
    times, memory = exponents("ms", 1e-6), exponents("peak_mib", 0.1)
    return {"time": {**times, "steep": max(times.values()) > STEEP},
            "memory": {**memory, "steep": max(memory.values()) > STEEP,
                       "bounded": more <= max(NOISE, 0.1 * before["peak_mib"]),
                       "mib_per_n_at_the_end": more / (last["n"] - before["n"])}}


def items(curve, n):
    return n / 60 if curve == "video" else n


def number(value):
    """Three digits of it."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(key, result):
    curve, grows = CURVES[key], result["growth"]
    lines = [f"### {curve.title}", "",
             f"| {curve.axis} | ms, median | ms, least | ms per {curve.item} | peak memory, MiB |",
             "| ---: | ---: | ---: | ---: | ---: |"]
    for p in result["points"]:
        cells = (curve.name(p["n"]), number(p["ms"]), number(p["min_ms"]), number(p["ms"] / items(key, p["n"])),
                 f"{p['peak_mib']:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| exponent | overall | at the upper end | |", "| --- | ---: | ---: | --- |"]
    for what, name in (("time", "time"), ("memory", "peak memory")):
        g = grows[what]
        remarks = [f"**over {STEEP}**"] if g["steep"] else []
        if what == "memory" and g["bounded"]:
            remarks.append("bounded")
        elif what == "memory":
            each = g["mib_per_n_at_the_end"] * (60 if key == "video" else 1)
            remarks.append(f"**not bounded**: {number(each)} MiB for each further {curve.item}")
        lines.append(f"| {name} | {g['overall']:.2f} | {g['upper_end']:.2f} | {', '.join(remarks)} |")
    return "\n".join(lines) + "\n"


def panels(key, result):
    curve = CURVES[key]
    def panel(field, title, guide):
        points = [(p["n"], p[field], curve.name(p["n"])) for p in result["points"]]
        return {"title": title, "x_label": curve.axis, "points": points, "guide": guide}
    return [panel("ms", "time, ms", True), panel("peak_mib", "peak memory, MiB", False)]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return os.uname().machine


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", type=Path, default=ROOT / "target/release/libc4c.so")
    parser.add_argument("--weights", type=Path, default=CACHE / "random_vit_b32.bin")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--threads", type=int, default=0, help="of a forward pass and of decoding; 0: one per core")
    parser.add_argument("--only", choices=sorted({curve.part for curve in CURVES.values()}))
    parser.add_argument("--points", type=lambda text: sorted(int(n) for n in text.split(",")),
                        help="others than the curve's own (video: seconds, whole minutes from 60 on)")
    parser.add_argument("--quick", action="store_true", help="fewer points, fewer rounds")
    parser.add_argument("--videos", type=Path, default=CACHE / "growth", help="where the videos are made and kept")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "target/growth", help="where the pictures go")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = parse()
    if arguments.point:
        print(json.dumps(point(json.loads(arguments.point))))
        return
    for file in (arguments.library, arguments.weights):
        if not file.exists():
            sys.exit(f"growth.py: there is no {file}; `make demo` makes the library and random weights")
    if arguments.points and not (arguments.only and len(set(arguments.points)) > 1 and arguments.points[0] > 0):
        sys.exit("growth.py: --points wants --only, and at least two numbers above 0")
    try:
        import ours  # noqa: F401
    except ModuleNotFoundError as missing:
        sys.exit(f"growth.py: {missing}; the environment of benches/peers has what is needed")
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = {"processor": processor(), "cores": len(os.sched_getaffinity(0)), "precision": arguments.precision,
              "quick": arguments.quick, "curves": {}}
    for key, curve in CURVES.items():
        if arguments.only not in (None, curve.part):
            continue
        points = []
        for n in arguments.points or (curve.few if arguments.quick else curve.points):
            points.append(measure(arguments, key, n))
            report["library"] = points[-1].pop("about")
            print(f"{key} {curve.name(n)}: {number(points[-1]['ms'])} ms", file=sys.stderr)
        result = report["curves"][key] = {"points": points, "growth": growth(points)}
        print(table(key, result), flush=True)
        threads = report["library"]["threads"]
        where = f"{arguments.precision}, {threads} thread{'s' * (threads != 1)}, {report['processor']}"
        svg = picture.draw(curve.title, where, panels(key, result))
        (arguments.out / f"growth_{key}.svg").write_text(svg)
        if arguments.json:
            arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
