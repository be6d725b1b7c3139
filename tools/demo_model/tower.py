"""The first stage: the image tower learns to see, one frame at a time.

From scratch and from captions alone, it would take more videos and hours than a demonstration is worth. The world knows what is in each of its frames, so the tower is first trained to tell that. The class token
tells which colours, shapes and textures are there, which colour has which shape, where things of each colour are and
how large, and the background; every other token tells of what colour and shape the thing is that its patch is part
of. The layers that answer are thrown away afterwards.
"""

import csv
import time

import data
import numpy as np
import torch
import world
from torch.nn import functional as F

COLOURS, SHAPES, TEXTURES, BACKGROUNDS = (
    len(x) for x in (world.COLOURS, world.SHAPES, world.TEXTURES, world.BACKGROUNDS)
)
BATCH = 256


class Answers(torch.nn.Module):
    """What is asked of the tokens, [n, 1 + patches, width]."""

    def __init__(self, width):
        super().__init__()
        self.sizes = [COLOURS, SHAPES, TEXTURES, COLOURS * SHAPES, COLOURS * 3, BACKGROUNDS]
        self.whole = torch.nn.Linear(width, sum(self.sizes))
        self.parts = torch.nn.Linear(width, COLOURS + 1 + SHAPES)

    def forward(self, tokens):
        return self.whole(tokens[:, 0]).float().split(self.sizes, -1), self.parts(tokens[:, 1:]).float()


class Truth:
    """The labels of all frames of some videos."""

    def __init__(self, videos):
        found = [world.labels(scene, data.FRAMES) for scene in videos.scenes]
        things = np.stack([things for things, _ in found]).transpose(0, 2, 1, 3)
        self.things = torch.from_numpy(things.copy()).flatten(0, 1)  # [frames, 2, 7]
        self.background = torch.tensor([background for _, background in found]).repeat_interleave(data.FRAMES)

    def of(self, picks, device="cpu"):
        return self.things[picks].to(device), self.background[picks].to(device)


def presence(numbers, there, count):
    """[n, 2] numbers of the things that are there -> [n, count] of 0 and 1."""
    return (F.one_hot(numbers, count) * there[..., None]).amax(1).float()


def parts_of(things, patches):
    """[n, patches] twice: the numbers of the colour and of the shape of the thing that covers each patch; where there is
    none, COLOURS and SHAPES."""
    side = round(patches**0.5)
    at = (torch.arange(side, device=things.device) + 0.5) / side * 2 - 1
    colour, shape = (torch.full((len(things), patches), none, device=things.device) for none in (COLOURS, SHAPES))
    for thing in things.unbind(1):
        x, y, radius, there = thing[:, 3:].split(1, -1)
        distance = ((at - x)[:, None, :] ** 2 + (at - y)[:, :, None] ** 2).flatten(1).sqrt()
        covered = (distance < 0.9 * radius.clamp(min=1 / side)) & (there > 0)
        colour = torch.where(covered, thing[:, :1].long(), colour)
        shape = torch.where(covered, thing[:, 1:2].long(), shape)
    return colour, shape


def loss_of(answers, labels):
    (colours, shapes, textures, pairs, places, background), parts = answers
    things, is_background = labels
    colour, shape, texture = things[..., :3].long().unbind(-1)
    there = things[..., 6] > 0
    places = places.view(len(places), COLOURS, 3).gather(1, colour[..., None].expand(-1, -1, 3))
    part_colour, part_shape = parts_of(things, parts.shape[1])
    told, covered = F.binary_cross_entropy_with_logits, part_shape < SHAPES
    # Sums over few positives among many zeros are weighed up.
    return (
        4 * told(colours, presence(colour, there, COLOURS))
        + 6 * told(shapes, presence(shape, there, SHAPES))
        + 2 * told(textures, presence(texture, there, TEXTURES))
        + 20 * told(pairs, presence(colour * SHAPES + shape, there, COLOURS * SHAPES))
        + 4 * F.smooth_l1_loss(places[there], things[there][:, 3:6], beta=0.05)
        + 0.5 * F.cross_entropy(background, is_background)
        + F.cross_entropy(parts[..., : COLOURS + 1].flatten(0, 1), part_colour.flatten())
        + 3 * F.cross_entropy(parts[..., COLOURS + 1 :][covered], part_shape[covered])
    )


