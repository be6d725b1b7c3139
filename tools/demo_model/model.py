"""CLIP4Clip (arXiv 2104.08860) in small: modules whose parameters have the names and shapes of the original's
checkpoints."""

import collections

import torch
from torch import nn
from torch.nn import functional as F

CONTEXT, VOCABULARY = 77, 49408  # CLIP's own
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, causal):
        batch, length, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        # In single precision: the backward pass of bfloat16 is three times slower on a CPU.
        y = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=causal)
        return self.out_proj(y.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width, heads, eps):
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = nn.LayerNorm(width, eps)
        self.mlp = nn.Sequential(
            collections.OrderedDict(
                c_fc=nn.Linear(width, 4 * width), gelu=QuickGELU(), c_proj=nn.Linear(4 * width, width)
            )
        )
        self.ln_2 = nn.LayerNorm(width, eps)

    def forward(self, x, causal):
        x = x + self.attn(self.ln_1(x), causal)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Heads are 64 wide, as in CLIP: loaders read their number from the width."""

    def __init__(self, width, layers, eps=1e-5):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, width // 64, eps) for _ in range(layers))
        for block in self.resblocks:
            for part in (block.attn.out_proj, block.mlp.c_proj):
                nn.init.normal_(part.weight, std=width**-0.5 * (2 * layers) ** -0.5)
                nn.init.zeros_(part.bias)

    def forward(self, x, causal=False):
        for block in self.resblocks:
            x = block(x, causal)
        return x


def waves(side, width):
    """[side * side + 1, width]: sines and cosines of the patches' rows and columns, where training begins; the class
    token's are zero. From noise, the tower takes far longer to learn where things are."""
    at = torch.arange(side) / side
    phases = at[:, None] * torch.pi * 2 ** torch.linspace(-1, 2, width // 4)
    one = torch.cat([phases.sin(), phases.cos()], 1)
    both = torch.cat([one[:, None].expand(-1, side, -1), one[None].expand(side, -1, -1)], -1).flatten(0, 1)
    return torch.cat([torch.zeros(1, width), both * 0.5])


def cosines(width, patch):
    """[width, 3, patch, patch]: the coarsest of the discrete cosine transform's patterns in the three colours, where
    training begins. Noise sees little but brightness in pictures as smooth as these."""
    at = (torch.arange(patch) + 0.5) * torch.pi / patch
    order = sorted(((u, v) for u in range(patch) for v in range(patch)), key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
    patterns = torch.stack([torch.outer((u * at).cos(), (v * at).cos()) for u, v in order[: -(-width // 3)]])
    patterns = patterns / patterns.flatten(1).norm(dim=1)[:, None, None]
    filters = torch.einsum("nxy,cd->ncdxy", patterns, torch.eye(3)).flatten(0, 1)[:width]
    return filters / patch * 3


class Vision(nn.Module):
    def __init__(self, width, layers, embed, patch, resolution):
        super().__init__()
        self.resolution = resolution
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.conv1.weight.data = cosines(width, patch)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positional_embedding = nn.Parameter(waves(resolution // patch, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, embed) * width**-0.5)

    def tokens(self, pixels):
        """[n, 3, resolution, resolution] normalised -> [n, 1 + patches, width], before the projection."""
        # The patches do not overlap: one product does what the convolution would.
        n, patch, width = len(pixels), self.conv1.kernel_size[0], len(self.class_embedding)
        x = (
            pixels.unfold(2, patch, patch)
            .unfold(3, patch, patch)
            .permute(0, 2, 3, 1, 4, 5)
            .reshape(n, -1, 3 * patch * patch)
        )
        x = F.linear(x, self.conv1.weight.view(width, -1))
        x = torch.cat([self.class_embedding.expand(n, 1, -1), x], 1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x)))

    def features(self, pixels):
        """The class token of `tokens`, [n, width]: all that CLIP reads."""
        return self.tokens(pixels)[:, 0]


class Clip(nn.Module):
    def __init__(self, vision_width, vision_layers, patch, resolution, text_layers, embed):
        super().__init__()
        self.visual = Vision(vision_width, vision_layers, embed, patch, resolution)
        self.token_embedding = nn.Embedding(VOCABULARY, embed)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, embed) * 0.01)
        self.transformer = Transformer(embed, text_layers)
        self.ln_final = nn.LayerNorm(embed)
        self.text_projection = nn.Parameter(torch.randn(embed, embed) * embed**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(3.0))

    def texts(self, ids, forget=0.0):
        """[n, length] -> [n, embed]; the end token has the highest id. `forget` is the share of words that are taken
        away at random in training, so that words which the model has never met, whose rows are zero, do no harm
        later."""
        x = self.token_embedding(ids)
        if forget:
            x = x * ((torch.rand(ids.shape) >= forget) | (ids >= VOCABULARY - 2))[..., None]
        x = x + self.positional_embedding[: ids.shape[1]]
        x = self.transformer(x, causal=True)[torch.arange(len(ids)), ids.argmax(-1)]
        return self.ln_final(x) @ self.text_projection


class Clip4Clip(nn.Module):
    """With `head_layers` the seqTransf head, without them meanP."""

    def __init__(
        self, vision_width=128, vision_layers=4, patch=12, resolution=120, text_layers=3, embed=64, head_layers=4
    ):
        super().__init__()
        self.clip = Clip(vision_width, vision_layers, patch, resolution, text_layers, embed)
        if head_layers:
            self.frame_position_embeddings = nn.Embedding(CONTEXT, embed)
            nn.init.normal_(self.frame_position_embeddings.weight, std=0.1)
            self.transformerClip = Transformer(embed, head_layers, eps=1e-12)

    def videos(self, features):
        """[n, frames, width] of `Vision.features` -> [n, embed] of unit length."""
        frames = features @ self.clip.visual.proj
        if hasattr(self, "transformerClip"):
            order = self.frame_position_embeddings.weight[: frames.shape[1]]
            frames = frames + self.transformerClip(frames + order)
        return F.normalize(F.normalize(frames, dim=-1).mean(1), dim=-1)


def normalised(squares):
    """[n, side, side, 3] bytes -> what CLIP's image tower reads."""
    mean, std = (torch.tensor(v, device=squares.device)[:, None, None] for v in (MEAN, STD))
    return (squares.permute(0, 3, 1, 2).float() / 255 - mean) / std
