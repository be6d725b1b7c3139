#!/usr/bin/env python3
"""Time and peak memory of picking 12 frames out of a video, by the libraries that people use for it.

    pip install av decord torch torchcodec opencv-python-headless numpy    (torchcodec wants FFmpeg installed)
    decode.py VIDEO... [--ours PROGRAM] [--rounds 5] [--threads 1 2] [--skip PEER]... [--json FILE]

The job: open the file, find its number of frames, have the frames trunc(i * (total - 1) / 11), i = 0..11, as
RGB24 arrays in full size, on N threads. Each peer does it as a well-meaning user of that library would:

    towhee             PyAV, decodes and converts every frame, as Towhee's video_decode.ffmpeg does
    pyav               PyAV, decodes every frame, converts the picked ones
    pyav-seek          PyAV, decodes from the key frame before each pick, known from a pass over the packets
    decord             VideoReader.get_batch
    torchcodec         VideoDecoder.get_frames_at, seek_mode="exact"
    torchcodec-approx  the same with seek_mode="approximate", which trusts the header: not in "best exact"
    opencv             VideoCapture, grab() for every frame, retrieve() for the picked ones
    ours               PROGRAM, started as `PROGRAM FILE THREADS`, prints {"ms": float, "peak_kib": int}

Works alone, and as section B of peers.py. Every measurement is a process of its own. Milliseconds are the median
of the rounds, with opening the file, without importing the library; what takes over 20 s is measured once. The
peak, MiB in parentheses, is the largest growth of the resident set's high-water mark since the import. A peer
that fails or takes over 10 minutes is `fails`, the reason on stderr.
"""
import argparse
import importlib
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from bisect import bisect_right
from functools import partial
from importlib import metadata
from pathlib import Path

PICKS = 12
LIMIT_S = 600
PACKAGES = ("av", "decord", "torchcodec", "torch", "opencv-python-headless", "numpy")


def picks(total):
    if total < 1:
        raise ValueError("the number of frames is unknown")
    return [i * (total - 1) // (PICKS - 1) for i in range(PICKS)]


def open_pyav(path, threads):
    import av
    container = av.open(path)
    stream = container.streams.best("video")  # as decord and TorchCodec choose it
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = threads
    return container, stream


def pyav_total(path, stream):
    if stream.frames:
        return stream.frames
    # Not every container says it. A second opening, because not every container can go back to its start.
    container, stream = open_pyav(path, 1)
    with container:
        return sum(packet.size > 0 for packet in container.demux(stream))


def pyav(path, threads, convert_all=False):
    container, stream = open_pyav(path, threads)
    with container:
        wanted, kept = picks(pyav_total(path, stream)), {}
        for number, frame in enumerate(container.decode(stream)):
            image = frame.to_ndarray(format="rgb24", threads=threads) if convert_all or number in wanted else None
            if number in wanted:
                kept[number] = image
        return [kept[number] for number in wanted]


def pyav_seek(path, threads):
    container, stream = open_pyav(path, threads)
    with container:
        # Packets that an edit list hides are decoded but come out as no frame.
        packets = [(p.pts, p.is_keyframe) for p in container.demux(stream) if p.size and not p.is_discard]
        shown = sorted(pts for pts, _ in packets)
        keys = sorted(pts for pts, is_key in packets if is_key)
        wanted = [shown[number] for number in picks(len(shown))]
        kept, group, frames = {}, None, None
        for target in sorted(set(wanted)):
            key = keys[max(bisect_right(keys, target) - 1, 0)]
            if key != group:
                container.seek(key, stream=stream)
                group, frames = key, container.decode(stream)
            kept[target] = next(f for f in frames if f.pts == target).to_ndarray(format="rgb24", threads=threads)
        return [kept[target] for target in wanted]


def decord(path, threads):
    from decord import VideoReader
    reader = VideoReader(path, num_threads=threads)
    return reader.get_batch(picks(len(reader))).asnumpy()


def torchcodec(path, threads, seek_mode="exact"):
    import torch
    from torchcodec.decoders import VideoDecoder
    torch.set_num_threads(threads)
    decoder = VideoDecoder(path, seek_mode=seek_mode, num_ffmpeg_threads=threads, dimension_order="NHWC")
    return decoder.get_frames_at(indices=picks(len(decoder))).data.numpy()


def opencv(path, threads):
    import cv2
    cv2.setNumThreads(threads)
    # OPENCV_FFMPEG_CAPTURE_OPTIONS="threads;N" would reach the demuxer only, not the decoder.
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    wanted, kept = picks(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))), {}
    for number in range(wanted[-1] + 1):
        if not capture.grab():
            raise EOFError(f"no frame {number}")
        if number in wanted:
            kept[number] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
    return [kept[number] for number in wanted]