@torch.no_grad()
def score(vision, answers, videos, truth, device):
    """Shares of frames of which all colours, shapes, textures, pairs and the background are told, and the mean
    distance of places."""
    frames = videos.frames.reshape(-1, *videos.frames.shape[2:])
    right, distances = [], []
    for at in range(0, len(frames), BATCH):
        picks = torch.arange(at, min(at + BATCH, len(frames)))
        x = data.pixels(torch.tensor(frames[at : at + BATCH]).to(device), vision.resolution)
        with torch.autocast(device.type, torch.bfloat16):
            (colours, shapes, textures, pairs, places, background), _ = answers(vision.tokens(x))
        things, is_background = truth.of(picks, device)
        colour, shape, texture = things[..., :3].long().unbind(-1)
        there = things[..., 6] > 0
        wanted = ((colours, colour, COLOURS), (shapes, shape, SHAPES), (textures, texture, TEXTURES))
        wanted += ((pairs, colour * SHAPES + shape, COLOURS * SHAPES),)
        told = [((out > 0) == (presence(number, there, count) > 0)).all(-1) for out, number, count in wanted]
        right.append(torch.stack([*told, background.argmax(-1) == is_background], 1).float().cpu())
        places = places.view(len(places), COLOURS, 3).gather(1, colour[..., None].expand(-1, -1, 3))
        distances.append((places - things[..., 3:6])[there][:, :2].norm(dim=-1).cpu())
    names = ("colours", "shapes", "textures", "pairs", "background")
    return dict(zip(names, torch.cat(right).mean(0).tolist()), distance=torch.cat(distances).mean().item())


def train(vision, train_videos, val_videos, steps, seed, device, log_path, keep, peak=1.5e-3):
    """Trains `vision` in place; `keep` is called now and then, and at the end."""
    rng = np.random.default_rng(seed)
    answers = Answers(len(vision.class_embedding)).to(device)
    parameters = [*vision.parameters(), *answers.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, steps, pct_start=0.05)
    truth, val_truth = Truth(train_videos), Truth(val_videos)
    frames = train_videos.frames.reshape(-1, *train_videos.frames.shape[2:])
    start = time.monotonic()
    with open(log_path, "w", newline="", encoding="utf-8") as file:
        log = csv.writer(file)
        mean = 0.0
        for step in range(1, steps + 1):
            picks = np.sort(rng.choice(len(frames), BATCH, replace=False))
            x = data.pixels(torch.from_numpy(frames[picks]).to(device), vision.resolution)
            with torch.autocast(device.type, torch.bfloat16):
                out = answers(vision.tokens(x))
            loss = loss_of(out, truth.of(picks, device))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            mean += (loss.item() - mean) / min(step, 50)
            if step % 200 == 0 or step == steps:
                scores = score(vision, answers, val_videos, val_truth, device)
                if file.tell() == 0:
                    log.writerow(["step", "loss", *scores])
                log.writerow([step, f"{mean:.4f}", *(f"{s:.4f}" for s in scores.values())])
                file.flush()
                keep()
                rest = (time.monotonic() - start) / step * (steps - step)
                told = ", ".join(f"{name} {s:.3f}" for name, s in scores.items())
                print(f"tower {step}/{steps}: loss {mean:.3f}; {told}; {rest / 60:.0f} min left", flush=True)


@torch.no_grad()
def features(vision, videos, device):
    """[videos, frames, width] of what the tower sees, before the projection."""
    rows = []
    for at in range(0, len(videos.frames), 32):
        x = data.pixels(
            torch.tensor(videos.frames[at : at + 32].reshape(-1, world.SIDE, world.SIDE, 3)).to(device),
            vision.resolution,
        )
        rows.append(vision.features(x).view(-1, data.FRAMES, len(vision.class_embedding)).cpu())
    return torch.cat(rows)
