"""Writes videos of the synthetic world and their captions.

    make_videos.py OUT --split test --count 500 --seed 1 [--jobs 2]

OUT/videos/*.mp4 (H.264), OUT/captions.jsonl (one line a video: file, sentence, kind of motion, and what is seen).
"""

import argparse
import dataclasses
import json
import multiprocessing
import pathlib
import random

import av
import world


def encode(path, pictures, fps):
    """H.264 as people have it: key frames now and then, B frames, half the colour's resolution."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = {"crf": "23", "preset": "fast"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def make(job):
    path, scene = job
    encode(path, *world.render(scene))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--split", choices=["train", "val", "test"], required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()

    scenes = world.draw_scenes(args.split, args.count, args.seed)
    grammar = world.Grammar(random.Random(f"captions {args.split} {args.seed}"))
    folder = args.out / "videos"
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{args.split}{i:05}.mp4" for i in range(len(scenes))]
    with multiprocessing.Pool(args.jobs) as pool:
        for _ in pool.imap_unordered(make, [(folder / n, s) for n, s in zip(names, scenes)], chunksize=16):
            pass
    with open(args.out / "captions.jsonl", "w", encoding="utf-8") as file:
        for name, scene in zip(names, scenes):
            line = {"video": name, "caption": grammar.sentence(scene), "group": world.family(scene.motion)}
            file.write(json.dumps({**line, "scene": dataclasses.asdict(scene)}) + "\n")


if __name__ == "__main__":
    main()
