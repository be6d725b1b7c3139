"""How well the demonstration's model retrieves, through the C ABI and beside an independent implementation.

    evaluate.py WORK --library target/release/libc4c.so --frames PATH/raw_frames \\
                --oracle reference.py --merges bpe_simple_vocab_16e6.txt.gz

WORK is what train.py left: WORK/test (videos that no training saw), WORK/seqTransf.bin and WORK/meanP.bin. The oracle
is a Python module with `Clip4ClipReference` and `BpeTokenizer`; it gets the frames that the library samples. Prints
Markdown.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np
import torch
import world

for folder in ("benches/peers", "tests/oracle"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / folder))
import ours  # noqa: E402
from parity import load_module  # noqa: E402

DIRECTIONS = ("horizontal", "vertical", "scale", "approach")


def sampled(decoder, paths):
    """The frames which the library samples, [frames, height, width, 3], one video after the other."""
    names = "".join(f"{path}\n" for path in paths).encode()
    out = subprocess.run([decoder], input=names, stdout=subprocess.PIPE, check=True).stdout
    at = 0
    while at < len(out):
        frames, height, width = (int(n) for n in np.frombuffer(out, "<u4", 3, at))
        size = frames * height * width * 3
        yield np.frombuffer(out, np.uint8, size, at + 12).reshape(frames, height, width, 3)
        at += 12 + size


def ranks(queries, targets):
    """The place of each query's target among all, from 1; ties count against it."""
    scores = np.asarray(queries, np.float64) @ np.asarray(targets, np.float64).T
    return (scores >= np.diag(scores)[:, None]).sum(1)


def row(name, found):
    recalls = " | ".join(f"{100 * (found <= k).mean():.1f}" for k in (1, 5, 10))
    return f"| {name} | {recalls} | {np.median(found):g} | {found.mean():.1f} |"


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def ceiling(lines):
    """The R@1 of somebody who sees everything: he guesses among the videos that a sentence describes equally well."""

    def fits(line, scene):
        said, told = line["caption"], line["scene"]
        same = scene["motion"] == told["motion"]
        for name in ("a", "b"):
            mine, other = told[name], scene[name]
            if bool(mine) != bool(other):
                return False
            if mine:
                same &= all(mine[k] == other[k] for k in ("colour", "shape", "texture"))
                sizes = world.SIZES[mine["size"]][1]
                same &= mine["size"] == other["size"] or not any(f" {word} " in f" {said} " for word in sizes)
        tells = any(where in said for where in world.BACKGROUNDS[told["background"]])
        return same and (not tells or scene["background"] == told["background"])

    return np.mean([1 / sum(fits(line, other["scene"]) for other in lines) for line in lines])


def turned(lines):
    """For each video with a direction its sentence and the same with the reverse's words."""
    for i, line in enumerate(lines):
        motion = line["scene"]["motion"]
        if motion in world.REVERSED and line["group"] in DIRECTIONS:
            for say, other in zip(world.MOTIONS[motion], world.MOTIONS[world.REVERSED[motion]]):
                parts, others = say.split("{b}"), other.split("{b}")
                if all(part in line["caption"] for part in parts):
                    caption = line["caption"]
                    for part, replacement in zip(parts, others):
                        caption = caption.replace(part, replacement) if part.strip() else caption
                    yield i, caption
                    break


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    for name in ("library", "frames", "oracle", "merges"):
        parser.add_argument("--" + name, required=True)
    args = parser.parse_args()
    with open(args.work / "test" / "captions.jsonl", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    texts = [line["caption"] for line in lines]
    paths = [args.work / "test" / "videos" / line["video"] for line in lines]
    groups = np.array([line["group"] for line in lines])
    reverse = list(turned(lines))
    print(f"{len(lines)} videos of unseen combinations; a perfect eye would reach R@1 {100 * ceiling(lines):.1f}.\n")

    print("| | R@1 | R@5 | R@10 | median rank | mean rank |\n|---|--:|--:|--:|--:|--:|")
    kept = {}
    for head in ("seqTransf", "meanP"):
        for precision in ("f32", "bf16", "int8"):
            with ours.Model(args.library, str(args.work / f"{head}.bin"), precision) as model:
                t = model.texts(texts)
                v = np.stack([model.video(str(path)) for path in paths])
                backwards = model.texts([caption for _, caption in reverse])
            found = ranks(t, v), ranks(v, t)
            kept[head, precision] = t, v, *found
            print(row(f"{head}, {precision}, text to video", found[0]))
            print(row(f"{head}, {precision}, video to text", found[1]), flush=True)
            if precision == "f32":
                picked = [i for i, _ in reverse]
                kept[head, "order"] = ((t[picked] * v[picked]).sum(1) > (backwards * v[picked]).sum(1)).mean()

    oracle = load_module(args.oracle)
    tokenizer = oracle.BpeTokenizer(args.merges)
    for head in ("seqTransf", "meanP"):
        reference = oracle.Clip4ClipReference(torch.load(args.work / f"{head}.bin", weights_only=True))
        t = np.stack([reference.operator_text(tokenizer, text, normalise=True) for text in texts])
        v = np.stack([reference.operator_video(list(frames), head) for frames in sampled(args.frames, paths)])
        found = ranks(t, v), ranks(v, t)
        kept[head, "oracle"] = found
        print(row(f"{head}, oracle, text to video", found[0]))
        print(row(f"{head}, oracle, video to text", found[1]), flush=True)
        ot, ov, *ranked = kept[head, "f32"]
        differ = [int(np.abs(a - b).max()) for a, b in zip(found, ranked)]
        many = sum(int((a != b).sum()) for a, b in zip(found, ranked))
        far = [
            1 - (unit(a.astype(np.float64)) * unit(b.astype(np.float64))).sum(-1).min() for a, b in ((t, ot), (v, ov))
        ]
        kept[head, "said"] = (
            f"{head}: {many} of {2 * len(texts)} ranks differ from the oracle's, by {max(differ)} at most; "
            f"1 - cosine at most {far[0]:.1e} (texts), {far[1]:.1e} (videos)."
        )

    print("\nText to video R@1 by kind of motion, f32:\n\n| | videos | seqTransf | meanP |\n|---|--:|--:|--:|")
    for group in [*dict.fromkeys(groups)]:
        shares = [100 * (kept[head, "f32"][2][groups == group] <= 1).mean() for head in ("seqTransf", "meanP")]
        print(f"| {group} | {(groups == group).sum()} | {shares[0]:.1f} | {shares[1]:.1f} |")
    told = np.isin(groups, DIRECTIONS)
    shares = [100 * (kept[head, "f32"][2][told] <= 1).mean() for head in ("seqTransf", "meanP")]
    print(f"| all with a direction | {told.sum()} | {shares[0]:.1f} | {shares[1]:.1f} |")
    print(
        f"\nA sentence against the same with the reverse's words, {len(reverse)} videos, right: "
        + ", ".join(f"{head} {100 * kept[head, 'order']:.1f} %" for head in ("seqTransf", "meanP"))
    )
    for head in ("seqTransf", "meanP"):
        print(kept[head, "said"])


if __name__ == "__main__":
    main()
