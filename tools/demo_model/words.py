"""CLIP's tokenizer for the plain sentences of the grammar, on Hugging Face's `tokenizers` and CLIP's merge table."""

import gzip
import itertools
import pathlib

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

START, END, LENGTH = 49406, 49407, 32  # CLIP4Clip cuts texts to 32 ids
MERGES = pathlib.Path(__file__).parents[2] / "assets" / "bpe_simple_vocab_16e6.txt.gz"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


def tokenizer():
    with gzip.open(MERGES, "rt", encoding="utf-8") as file:
        merges = [tuple(line.split()) for line in file.read().split("\n")[1 : 49152 - 256 - 2 + 1]]
    # The 256 byte symbols, those that are printable first.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    vocabulary = [
        *symbols,
        *(s + "</w>" for s in symbols),
        *("".join(m) for m in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    found = Tokenizer(models.BPE({t: i for i, t in enumerate(vocabulary)}, merges, end_of_word_suffix="</w>"))
    found.normalizer = normalizers.Lowercase()
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS), "removed", invert=True), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return found


class Words:
    def __init__(self):
        self.tokenizer = tokenizer()

    def ids(self, texts):
        """[texts, the longest's ids]; shorter ones end in zeros, as CLIP4Clip pads."""
        rows = [[START, *found.ids[: LENGTH - 2], END] for found in self.tokenizer.encode_batch(texts)]
        return torch.tensor(list(zip(*itertools.zip_longest(*rows, fillvalue=0))))
