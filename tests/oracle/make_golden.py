#!/usr/bin/env python3
"""Writes tests/golden/{tiny,b32}.f32: what an oracle makes of the generated checkpoints (seed 1), texts and frames.

    make_golden.py --oracle reference.py

Float32, one vector after the other: the texts of texts.json, the video of 12 generated frames of 320x240, and the
frames 0, 1 and 2 at 320x240, 90x160 and 224x224 each by itself. Texts and single frames are not normalised.

And heads.f32, of the architecture "small" and the video at 224x224, which nothing resizes: the video's vector for meanP, seqTransf, seqLSTM and 3d, then for meanP,
seqTransf, seqLSTM and tightTransf the scores of the texts against the video.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch

import generator
from parity import TEXTS, load_module

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
SINGLE = [(320, 240), (90, 160), (224, 224)]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--oracle", required=True)
    oracle = load_module(ap.parse_args().oracle)
    tokenizer = oracle.BpeTokenizer(str(HERE.parent.parent / "assets/bpe_simple_vocab_16e6.txt.gz"))
    (GOLDEN / "texts.json").write_text(json.dumps(TEXTS, indent=1) + "\n")
    video = [generator.frame(k, 320, 240) for k in range(12)]

    def load(arch, head="meanP"):
        weights = generator.state_dict(arch, head=head)
        return oracle.Clip4ClipReference({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})

    vectors, scores = [], []
    exact = [generator.frame(k, 224, 224) for k in range(12)]
    for head in generator.HEADS:
        reference = load("small", head)
        frames = reference.frame_embeddings(reference.preprocess(exact))
        texts = [torch.from_numpy(reference.operator_text(tokenizer, text)) for text in TEXTS]
        if head == "tightTransf":
            scores.append([reference.tight_transf_logit(text, frames).item() for text in texts])
            continue
        pool = {"seqTransf": reference.seq_transf, "seqLSTM": reference.seq_lstm}.get(head, reference.mean_p)
        vector = pool(frames)
        vectors.append(vector.numpy())
        if head != "3d":
            scale = reference.sd["clip.logit_scale"].exp()
            scores.append([(scale * (text / text.norm()) @ vector).item() for text in texts])
    np.concatenate([np.ravel(vectors), np.ravel(scores)]).astype("<f4").tofile(GOLDEN / "heads.f32")

    for arch in ("tiny", "b32"):
        reference = load(arch)
        rows = [reference.operator_text(tokenizer, text) for text in TEXTS]
        rows.append(reference.operator_video(video))
        for k, (width, height) in enumerate(SINGLE):
            pixels = reference.preprocess([generator.frame(k, width, height)])
            rows.append(reference.frame_embeddings(pixels)[0].numpy())
        np.stack(rows).astype("<f4").tofile(GOLDEN / f"{arch}.f32")


if __name__ == "__main__":
    main()
