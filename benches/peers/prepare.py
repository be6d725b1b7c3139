"""What the peers run on: one set of seeded random weights, in the form that each of them takes, in the cache folder.

    prepare.py CACHE

Real structure and real speed, but the vectors mean nothing. `checkpoint` has the layout of CLIP4Clip's pytorch_model.bin;
everything else is converted from it. What cannot be made is left out, with the reason in `NAME.error`.
"""
import hashlib
import sys
import zlib
from pathlib import Path

import numpy as np

SEED = 1


def shapes():
    """name, shape, mean, standard deviation of ViT-B/32's tensors, at about the scale of a freshly initialised CLIP."""
    def block(prefix, width, layers):
        inner, outer, hidden = width ** -0.5, (2 * width * layers) ** -0.5, (2 * width) ** -0.5
        for i in range(layers):
            at = f"{prefix}.resblocks.{i}"
            yield f"{at}.attn.in_proj_weight", (3 * width, width), 0, inner
            yield f"{at}.attn.in_proj_bias", (3 * width,), 0, 0.1
            yield f"{at}.attn.out_proj.weight", (width, width), 0, outer
            yield f"{at}.attn.out_proj.bias", (width,), 0, 0.05
            yield f"{at}.mlp.c_fc.weight", (4 * width, width), 0, hidden
            yield f"{at}.mlp.c_fc.bias", (4 * width,), 0, 0.1
            yield f"{at}.mlp.c_proj.weight", (width, 4 * width), 0, outer
            yield f"{at}.mlp.c_proj.bias", (width,), 0, 0.05
            yield from norm(f"{at}.ln_1", width)
            yield from norm(f"{at}.ln_2", width)

    def norm(name, width):
        yield f"{name}.weight", (width,), 1, 0.2
        yield f"{name}.bias", (width,), 0, 0.1

    yield "positional_embedding", (77, 512), 0, 0.01
    yield "text_projection", (512, 512), 0, 512 ** -0.5
    yield "logit_scale", (), 4.6052, 0
    yield "visual.class_embedding", (768,), 0, 768 ** -0.5
    yield "visual.positional_embedding", (50, 768), 0, 768 ** -0.5
    yield "visual.proj", (768, 512), 0, 768 ** -0.5
    yield "visual.conv1.weight", (768, 3, 32, 32), 0, 0.02
    for name, width in (("visual.ln_pre", 768), ("visual.ln_post", 768), ("ln_final", 512)):
        yield from norm(name, width)
    yield from block("visual.transformer", 768, 12)
    yield from block("transformer", 512, 12)
    yield "token_embedding.weight", (49408, 512), 0, 0.02


def checkpoint(path):
    import torch
    weights = {}
    for name, shape, mean, std in shapes():
        rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
        values = rng.standard_normal(shape, np.float32) * np.float32(std) + np.float32(mean)
        weights["clip." + name] = torch.from_numpy(np.asarray(values))
    torch.save(weights, path)


def hugging_face(weights):
    """The weights under the names of transformers' CLIPModel."""
    out = {"logit_scale": weights["logit_scale"],
           "visual_projection.weight": weights["visual.proj"].T.contiguous(),
           "text_projection.weight": weights["text_projection"].T.contiguous(),
           "vision_model.embeddings.class_embedding": weights["visual.class_embedding"],
           "vision_model.embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
           "vision_model.embeddings.position_embedding.weight": weights["visual.positional_embedding"],
           "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
           "text_model.embeddings.position_embedding.weight": weights["positional_embedding"]}
    norms = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm",
             "ln_final": "text_model.final_layer_norm"}
    towers = {"visual.transformer": "vision_model", "transformer": "text_model"}
    for ours, theirs in towers.items():
        for i in range(12):
            a, b = f"{ours}.resblocks.{i}", f"{theirs}.encoder.layers.{i}"
            norms |= {f"{a}.ln_1": f"{b}.layer_norm1", f"{a}.ln_2": f"{b}.layer_norm2",
                      f"{a}.attn.out_proj": f"{b}.self_attn.out_proj",
                      f"{a}.mlp.c_fc": f"{b}.mlp.fc1", f"{a}.mlp.c_proj": f"{b}.mlp.fc2"}
            for kind in ("weight", "bias"):
                for part, name in zip(weights[f"{a}.attn.in_proj_{kind}"].chunk(3), "qkv"):
                    out[f"{b}.self_attn.{name}_proj.{kind}"] = part.clone()
    for ours, theirs in norms.items():
        out |= {f"{theirs}.{kind}": weights[f"{ours}.{kind}"] for kind in ("weight", "bias")}
    return out


