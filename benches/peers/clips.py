"""The test videos, and section B: what decoding twelve frames of them takes."""
import argparse
import os
import shutil
import subprocess
import sys

import decode

# Something of every frequency that moves, with noise, so that a codec has to work as on a film.
PATTERN = ("testsrc2=size=1920x1080:rate=25", "mandelbrot=size=1920x1080:rate=25:maxiter=200")
FULL = "scale=1920:1080:flags=bicubic,setsar=1"
# name: (seconds, filters, encoder). Groups of pictures of up to 250 frames, but for the codec's own rules.
FILES = {
    "320x240.mp4": (10, "scale=320:240", ["-c:v", "libx264"]),
    "h264.mp4": (30, FULL, ["-c:v", "libx264", "-preset", "medium", "-g", "250"]),
    "h265.mp4": (30, FULL, ["-c:v", "libx265", "-preset", "fast", "-x265-params", "log-level=error"]),
    "vp9.webm": (30, FULL, ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "7", "-row-mt", "1", "-b:v", "3M"]),
    "av1.mkv": (30, FULL, ["-c:v", "libsvtav1", "-preset", "10"]),
}
LONG = "h264-10min.mp4"
QUICK = ("320x240.mp4", "h264.mp4")


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True,
                   env=os.environ | {"SVT_LOG": "1"})


def source(video, folder):
    if video:
        return ["-stream_loop", "-1", "-i", video]
    pattern = folder / "pattern.mp4"
    if not pattern.exists():
        part = folder / "part-pattern.mp4"
        first, second = PATTERN
        ffmpeg("-f", "lavfi", "-t", "10", "-i", first, "-f", "lavfi", "-t", "10", "-i", second, "-filter_complex",
               "[0][1]blend=all_mode=average,noise=alls=8:allf=t", "-c:v", "libx264", "-preset", "fast", "-crf", "18",
               "-pix_fmt", "yuv420p", part)
        part.rename(pattern)
    return ["-stream_loop", "-1", "-i", pattern]


def make(args, wanted):
    """The paths of the wanted files, those that cannot be made left out; what is there already is kept."""
    if not shutil.which("ffmpeg"):
        sys.exit("ffmpeg is needed to make the test videos")
    # Each source has a folder, so that nothing is measured on another's files.
    folder = args.cache / "videos" / (args.video.stem if args.video else "pattern")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in wanted:
        path, part = folder / name, folder / ("part-" + name)
        try:
            if not path.exists():
                print("making", name, file=sys.stderr)
                if name == LONG:
                    first, = make(args, ["h264.mp4"])
                    ffmpeg("-stream_loop", "19", "-i", first, "-c", "copy", part)
                else:
                    seconds, filters, encoder = FILES[name]
                    ffmpeg(*source(args.video, folder), "-t", seconds, "-an", "-vf", filters, "-r", "25", *encoder,
                           "-pix_fmt", "yuv420p", part)
                part.rename(path)
        except subprocess.CalledProcessError:
            print(f"{name} is left out: this ffmpeg cannot make it", file=sys.stderr)
            continue
        path.read_bytes()  # into the page cache, so that the first peer does not read the disk for the others
        paths.append(path)
    return paths


def decode_section(bench):
    args = bench.args
    paths = make(args, QUICK if args.quick else [*FILES, LONG])
    ours = str(args.decode_time) if args.decode_time.exists() else None
    if not ours:
        bench.say(f"Ours is left out of section B: {args.decode_time} is not there (cargo build --release --examples).")
    left_out = {"towhee", "torchcodec-approx"} if args.quick else set()
    peers = [p for p in decode.PEERS if p not in left_out | set(args.skip)] + (["ours"] if ours else [])
    told = argparse.Namespace(files=list(map(str, paths)), threads=args.threads, rounds=args.rounds, ours=ours)
    load = os.getloadavg()[0]
    results = decode.measure_all(told, peers)
    bench.say("## B. Decode: twelve frames as RGB at full size, from opening the file on; a process each")
    for threads in args.threads:
        bench.say(decode.table(told, peers, results, threads))
    bench.results += [{"section": "B. Decode", "job": path.rsplit("/", 1)[-1], "threads": threads, "peer": peer, "runs": runs}
                      for (path, threads, peer), runs in results.items()]
    bench.about["sections"].setdefault("B. Decode", []).append(
        {"load_before": load, "load_after": os.getloadavg()[0], "others_cores": None})
