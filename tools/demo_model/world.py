"""The synthetic world: short videos of shapes that do things, and sentences about them.

A `Scene` is what happens, `render` its pictures, `Grammar` its sentences. What a model is tested on it has never
seen: every combination of colour, shape and kind of motion of the first thing belongs to one split alone.
"""

import dataclasses
import hashlib
import random

import numpy as np

SIDE = 128  # of the square in which things happen, pixels; CLIP crops to it

COLOURS = {
    "red": ((214, 32, 38), ["red", "crimson", "scarlet"]),
    "orange": ((245, 130, 24), ["orange", "amber"]),
    "yellow": ((248, 218, 38), ["yellow", "golden"]),
    "green": ((38, 160, 62), ["green", "emerald"]),
    "cyan": ((48, 200, 214), ["turquoise", "cyan", "aqua"]),
    "blue": ((36, 72, 204), ["blue", "navy"]),
    "purple": ((130, 44, 160), ["purple", "violet"]),
    "pink": ((246, 130, 180), ["pink", "rose"]),
}
SHAPES = {
    "circle": ["circle", "disc", "ball"],
    "square": ["square", "box", "block"],
    "triangle": ["triangle", "pyramid"],
    "star": ["star", "five-pointed star"],
    "heart": ["heart", "love heart"],
    "ring": ["ring", "hoop", "donut"],
    "cross": ["cross", "plus sign"],
    "moon": ["moon", "crescent"],
}
SIZES = {
    "small": (16, ["small", "little", "tiny"]),
    "medium": (24, ["medium", "mid-sized"]),
    "large": (35, ["large", "big", "huge"]),
}  # radius, pixels
TEXTURES = {"plain": [], "striped": ["striped", "stripy"], "dotted": ["dotted", "spotted", "polka-dot"]}
BACKGROUNDS = {
    "black": ["on a black background", "in the dark", "against black"],
    "white": ["on a white background", "on white paper", "against white"],
    "grey": ["on a grey background", "against a grey wall", "on gray"],
    "grid": ["on a grid", "on squared paper", "over a grid of lines"],
    "stars": ["against a starry sky", "at night among tiny lights", "on a starry background"],
    "sand": ["on sand", "on a sandy beach", "over yellowish sand"],
}
# What {a} does alone, or with {b}.
MOTIONS = {
    "left": ["moves left", "slides to the left", "goes leftwards", "travels from right to left"],
    "right": ["moves right", "slides to the right", "goes rightwards", "travels from left to right"],
    "up": ["moves up", "rises", "goes upwards", "climbs to the top"],
    "down": ["moves down", "falls", "goes downwards", "sinks to the bottom"],
    "grow": ["grows", "gets bigger", "is getting larger", "expands"],
    "shrink": ["shrinks", "gets smaller", "is getting tinier", "contracts"],
    "spin": ["spins", "rotates", "turns around itself", "is spinning"],
    "blink": ["blinks", "flashes on and off", "flickers", "appears and disappears"],
    "bounce": ["bounces", "jumps up and down", "hops", "is bouncing"],
    "still": ["stays still", "does not move", "rests", "stands still"],
    "meet": ["meets {b}", "and {b} come together", "moves towards {b}", "and {b} approach each other"],
    "part": ["leaves {b}", "and {b} move apart", "moves away from {b}", "and {b} separate"],
    "behind": ["passes behind {b}", "goes behind {b}", "moves past behind {b}", "is hidden for a moment by {b}"],
    "front": ["passes in front of {b}", "goes across {b}", "moves past in front of {b}", "covers {b} for a moment"],
}
TWO = ("meet", "part", "behind", "front")
# Told apart by order alone (the first four), or nearly so.
REVERSED = {"left": "right", "up": "down", "grow": "shrink", "meet": "part", "behind": "front"}
REVERSED.update({b: a for a, b in REVERSED.items()})
FAMILY = {
    **dict.fromkeys(("left", "right"), "horizontal"),
    **dict.fromkeys(("up", "down"), "vertical"),
    **dict.fromkeys(("grow", "shrink"), "scale"),
    **dict.fromkeys(("meet", "part"), "approach"),
    **dict.fromkeys(("behind", "front"), "occlusion"),
}
# Nobody sees them turn.
ROUND = ("circle", "ring")


def family(motion):
    """The kind of motion that a motion and its reverse share."""
    return FAMILY.get(motion, motion)