def transformers_folder(path, cache):
    import torch
    from transformers import CLIPConfig, CLIPModel
    weights = torch.load(cache / "checkpoint", map_location="cpu", weights_only=True)
    config = CLIPConfig(text_config={"bos_token_id": 49406, "eos_token_id": 49407, "hidden_act": "quick_gelu"},
                        vision_config={"hidden_act": "quick_gelu"})
    model = CLIPModel(config)
    model.load_state_dict(hugging_face({name.removeprefix("clip."): value for name, value in weights.items()}), strict=True)
    model.save_pretrained(path)


def pictures(n, seed=0):
    """n pictures of 224x224, bytes: 8x8 blocks of random colours, as different from each other as pictures are."""
    colours = np.random.default_rng([seed, 224]).integers(0, 256, (n, 8, 8, 3), np.uint8)
    return np.kron(colours, np.ones((1, 28, 28, 1), np.uint8))


MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def normalised(frames):
    """[n, h, w, 3] bytes -> [n, 3, h, w] floats as CLIP takes them."""
    return np.ascontiguousarray(((np.asarray(frames, np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2))


WORDS = ("a man is riding the red motorcycle across an old bridge while two small dogs run beside him on the beach at night "
         "and people watch from their cars").split()


def texts(n, seed=0):
    """n sentences of 8 to 32 token ids, or one of 8 to 16; every word of them is one id."""
    rng = np.random.default_rng([seed, n])
    lengths = [12] if n == 1 else np.linspace(8, 32, n).astype(int)
    return [" ".join(rng.choice(WORDS, length - 2)) for length in lengths]


def token_ids(sentences, cut):
    """[n, 77] ids padded with zeros, or cut to the longest of them."""
    import open_clip
    ids = open_clip.tokenizer.SimpleTokenizer()(sentences).numpy()
    longest = int((ids != 0).sum(1).max())
    return np.ascontiguousarray(ids[:, :longest] if cut else ids)


def tower_input(tower, n=2, seed=7):
    import torch
    if tower == "vision":
        return torch.from_numpy(normalised(pictures(n, seed)))
    return torch.from_numpy(token_ids(texts(n, seed), False))


def onnx(path, cache, tower):
    import clip_torch
    import torch
    model = clip_torch.load(cache / "checkpoint", tower, plain=True)
    axes = {0: "n"} if tower == "vision" else {0: "n", 1: "length"}
    with torch.inference_mode():
        # The older exporter, which keeps the length dynamic and needs no further package.
        torch.onnx.export(model, (tower_input(tower),), path, input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": axes, "y": {0: "n"}}, opset_version=17, dynamo=False)


def onnx_int8(path, cache, tower):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(cache / f"{tower}.onnx", path, weight_type=QuantType.QInt8, per_channel=True,
                     op_types_to_quantize=["MatMul", "Gemm", "Gather"])


def openvino(path, cache, tower):
    import openvino as ov
    ov.save_model(ov.convert_model(cache / f"{tower}.onnx"), path, compress_to_fp16=False)


def openvino_int8(path, cache, tower):
    """Weights and activations, calibrated on data like the benchmark's but not the same."""
    import nncf
    import openvino as ov
    model = ov.Core().read_model(cache / f"{tower}.xml")
    data = [tower_input(tower, 4, seed).numpy() for seed in range(100, 116)]
    done = nncf.quantize(model, nncf.Dataset(data), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(data),
                         preset=nncf.QuantizationPreset.MIXED)
    ov.save_model(done, path, compress_to_fp16=False)


def made(cache, name):
    """A file of the cache folder, or the reason why it is not there."""
    path = Path(cache) / name
    failed = path.with_name(name + ".error")
    if failed.exists():
        raise RuntimeError(f"{name} could not be made: {failed.read_text()[:200]}")
    return path


def make(path, function, *args):
    """A file or folder, whole or not there. Remove it, or its `.error`, to have it made again."""
    failed = path.with_name(path.name + ".error")
    if path.exists() or failed.exists():
        return
    print("making", path.name, file=sys.stderr, flush=True)
    part = path.with_name("part-" + path.name)
    try:
        function(part, *args)
    except Exception as error:
        failed.write_text(f"{type(error).__name__}: {error}")
        print(f"{path.name} fails: {error}", file=sys.stderr)
        return
    if path.suffix == ".xml":
        part.with_suffix(".bin").rename(path.with_suffix(".bin"))
    part.rename(path)


def main():
    cache = Path(sys.argv[1])
    cache.mkdir(parents=True, exist_ok=True)
    make(cache / "checkpoint", checkpoint)
    make(cache / "hf", transformers_folder, cache)
    for tower in ("vision", "text"):
        make(cache / f"{tower}.onnx", onnx, cache, tower)
        make(cache / f"{tower}-int8.onnx", onnx_int8, cache, tower)
        make(cache / f"{tower}.xml", openvino, cache, tower)
        make(cache / f"{tower}-int8.xml", openvino_int8, cache, tower)
    print(hashlib.sha256((cache / "checkpoint").read_bytes()).hexdigest()[:16])


if __name__ == "__main__":
    main()
