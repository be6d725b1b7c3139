"""The seeded checkpoints and frames of tests/support, in numpy; change both together."""
import math

import numpy as np

SIZES = {
    "tiny": dict(vision_width=128, vision_layers=2, patch=32, grid=7, text_width=64, text_layers=3, embed=96,
                 context=77, vocab=49408),
    "small": dict(vision_width=192, vision_layers=2, patch=32, grid=7, text_width=128, text_layers=3, embed=128,
                  context=77, vocab=49408),
    "b32": dict(vision_width=768, vision_layers=12, patch=32, grid=7, text_width=512, text_layers=12, embed=512,
                context=77, vocab=49408),
    "b16": dict(vision_width=768, vision_layers=12, patch=16, grid=14, text_width=512, text_layers=12, embed=512,
                context=77, vocab=49408),
    "l14": dict(vision_width=1024, vision_layers=24, patch=14, grid=16, text_width=768, text_layers=12, embed=768,
                context=77, vocab=49408),
    "l14_336": dict(vision_width=1024, vision_layers=24, patch=14, grid=24, text_width=768, text_layers=12, embed=768,
                    context=77, vocab=49408),
}


def mix(n):
    """SplitMix64 of an array of uint64."""
    with np.errstate(over="ignore"):
        z = (n + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def values(name, shape, mean, std, seed):
    digest = 0xCBF29CE484222325
    for byte in name.encode():
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    start = mix(np.array([seed ^ digest], np.uint64))
    with np.errstate(over="ignore"):
        bits = mix(start + np.arange(math.prod(shape), dtype=np.uint64)) >> np.uint64(40)
    unit = bits.astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return (unit * np.float32(std * math.sqrt(3)) + np.float32(mean)).reshape(shape)


HEADS = ("meanP", "seqTransf", "seqLSTM", "tightTransf", "3d")
HEAD_NAMES = ("frame_position_embeddings", "transformerClip", "lstm_visual", "cross", "similarity_dense")


def tensors(arch, head="meanP"):
    """(name, shape, mean, std, stored in half precision) under OpenAI's names; head "3d": patches that see three frames."""
    s = SIZES[arch]
    vw, tw = s["vision_width"], s["text_width"]
    out = [("positional_embedding", (s["context"], tw), 0, .01, False),
           ("text_projection", (tw, s["embed"]), 0, 1 / math.sqrt(tw), True),
           ("logit_scale", (), 4.6052, 0, False),
           ("visual.class_embedding", (vw,), 0, 1 / math.sqrt(vw), False),
           ("visual.positional_embedding", (s["grid"] ** 2 + 1, vw), 0, 1 / math.sqrt(vw), False),
           ("visual.proj", (vw, s["embed"]), 0, 1 / math.sqrt(vw), True),
           ("visual.conv1.weight", (vw, 3, s["patch"], s["patch"]), 0, .02, True),
           ("token_embedding.weight", (s["vocab"], tw), 0, .02, False)]

    def layer_norm(name, width):
        out.append((name + ".weight", (width,), 1, .2, False))
        out.append((name + ".bias", (width,), 0, .1, False))

    def blocks(prefix, width, layers, half):
        inner, outer = 1 / math.sqrt(width), 1 / math.sqrt(width * 2 * layers)
        hidden = 1 / math.sqrt(2 * width)
        for i in range(layers):
            block = f"{prefix}.{i}"
            out.extend([(block + ".attn.in_proj_weight", (3 * width, width), 0, inner, half),
                        (block + ".attn.in_proj_bias", (3 * width,), 0, .1, half),
                        (block + ".attn.out_proj.weight", (width, width), 0, outer, half),
                        (block + ".attn.out_proj.bias", (width,), 0, .05, half),
                        (block + ".mlp.c_fc.weight", (4 * width, width), 0, hidden, half),
                        (block + ".mlp.c_fc.bias", (4 * width,), 0, .1, half),
                        (block + ".mlp.c_proj.weight", (width, 4 * width), 0, outer, half),
                        (block + ".mlp.c_proj.bias", (width,), 0, .05, half)])
            layer_norm(block + ".ln_1", width)
            layer_norm(block + ".ln_2", width)

    for name, width in (("visual.ln_pre", vw), ("visual.ln_post", vw), ("ln_final", tw)):
        layer_norm(name, width)
    blocks("visual.transformer.resblocks", vw, s["vision_layers"], True)
    blocks("transformer.resblocks", tw, s["text_layers"], True)
    width, inverse = s["embed"], 1 / math.sqrt(s["embed"])
    if head in ("seqTransf", "seqLSTM"):
        out.append(("frame_position_embeddings.weight", (77, width), 0, .3, False))
    if head == "seqTransf":
        blocks("transformerClip.resblocks", width, 4, False)
    elif head == "seqLSTM":
        for name in ("weight_ih_l0", "weight_hh_l0"):
            out.append(("lstm_visual." + name, (4 * width, width), 0, inverse, False))
        for name in ("bias_ih_l0", "bias_hh_l0"):
            out.append(("lstm_visual." + name, (4 * width,), 0, .1, False))
    elif head == "tightTransf":
        out.append(("cross.embeddings.position_embeddings.weight", (77, width), 0, .3, False))
        blocks("cross.transformer.resblocks", width, 4, False)
        layer_norm("cross.pooler.ln_pool", width)
        out.extend([("cross.pooler.dense.weight", (width, width), 0, inverse, False),
                    ("cross.pooler.dense.bias", (width,), 0, .1, False),
                    ("similarity_dense.weight", (1, width), 0, inverse, False),
                    ("similarity_dense.bias", (1,), 0, .1, False)])
    elif head == "3d":
        out.append(("visual.conv2.weight", (vw, 3, 3, s["patch"], s["patch"]), 0, .012, True))
    return out


def state_dict(arch, seed=1, head="meanP"):
    """As CLIP4Clip stores it, in numpy arrays."""
    out = {}
    for name, shape, mean, std, half in tensors(arch, head):
        array = values(name, shape, mean, std, seed)
        prefix = "" if name.startswith(HEAD_NAMES) else "clip."
        out[prefix + name] = array.astype(np.float16) if half else array
    return out


def frame(k, width, height):
    """Packed RGB: gradients that move with k, and noise."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    gradient = x * 255 // width + k * 20 + c * 60 + (y * 4 // height) * 37
    place = (((k * height + y) * width + x) * 3 + c).astype(np.uint64)
    return ((gradient + (mix(place) & np.uint64(31)).astype(np.int64)) & 255).astype(np.uint8)
