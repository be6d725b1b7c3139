"""CLIP's two towers in PyTorch, built like OpenAI's code, which CLIP4Clip and Towhee's operator run: nn.MultiheadAttention
over [length, batch, width], QuickGELU, one LayerNorm before each half of a block."""
from collections import OrderedDict

import torch
from torch import nn


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


def plain_attention(attn, x, mask):
    """What `attn` computes, in steps that an exporter traces for any length and any number."""
    length, n, width = x.shape
    q, k, v = (part.reshape(length, n, width // 64, 64).permute(1, 2, 0, 3)
               for part in nn.functional.linear(x, attn.in_proj_weight, attn.in_proj_bias).split(width, -1))
    x = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return attn.out_proj(x.permute(2, 0, 1, 3).reshape(length, n, width))


class Block(nn.Module):
    plain = False

    def __init__(self, width):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=QuickGELU(),
                                             c_proj=nn.Linear(4 * width, width)))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x, mask):
        y = self.ln_1(x)
        if self.plain:
            x = x + plain_attention(self.attn, y, mask)
        else:
            x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width) for _ in range(layers))

    def forward(self, x, mask=None):
        x = x.permute(1, 0, 2)
        for block in self.resblocks:
            x = block(x, mask)
        return x.permute(1, 0, 2)


class Vision(nn.Module):
    """[n, 3, 224, 224] -> [n, 512]"""

    def __init__(self, width=768, layers=12, patch=32, side=224, dim=512):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((side // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, layers)
        self.proj = nn.Parameter(torch.empty(width, dim))

    def forward(self, x):
        x = self.conv1(x).flatten(2).permute(0, 2, 1)
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], 1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.proj


class Text(nn.Module):
    """[n, length] ids -> [n, 512]; the end token has the highest id."""

    def __init__(self, width=512, layers=12, vocab=49408, context=77, dim=512):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab, width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.transformer = Transformer(width, layers)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, dim))
        self.register_buffer("mask", torch.full((context, context), float("-inf")).triu(1), persistent=False)

    def forward(self, ids):
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        x = self.ln_final(self.transformer(x, self.mask[:length, :length]))
        return x[torch.arange(ids.shape[0]), ids.argmax(1)] @ self.text_projection


def load(path, tower, plain=False):
    """The tower "vision" or "text" of a CLIP4Clip checkpoint, in float32, for inference; `plain`: for an exporter."""
    weights = {name.removeprefix("clip."): tensor.float() for name, tensor in
               torch.load(path, map_location="cpu", weights_only=True, mmap=True).items()}
    with torch.device("meta"):
        model = Vision() if tower == "vision" else Text()
    if tower == "vision":
        weights = {name.removeprefix("visual."): t for name, t in weights.items() if name.startswith("visual.")}
    else:
        weights = {name: t for name, t in weights.items() if not name.startswith("visual.") and name != "logit_scale"}
        model.mask = torch.full((77, 77), float("-inf")).triu(1)
    model.load_state_dict(weights, assign=True)
    for module in model.modules():
        if isinstance(module, Block):
            module.plain = plain
    return model.eval().requires_grad_(False)