# name: (the module to import first, the function)
PEERS = {
    "towhee": ("av", partial(pyav, convert_all=True)),
    "pyav": ("av", pyav),
    "pyav-seek": ("av", pyav_seek),
    "decord": ("decord", decord),
    "torchcodec": ("torchcodec.decoders", torchcodec),
    "torchcodec-approx": ("torchcodec.decoders", partial(torchcodec, seek_mode="approximate")),
    "opencv": ("cv2", opencv),
}
INEXACT = ("torchcodec-approx",)


def worker(peer, path, threads):
    """One measurement, printed as a line of JSON."""
    module, function = PEERS[peer]
    importlib.import_module(module)
    importlib.import_module("numpy")  # some import it with the first array only
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    images = function(path, int(threads))
    ms = (time.perf_counter() - start) * 1000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if len(images) != PICKS or any(i.dtype != "uint8" or i.ndim != 3 or i.shape[2] != 3 for i in images):
        raise ValueError("these are not the 12 RGB24 images")
    print(json.dumps({"ms": ms, "peak_kib": peak}), flush=True)


def measure(peer, ours, path, threads):
    """One measurement in a fresh process: {"ms", "peak_kib"}, or {"error"}."""
    program = [ours] if peer == "ours" else [sys.executable, __file__, "--worker", peer]
    # A process starts with the high-water mark of the one it was forked from, so a child of Python would not
    # see its first megabytes grow. timeout is small, and ends what hangs.
    command = ["timeout", "--foreground", str(LIMIT_S), *program, path, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    try:
        if done.returncode:
            raise ValueError(f"exit status {done.returncode}")
        line = json.loads(done.stdout.strip().splitlines()[-1])
        return {"ms": float(line["ms"]), "peak_kib": int(line["peak_kib"])}
    except (ValueError, LookupError, TypeError) as error:
        said = done.stderr.strip().splitlines()
        return {"error": f"{error}; {said[-1] if said else 'nothing on stderr'}"}


def measure_all(args, peers):
    """{(file, threads, peer): [one measurement per round]}"""
    results = {(f, t, p): [] for f in args.files for t in args.threads for p in peers}
    for path in args.files:
        # So that the first peer does not read the disk for the others.
        subprocess.run(["cksum", path], check=True, stdout=subprocess.DEVNULL)
    for _ in range(args.rounds):
        for (path, threads, peer), runs in results.items():
            # What is as slow as this is measured once.
            if not (runs and ("error" in runs[-1] or runs[-1]["ms"] > 20_000)):
                runs.append(measure(peer, args.ours, path, threads))
                print(Path(path).name, threads, peer, runs[-1], file=sys.stderr)
    return results


def median_ms(runs):
    return None if any("error" in run for run in runs) else statistics.median(run["ms"] for run in runs)


def cell(runs):
    ms = median_ms(runs)
    if ms is None:
        return "fails"
    once = " once" if len(runs) == 1 else ""
    return f"{ms:.{1 if ms < 10 else 0}f} ({max(run['peak_kib'] for run in runs) / 1024:.0f}){once}"


def ratio(by_peer):
    times = {p: median_ms(runs) for p, runs in by_peer.items() if p not in INEXACT}
    ours = times.pop("ours")
    ms, best = min(((ms, p) for p, ms in times.items() if ms is not None), default=(None, None))
    return "-" if ours is None or ms is None else f"{ours / ms:.2f} ({best})"


def table(args, peers, results, threads):
    heads = ["file", *peers] + (["ours / best exact"] if args.ours else [])
    lines = [f"\n{threads} thread{'s' if threads > 1 else ''}, ms (peak MiB):\n",
             f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}"]
    for path in args.files:
        by_peer = {peer: results[path, threads, peer] for peer in peers}
        cells = [Path(path).name, *map(cell, by_peer.values())] + ([ratio(by_peer)] if args.ours else [])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def machine():
    found = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    libraries = ", ".join(f"{name} {found.get(name, 'missing')}" for name in PACKAGES)
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    cpu = cpu[1] if cpu else "unknown CPU"
    return f"Python {sys.version.split()[0]}, {libraries}; {cpu}, {os.cpu_count()} cores"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("files", nargs="+", metavar="VIDEO")
    parser.add_argument("--ours", metavar="PROGRAM", type=lambda name: str(Path(name).resolve()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--skip", metavar="PEER", action="append", default=[], choices=PEERS)
    parser.add_argument("--json", metavar="FILE", help="the raw numbers")
    args = parser.parse_args()
    peers = [peer for peer in PEERS if peer not in args.skip] + (["ours"] if args.ours else [])
    about = f"{machine()}; rounds: {args.rounds}; threads: {', '.join(map(str, args.threads))}"
    results = measure_all(args, peers)
    print(about)
    for threads in args.threads:
        print(table(args, peers, results, threads))
    if args.json:
        rows = [{"file": Path(path).name, "threads": threads, "peer": peer, "runs": runs}
                for (path, threads, peer), runs in results.items()]
        Path(args.json).write_text(json.dumps({"about": about, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        main()
