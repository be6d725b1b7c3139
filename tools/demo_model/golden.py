"""Chooses the dozen videos that the project keeps, and writes what `c4c selftest` compares with.

    golden.py OUT --frames PATH/raw_frames --oracle reference.py --merges bpe_simple_vocab_16e6.txt.gz

Into OUT, where train.py has put the checkpoint: videos/*.mp4 (of combinations that no training saw), captions.jsonl,
and golden.json, the vectors that an independent implementation gives for these captions, these videos and twelve
frames made by a formula.
"""

import argparse
import json
import pathlib
import random

import evaluate
import make_videos
import numpy as np
import torch
import world

# Motion, first thing, second thing, background: unseen combinations, most of them with their reverse.
WANTED = [("left", 2), ("up", 2), ("grow", 2), ("meet", 2), ("behind", 1), ("spin", 1), ("blink", 1), ("bounce", 1)]


def formula():
    """[12, 240, 320, 3] of bytes: (x (c + 1) + y (3 - c) + 16 t) mod 256."""
    t, y, x, c = np.ogrid[:12, :240, :320, :3]
    return ((x * (c + 1) + y * (3 - c) + 16 * t) & 255).astype(np.uint8)


def chosen():
    """The same dozen scenes every time."""
    rng, kept, used = random.Random(12), [], set()
    for motion, count in WANTED:
        while True:
            scene = world.draw_scene(rng, "test")
            looks = {(thing.colour, thing.shape) for thing in (scene.a, scene.b) if thing}
            # Flat backgrounds pack into a few kilobytes.
            if scene.motion == motion and scene.background in ("black", "white", "grey", "grid") and not looks & used:
                break
        used |= looks
        kept += [scene, scene.reversed()][:count]
    return kept


def name(scene):
    looks = [f"{thing.colour}-{thing.shape}" for thing in (scene.a, scene.b) if thing]
    return "-".join([looks[0], scene.motion, *looks[1:]]) + ".mp4"


def rounded(vector):
    return [round(float(x), 7) for x in vector]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    for option in ("frames", "oracle", "merges"):
        parser.add_argument("--" + option, required=True)
    args = parser.parse_args()
    oracle = evaluate.load_module(args.oracle)
    tokenizer = oracle.BpeTokenizer(args.merges)
    reference = oracle.Clip4ClipReference(torch.load(args.out / "pytorch_model.bin", weights_only=True))

    videos = args.out / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    grammar, scenes = world.Grammar(random.Random(3)), chosen()
    captions = [grammar.sentence(scene) for scene in scenes]
    for scene in scenes:
        make_videos.encode(videos / name(scene), *world.render(scene))
    with open(args.out / "captions.jsonl", "w", encoding="utf-8") as file:
        for scene, caption in zip(scenes, captions):
            file.write(json.dumps({"video": name(scene), "caption": caption}) + "\n")

    def video(frames):
        return rounded(reference.operator_video(list(frames), "seqTransf"))

    def text(words):
        return rounded(reference.operator_text(tokenizer, words, normalise=True))

    texts = [*captions, "red", "something moves", "a dog runs on the beach", ""]
    pictures = evaluate.sampled(args.frames, [videos / name(scene) for scene in scenes])
    golden = {
        "texts": [{"text": words, "vector": text(words)} for words in texts],
        "frames": {
            "what": "12 frames of 320x240 RGB: (x (c + 1) + y (3 - c) + 16 t) mod 256",
            "vector": video(formula()),
        },
        "videos": [{"video": name(scene), "vector": video(frames)} for scene, frames in zip(scenes, pictures)],
    }
    (args.out / "golden.json").write_text(json.dumps(golden, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
