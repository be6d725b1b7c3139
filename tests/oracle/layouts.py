"""The generated weights of generator.py in every layout that people have, written by PyTorch and by the formats' own
libraries, so that the reader is not tested against its own idea of them."""
import json

import torch
from safetensors.torch import save_file

import generator

LAYOUTS = ("clip4clip", "clip4clip-f32", "legacy", "ddp", "openai", "openclip", "openclip-bf16", "openclip-training",
           "openclip-custom-text", "hf", "hf-f64", "hf-bin", "hf-shards", "hf-text", "hf-vision")
WITH_HEADS = ("clip4clip", "clip4clip-f32", "legacy", "ddp")


def to_hugging_face(sd):
    out = {}
    names = {"positional_embedding": "text_model.embeddings.position_embedding.weight",
             "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
             "visual.class_embedding": "vision_model.embeddings.class_embedding",
             "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
             "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight"}
    parts = (("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"),
             ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"))
    for name, value in sd.items():
        tower, rest = ("vision_model", name[7:]) if name.startswith("visual.") else ("text_model", name)
        if rest.startswith("transformer.resblocks."):
            layer, tensor = rest[len("transformer.resblocks."):].split(".", 1)
            base = f"{tower}.encoder.layers.{layer}."
            if "in_proj" in tensor:
                for part, third in zip("qkv", value.chunk(3)):
                    out[f"{base}self_attn.{part}_proj.{tensor.rsplit('_', 1)[1]}"] = third.clone()
                continue
            for ours, theirs in parts:
                tensor = tensor.replace(ours, theirs)
            out[base + tensor] = value
        elif name == "logit_scale":
            out[name] = value
        elif rest in ("proj", "text_projection"):
            out["visual_projection.weight" if rest == "proj" else "text_projection.weight"] = value.T.contiguous()
        elif name in names:
            out[names[name]] = value
        else:
            rest = rest.replace("ln_pre", "pre_layrnorm").replace("ln_post", "post_layernorm")
            out[f"{tower}.{rest.replace('ln_final', 'final_layer_norm')}"] = value
    out["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return out


def script(sd):
    class Node(torch.nn.Module):
        def forward(self, x: torch.Tensor):
            return x

    root = Node()
    for name, value in sd.items():
        *path, leaf = name.split(".")
        node = root
        for part in path:
            if not hasattr(node, part):
                node.add_module(part, Node())
            node = getattr(node, part)
        node.register_parameter(leaf, torch.nn.Parameter(value, requires_grad=False))
    for name, value in (("input_resolution", 224), ("context_length", 77), ("vocab_size", 49408)):
        root.register_buffer(name, torch.tensor(value))
    return torch.jit.script(root)


def write(folder, layout, arch, head="meanP", seed=1):
    """Writes one layout into `folder`; returns the path to load and the state dict for the oracle."""
    c4c = {k: torch.from_numpy(v.copy()) if v.ndim else torch.tensor(v.item())
           for k, v in generator.state_dict(arch, seed, head).items()}
    sd = {k[5:]: v for k, v in c4c.items() if k.startswith("clip.")}
    path = folder / "checkpoint"
    if layout == "clip4clip":
        torch.save(c4c, path)
    elif layout == "clip4clip-f32":
        torch.save({k: v.float() for k, v in c4c.items()}, path)
    elif layout == "legacy":
        torch.save(c4c, path, _use_new_zipfile_serialization=False)
    elif layout == "ddp":
        torch.save({"epoch": 3, "state_dict": {"module." + k: v for k, v in c4c.items()}}, path)
    elif layout == "openai":
        script(sd).save(str(path))
    elif layout == "openclip":
        save_file(sd, path)
    elif layout == "openclip-bf16":
        sd = {k: v.bfloat16() for k, v in sd.items()}
        save_file(sd, path)
        c4c = {"clip." + k: v for k, v in sd.items()}
    elif layout == "openclip-training":
        parameter = torch.nn.Parameter(torch.zeros(3))
        optimizer = torch.optim.AdamW([parameter])
        parameter.sum().backward()
        optimizer.step()
        torch.save({"epoch": 1, "name": "run", "state_dict": {"module." + k: v for k, v in sd.items()},
                    "optimizer": optimizer.state_dict()}, path)
    elif layout == "openclip-custom-text":
        custom = {k if k.startswith("visual.") or k == "logit_scale" else "text." + k: v for k, v in sd.items()}
        custom["text.attn_mask"] = torch.zeros(77, 77)
        custom["text.text_projection.weight"] = custom.pop("text.text_projection").T.contiguous()
        save_file(custom, path)
    elif layout == "hf":
        save_file(to_hugging_face(sd), path)
    elif layout == "hf-f64":
        save_file({k: v.double() if v.is_floating_point() else v for k, v in to_hugging_face(sd).items()}, path)
    elif layout == "hf-bin":
        torch.save(to_hugging_face(sd), path)
    elif layout == "hf-shards":
        hf = list(to_hugging_face(sd).items())
        index = {}
        for n, part in enumerate((hf[::2], hf[1::2])):
            save_file(dict(part), folder / f"model-{n}.safetensors")
            index.update({k: f"model-{n}.safetensors" for k, _ in part})
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
        config = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
        (folder / "config.json").write_text(json.dumps({"text_config": config, "vision_config": config}))
        path = folder
    elif layout in ("hf-text", "hf-vision"):
        prefix = "text_" if layout == "hf-text" else "vis"
        save_file({k: v for k, v in to_hugging_face(sd).items() if k.startswith(prefix)}, path)
    else:
        raise ValueError(layout)
    return path, c4c
