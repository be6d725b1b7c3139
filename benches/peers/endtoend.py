"""Section D: from a video's path to its vector, with everything loaded.

  towhee-like              PyAV decodes and converts every frame, 12 are taken; Pillow; CLIP in eager float32
  transformers + PyAV      PyAV decodes every frame, 12 are converted; CLIPImageProcessor; CLIPModel
  best Python, OpenVINO …  of PyAV with seeks, decord and torchcodec the one that was fastest for this file at its first call;
                           torchvision on bytes; OpenVINO
  ours …                   c4c_embed_video_path
"""
import time

import clips
import decode
import frames
import model
from prepare import made


def towhee(config):
    import clip_torch
    import torch
    torch.set_num_threads(config["threads"])
    tower = clip_torch.load(config["weights"], "vision")

    def embed(path):
        with torch.inference_mode():
            pixels = frames.pillow(decode.pyav(path, config["threads"], convert_all=True))
            return frames.mean_vector(tower(torch.from_numpy(pixels)).numpy())
    return embed


def transformers(config):
    import torch
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection
    torch.set_num_threads(config["threads"])
    folder = made(config["cache"], "hf")
    tower = CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True).eval()
    processor = CLIPImageProcessor()  # its defaults are CLIP's

    def embed(path):
        with torch.inference_mode():
            pixels = processor(images=decode.pyav(path, config["threads"]), return_tensors="pt")
            return frames.mean_vector(tower(**pixels).image_embeds.numpy())
    return embed


class Best:
    DECODERS = (decode.torchcodec, decode.pyav_seek, decode.decord)

    def __init__(self, config, precision, suffix=""):
        import torch
        torch.set_num_threads(config["threads"])
        self.threads = config["threads"]
        maker = model.OpenVino(config | {"group": "images"}, precision, suffix)
        self.request = maker.request((decode.PICKS, 3, frames.SIDE, frames.SIDE))
        self.decoder = {}

    def choose(self, path):
        """The second of two calls counts, so that an import does not."""
        def time_of(decoder):
            try:
                decoder(path, self.threads)
                start = time.perf_counter()
                decoder(path, self.threads)
                return time.perf_counter() - start
            except Exception:
                return float("inf")
        return min(self.DECODERS, key=time_of)

    def __call__(self, path):
        if path not in self.decoder:
            self.decoder[path] = self.choose(path)
        pixels = frames.torchvision(self.decoder[path](path, self.threads))
        return frames.mean_vector(self.request.infer({0: pixels}, share_inputs=True)[0])


def ours_at(config, precision):
    import ours
    loaded = ours.Model(config["library"], config["weights"], precision, config["threads"], "video")
    return lambda path: loaded.video(path)[None]


PEERS = {
    "towhee-like f32": ("f32", towhee),
    "transformers + PyAV f32": ("f32", transformers),
    "best Python, OpenVINO f32": ("f32", lambda c: Best(c, "f32")),
    "best Python, OpenVINO bf16": ("bf16", lambda c: Best(c, "bf16")),
    "best Python, OpenVINO int8": ("int8", lambda c: Best(c, "f32", "-int8")),
    "ours f32": ("f32", lambda c: ours_at(c, "f32")),
    "ours bf16": ("bf16", lambda c: ours_at(c, "bf16")),
    "ours int8": ("int8", lambda c: ours_at(c, "int8")),
}
REFERENCE = "towhee-like f32"


def make(config):
    embed = PEERS[config["peer"]][1](config)

    def jobs(name):
        path = config["files"][name]
        if isinstance(embed, Best):
            embed.decoder[path] = embed.choose(path)  # before the clock runs
        return lambda: embed(path)
    jobs.compiles_nothing = True  # but at the first job, which is a short one
    return jobs


def section(bench):
    names = clips.QUICK if bench.args.quick else [*clips.QUICK, clips.LONG]
    files = {path.name: str(path) for path in clips.make(bench.args, names)}
    kinds = {peer: kind for peer, (kind, _) in PEERS.items()}
    left_out = {"best Python, OpenVINO f32", "transformers + PyAV f32"} if bench.args.quick else set()
    peers = [peer for peer in PEERS if peer not in left_out]
    for threads in bench.args.threads:
        bench.turns("D. From a path to its vector", "whole-path", peers, kinds, list(files), threads, REFERENCE,
                    extra={"files": files})