def split_of(colour, shape, motion):
    """The one split in which the first thing may have this colour, shape and kind of motion: about 80 % train, 5 % val,
    15 % test. The second thing of a training scene has none of the test's; otherwise it is free."""
    lot = hashlib.sha256(f"{colour} {shape} {family(motion)}".encode()).digest()[0] / 256
    return "test" if lot < 0.15 else "val" if lot < 0.20 else "train"


@dataclasses.dataclass(frozen=True)
class Thing:
    colour: str
    shape: str
    size: str
    texture: str = "plain"


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is seen. `seed` decides what no sentence tells: where, how fast, for how long, at which frame rate."""

    motion: str
    a: Thing
    b: Thing | None
    background: str
    seed: int

    def key(self):
        """What sentences can tell."""
        return (self.motion, self.a, self.b, self.background)

    def reversed(self):
        """The same, done the other way round; None for motions without another way."""
        motion = REVERSED.get(self.motion)
        return motion and dataclasses.replace(self, motion=motion, seed=self.seed + 1)


def draw_scene(rng, split):
    """A scene of this split."""
    while True:
        motion = rng.choice(list(MOTIONS))
        things = [
            Thing(
                rng.choice(list(COLOURS)), rng.choice(list(SHAPES)), rng.choice(list(SIZES)), rng.choice(list(TEXTURES))
            )
            for _ in range(2)
        ]
        a, b = things if motion in TWO else (things[0], None)
        if b:  # without textures, that sentences stay short of 32 tokens
            a, b = (dataclasses.replace(thing, texture="plain") for thing in things)
            if a.colour == b.colour or a.shape == b.shape or split_of(b.colour, b.shape, motion) == "test" != split:
                continue
        if motion in ("grow", "shrink"):
            a = dataclasses.replace(a, size="medium")
        if motion == "spin" and a.shape in ROUND or split_of(a.colour, a.shape, motion) != split:
            continue
        return Scene(motion, a, b, rng.choice(list(BACKGROUNDS)), rng.getrandbits(31))


def draw_scenes(split, count, seed):
    """So many scenes of a split, no two of which the fullest sentence could not tell apart, except in "train". Each
    scene with a direction is followed by its reverse: what happens when must be understood, not only what is there."""
    rng = random.Random(f"{split} {seed}")
    scenes, seen = [], set()
    while len(scenes) < count:
        scene = draw_scene(rng, split)
        for scene in (scene, scene.reversed()):
            if scene and (split == "train" or scene.key() not in seen) and len(scenes) < count:
                seen.add(scene.key())
                scenes.append(scene)
    return scenes


class Grammar:
    """Sentences about scenes, with synonyms and in varying order; `rng` chooses."""

    def __init__(self, rng):
        self.rng = rng

    def thing(self, thing, sized, article=True):
        words = [self.rng.choice(SIZES[thing.size][1])] if sized else []
        looks = [self.rng.choice(COLOURS[thing.colour][1])]
        if thing.texture != "plain":
            looks.insert(self.rng.randrange(2), self.rng.choice(TEXTURES[thing.texture]))
        words += [*looks, self.rng.choice(SHAPES[thing.shape])]
        if not article:
            return " ".join(words)
        first = "an" if words[0][0] in "aeiou" else "a"
        return " ".join([self.rng.choice([first, first, first, "the", "one"]), *words])

    def sentence(self, scene):
        rng = self.rng
        sized = scene.motion not in ("grow", "shrink") and rng.random() < 0.85
        a = self.thing(scene.a, sized)
        b = scene.b and self.thing(scene.b, rng.random() < 0.85)
        does = rng.choice(MOTIONS[scene.motion]).format(b=b)
        sentence = f"{a} {does}"
        if rng.random() < 0.85:
            where = rng.choice(BACKGROUNDS[scene.background])
            sentence = f"{where}, {sentence}" if rng.random() < 0.25 else f"{sentence} {where}"
        if rng.random() < 0.2:
            sentence = rng.choice(["a video of how {}", "look, {}", "here {}", "we see that {}"]).format(sentence)
        return sentence

    def glimpse(self, scene):
        """Less than a sentence, as people search."""
        rng = self.rng
        a = self.thing(scene.a, False, article=rng.random() < 0.5)
        does = rng.choice(MOTIONS[scene.motion]).format(b=scene.b and self.thing(scene.b, False))
        where = rng.choice(BACKGROUNDS[scene.background])
        return rng.choice([a, f"{a} {does}", f"{a} {does}", f"something {does}", f"{a} {where}"])


# Pictures


def outline(shape, x, y):
    """How far outside of a shape of radius 1 points are, about; negative within. y grows downwards."""
    if shape == "circle":
        return np.hypot(x, y) - 0.95
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.72) - 0.26
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.8
    if shape == "cross":
        x, y = np.abs(x), np.abs(y)
        return np.minimum(np.maximum(x - 0.95, y - 0.3), np.maximum(x - 0.3, y - 0.95))
    if shape == "triangle":
        return np.maximum(y - 0.65, np.abs(x) * 0.866 - y * 0.5 - 0.5)
    if shape == "moon":
        return np.maximum(np.hypot(x, y) - 0.95, 0.8 - np.hypot(x - 0.5, y + 0.1))
    if shape == "heart":
        x, y = np.abs(x), 0.25 - y
        lobes = np.hypot(x - 0.45, y - 0.25) - 0.5
        return np.minimum(lobes, np.maximum((x - y) * 0.707 - 0.64, np.maximum(y - 0.3, (x - 0.92) * 0.7)))
    if shape == "star":
        angle = np.arctan2(x, -y)
        turn = np.abs((angle / (2 * np.pi) * 5 + 0.5) % 1 - 0.5) * 2 * np.pi / 5
        radius = np.hypot(x, y)
        # The edge from a point of radius 1 to a notch of radius 0.42.
        px, py, qx, qy = 1.0, 0.0, 0.42 * np.cos(np.pi / 5), 0.42 * np.sin(np.pi / 5)
        nx, ny = qy - py, px - qx
        return (nx * (radius * np.cos(turn) - px) + ny * (radius * np.sin(turn) - py)) / np.hypot(nx, ny)
    raise ValueError(shape)


def backdrop(kind, rng, width, height):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    flat = {"black": 12, "white": 244, "grey": 128}.get(kind)
    if flat is not None:
        return np.full((height, width, 3), flat + rng.uniform(-10, 10), np.float32)
    if kind == "grid":
        step, ox, oy = rng.uniform(10, 18), *rng.uniform(0, 18, 2)
        line = ((x + ox) % step < 1.6) | ((y + oy) % step < 1.6)
        return np.where(line[..., None], np.float32([120, 150, 190]), np.float32([236, 240, 246]))
    if kind == "stars":
        picture = np.full((height, width, 3), np.float32([18, 20, 46]))
        for _ in range(60):
            sx, sy, light = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(120, 255)
            near = np.clip(1.6 - np.hypot(x - sx, y - sy), 0, 1)[..., None]
            picture = picture * (1 - near) + light * near
        return picture
    if kind == "sand":
        coarse = rng.normal(0, 9, ((height + 3) // 4, (width + 3) // 4)).repeat(4, 0).repeat(4, 1)[:height, :width]
        grain = (coarse + rng.normal(0, 9, (height, width)))[..., None]
        return np.clip(np.float32([206, 184, 140]) + grain, 0, 255).astype(np.float32)
    raise ValueError(kind)


def track(scene, rng, u):
    """Where both things are at times `u` in 0..1: x, y (-1..1 across the square), radius (pixels), angle, alpha; and
    whether the second is in front."""
    zero = np.zeros_like(u)
    radius = SIZES[scene.a.size][0] * rng.uniform(0.9, 1.1)
    x, y = zero + rng.uniform(-0.45, 0.45), zero + rng.uniform(-0.45, 0.45)
    angle, alpha, size = zero + rng.uniform(-0.2, 0.2), zero + 1, zero + radius
    start, end = rng.uniform(0.4, 0.75), -rng.uniform(0.4, 0.75)
    way = start + (end - start) * u
    second, second_in_front = None, False
    motion = scene.motion
    if motion in ("left", "right"):
        x = way if motion == "left" else way[::-1]
    elif motion in ("up", "down"):
        y = way if motion == "up" else way[::-1]
    elif motion in ("grow", "shrink"):
        size = rng.uniform(11, 15) + u * rng.uniform(20, 28)
        size = size if motion == "grow" else size[::-1]
    elif motion == "spin":
        angle = angle + rng.choice([-1, 1]) * u * 2 * np.pi * rng.uniform(1.0, 1.6)
    elif motion == "blink":
        alpha = ((u * rng.uniform(2.6, 4.2) + rng.uniform()) % 1 < 0.55).astype(float)
    elif motion == "bounce":
        y = 0.6 - rng.uniform(0.8, 1.1) * np.abs(np.sin(np.pi * (u * rng.uniform(1.8, 3.2) + rng.uniform())))
    elif scene.b:
        other = SIZES[scene.b.size][0] * rng.uniform(0.9, 1.1)
        side = rng.choice([-1, 1])
        if motion in ("meet", "part"):
            touch = (radius + other) / SIDE
            gap = touch + (0.35 + 0.3 * rng.uniform()) * (1 - u)
            gap = gap if motion == "meet" else gap[::-1]
            middle = rng.uniform(-0.1, 0.1)
            x, bx, y = middle + side * gap, middle - side * gap, y * 0.7
            by = y + rng.uniform(-0.06, 0.06)
        else:
            bx, by = zero + rng.uniform(-0.12, 0.12), zero + rng.uniform(-0.3, 0.3)
            x, y = side * way, by + rng.uniform(-0.12, 0.12)
            second_in_front = motion == "behind"
        second = (bx, by, zero + other, zero + rng.uniform(-0.2, 0.2), zero + 1)
    return (x, y, size, angle, alpha), second, second_in_front


def paint(pictures, thing, path):
    """Draws a thing along its path, with soft edges."""
    count, height, width, _ = pictures.shape
    cy, cx = (height - 1) / 2, (width - 1) / 2
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    colour = np.float32(COLOURS[thing.colour][0])
    for picture, px, py, radius, angle, alpha in zip(pictures, *path):
        px, py = cx + px * SIDE / 2, cy + py * SIDE / 2
        top, left = max(int(py - radius - 2), 0), max(int(px - radius - 2), 0)
        bottom, right = int(py + radius + 3), int(px + radius + 3)
        if alpha == 0 or bottom <= 0 or right <= 0:
            continue
        y, x = (rows[top:bottom, None] - py) / radius, (columns[None, left:right] - px) / radius
        x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        cover = np.clip(0.5 - outline(thing.shape, x, y) * radius, 0, 1)
        ink = 1.0
        if thing.texture == "striped":
            ink = np.where((x * 2.6) % 1 < 0.5, 1.0, 0.45)
        elif thing.texture == "dotted":
            ink = np.where(np.hypot((x * 1.9) % 1 - 0.5, (y * 1.9) % 1 - 0.5) < 0.27, 0.4, 1.0)
        cover = (cover * alpha)[..., None]
        part = picture[top:bottom, left:right]
        part += cover * (colour * np.broadcast_to(ink, x.shape)[..., None] - part)


def layout(scene):
    """How a scene is filmed: width, height, frames per second, number of frames, and the paths that `track` gives."""
    rng = np.random.default_rng(scene.seed)
    width, height = [(SIDE, SIDE), (160, SIDE), (SIDE, 160)][rng.integers(3)]
    fps = int(rng.choice([10, 12, 15]))
    count = int(fps * rng.uniform(2, 3))
    return width, height, fps, count, track(scene, rng, np.linspace(0, 1, count)), rng


def render(scene):
    """The pictures of a scene, [frames, height, width, 3] of bytes, and its frames per second."""
    width, height, fps, count, (first, second, second_in_front), rng = layout(scene)
    pictures = np.repeat(backdrop(scene.background, rng, width, height)[None], count, 0)
    things = [(scene.a, first)] + ([(scene.b, second)] if second else [])
    for thing, path in things if second_in_front else reversed(things):
        paint(pictures, thing, path)
    return np.clip(pictures + 0.5, 0, 255).astype(np.uint8), fps


def labels(scene, count):
    """What is to be seen in `count` frames sampled evenly: [2, frames, 7] with a row a thing and frame, of colour,
    shape, texture (by number), x, y (-1..1), radius (of half the square's side) and whether it is there, the one in
    front last; and the background's number."""
    *_, frames, (first, second, second_in_front), _ = layout(scene)
    picks = np.linspace(0, frames - 1, count).astype(int)
    rows = np.zeros((2, count, 7), np.float32)
    things = [(scene.a, first)] + ([(scene.b, second)] if second else [])
    for row, (thing, (x, y, size, _, alpha)) in zip(rows, things if second_in_front else reversed(things)):
        row[:, 0] = list(COLOURS).index(thing.colour)
        row[:, 1] = list(SHAPES).index(thing.shape)
        row[:, 2] = list(TEXTURES).index(thing.texture)
        row[:, 3:] = np.stack([x, y, size / (SIDE / 2), alpha], 1)[picks]
    return rows, list(BACKGROUNDS).index(scene.background)
