"""Trains the demonstration's model: videos, image tower, then texts against videos.

    train.py WORK OUT --frames PATH/raw_frames [--seed 1]

WORK keeps videos, decoded frames and what each stage made, and a stage that is there is not done again; OUT gets
pytorch_model.bin in CLIP4Clip's layout and learning_curve.png. `--frames` is this project's example that prints the
frames which the library samples. The seed decides all that is drawn.
"""

import argparse
import csv
import pathlib
import random
import subprocess
import sys
import time

import data
import numpy as np
import torch
import tower
import words
import world
from torch.nn import functional as F

import model

TRAIN, VAL, TEST = 16000, 600, 500
BATCH = 384


def families(scenes):
    """Numbers of scenes, each with its reverse where it has one: together in a batch they teach what order means."""
    groups = []
    for i, scene in enumerate(scenes):
        last = groups[-1] if groups else []
        if len(last) == 1 and scene == scenes[last[0]].reversed():
            last.append(i)
        else:
            groups.append([i])
    return groups


def known_ids(grammar, scenes, tokens):
    """The ids that the grammar can say. All others keep a row of zeros."""
    texts = {grammar.sentence(scene) for scene in scenes for _ in range(8)} | {
        grammar.glimpse(scene) for scene in scenes
    }
    return torch.unique(tokens.ids(sorted(texts)))


def similarity_ranks(texts, videos):
    """For each text the place of its video among all, from 1; ties count against it."""
    scores = texts @ videos.T
    return (scores >= scores.diag()[:, None]).sum(1)


@torch.no_grad()
def recall(net, ids, features):
    net.eval()
    ranks = similarity_ranks(F.normalize(net.clip.texts(ids), dim=-1), net.videos(features))
    net.train()
    return (ranks <= 1).float().mean().item(), (ranks <= 5).float().mean().item()


def contrast(net, train, val, tokens, steps, seed, log_path, peak=1e-3):
    """CLIP4Clip's loss, both ways, on what the image tower saw in the videos."""
    (features, scenes), (val_features, val_captions) = train, val
    rng, picks = random.Random(f"sentences {seed}"), np.random.default_rng(seed)
    grammar = world.Grammar(rng)
    with torch.no_grad():
        table = net.clip.token_embedding.weight
        known = known_ids(grammar, scenes[:4000], tokens)
        table.zero_()
        table[known] = torch.randn(len(known), table.shape[1]) * 0.05
    decays = [p for n, p in net.named_parameters() if p.ndim > 1 and "embedding" not in n and "visual" not in n]
    rest = [p for n, p in net.named_parameters() if (p.ndim < 2 or "embedding" in n) and "visual" not in n]
    groups = [{"params": [*decays, net.clip.visual.proj], "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, steps, pct_start=0.05)
    parameters = [p for group in groups for p in group["params"]]
    val_ids = tokens.ids(val_captions)
    together = families(scenes)
    waiting, step, mean, start = [], 0, 0.0, time.monotonic()
    with open(log_path, "w", newline="", encoding="utf-8") as file:
        log = csv.writer(file)
        log.writerow(["step", "loss", "R@1", "R@5"])
        while step < steps:
            if len(waiting) < BATCH:
                waiting += [i for g in picks.permutation(len(together)) for i in together[g]]
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            texts = [grammar.glimpse(scenes[i]) if rng.random() < 0.08 else grammar.sentence(scenes[i]) for i in batch]
            with torch.autocast("cpu", torch.bfloat16):
                t = net.clip.texts(tokens.ids(texts), forget=0.05).float()
                seen = features[batch]
                v = net.videos(seen + torch.randn_like(seen) * 0.05).float()
            logits = F.normalize(t, dim=-1) @ v.T * net.clip.logit_scale.clamp(max=4.6).exp()
            right = torch.arange(len(batch))
            loss = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            mean += (loss.item() - mean) / min(step, 50)
            if step % 200 == 0 or step == steps:
                first, fifth = recall(net, val_ids, val_features)
                log.writerow([step, f"{mean:.4f}", f"{first:.4f}", f"{fifth:.4f}"])
                file.flush()
                left = (time.monotonic() - start) / step * (steps - step) / 60
                scores = f"loss {mean:.3f}, R@1 {first:.3f}, R@5 {fifth:.3f}"
                print(f"{log_path.stem} {step}/{steps}: {scores}, {left:.0f} min left", flush=True)


def save(net, path):
    """As CLIP4Clip saves: a plain dictionary of tensors; half precision, to be small."""
    torch.save({name: value.detach().half().clone() for name, value in net.state_dict().items()}, path)


def draw_curves(work, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    def read(name):
        with open(work / f"{name}.csv", encoding="utf-8") as file:
            return {k: [float(row[k]) for row in rows] for rows in [list(csv.DictReader(file))] for k in rows[0]}

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    seen = read("tower")
    for name in ("background", "colours", "textures", "shapes", "pairs"):
        left.plot(seen["step"], seen[name], label=name)
    left.set(title="image tower: validation frames told rightly", xlabel="step", ylim=(0, 1))
    for name in ("seqTransf", "meanP"):
        found = read(name)
        right.plot(found["step"], found["R@1"], label=name)
    right.set(title=f"text to video R@1 among {VAL} of validation", xlabel="step", ylim=(0, 1))
    for axis in (left, right):
        axis.legend()
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--frames", required=True, help="the example raw_frames, built")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tower-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    start = time.monotonic()
    torch.manual_seed(args.seed)
    # Adam's averages of what hardly ever happens become numbers on which a CPU is many times slower.
    torch.set_flush_denormal(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokens = words.Words()

    here = pathlib.Path(__file__).parent
    for split, count in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        if not (args.work / split / "captions.jsonl").exists():
            command = [sys.executable, here / "make_videos.py", args.work / split, "--split", split, "--count", count]
            subprocess.run([str(part) for part in [*command, "--seed", args.seed]], check=True)
    train, val = (data.Videos(args.work / split, args.frames) for split in ("train", "val"))

    net = model.Clip4Clip()
    vision, kept = net.clip.visual.to(device), args.work / "tower.pt"
    if not kept.exists():
        part = kept.with_suffix(".part")
        log = args.work / "tower.csv"
        tower.train(
            vision, train, val, args.tower_steps, args.seed, device, log, lambda: torch.save(vision.state_dict(), part)
        )
        part.rename(kept)
    vision.load_state_dict(torch.load(kept, map_location=device))
    cache = args.work / "features.pt"
    if not cache.exists():
        part = cache.with_suffix(".part")
        torch.save([tower.features(vision, videos, device) for videos in (train, val)], part)
        part.rename(cache)
    train_features, val_features = torch.load(cache)
    vision.cpu()

    captions = [line["caption"] for line in val.lines]
    for name, head_layers in (("seqTransf", 4), ("meanP", 0)):
        if (args.work / f"{name}.bin").exists():
            continue
        torch.manual_seed(args.seed)
        net = model.Clip4Clip(head_layers=head_layers)
        net.clip.visual.load_state_dict(vision.state_dict())
        contrast(
            net,
            (train_features, train.scenes),
            (val_features, captions),
            tokens,
            args.steps,
            args.seed,
            args.work / f"{name}.csv",
        )
        save(net, args.work / f"{name}.bin")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "pytorch_model.bin").write_bytes((args.work / "seqTransf.bin").read_bytes())
    draw_curves(args.work, args.out / "learning_curve.png")
    print(f"{args.out / 'pytorch_model.bin'}: done after {(time.monotonic() - start) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
