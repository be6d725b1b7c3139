"""Section C: from a decoded frame to what the model takes, on one thread, milliseconds for one frame.

Of RGB frames, and of YUV 4:2:0 frames as decoders leave them. Ours is c4c_stats.preprocess_us of c4c_embed_images: converting,
scaling and cropping. swscale to RGB only scales and converts: no crop, no floats.
"""
import time

import clips
import frames
from turns import Timed

SIZES = {"320x240": "320x240.mp4", "1920x1080": "h264.mp4"}
COUNT = 12


def decoded(path):
    import av
    with av.open(path) as container:
        for _, frame in zip(range(COUNT), container.decode(video=0)):
            yield frame


class Preprocess:
    def __init__(self, config):
        self.config, self.peer = config, config["peer"]
        self.model = None
        if self.peer.startswith("ours"):
            import ours
            self.model = ours.Model(config["library"], config["weights"], "bf16", 1, "video")
        if self.peer == "torchvision":
            import torch
            torch.set_num_threads(1)

    def __call__(self, job):
        kept = list(decoded(self.config["files"][SIZES[job]]))
        rgb = [frame.to_ndarray(format="rgb24") for frame in kept]
        yuv = [frame.to_ndarray(format="yuv420p") for frame in kept]
        width, height, *_ = frames.fitted(kept[0].width, kept[0].height)
        do = {"Pillow": lambda: frames.pillow(rgb),
              "torchvision": lambda: frames.torchvision(rgb),
              "swscale to RGB only, from YUV": lambda: [f.reformat(width, height, "rgb24", interpolation="BICUBIC", threads=1)
                                                        for f in kept] and None,
              "PyAV's RGB + Pillow, from YUV": lambda: frames.pillow([f.to_ndarray(format="rgb24", threads=1) for f in kept]),
              "ours": lambda: self.model.images(rgb),
              "ours, from YUV": lambda: self.model.images_i420(yuv)}[self.peer]

        def run():
            before = self.model.stats()["preprocess_us"] if self.model else time.perf_counter_ns() // 1000
            got = do()
            after = self.model.stats()["preprocess_us"] if self.model else time.perf_counter_ns() // 1000
            pixels = None if self.model or got is None else got[:2].reshape(2, -1)
            return Timed((after - before) * 1000 // COUNT, pixels)
        return run


PEERS = ("Pillow", "torchvision", "swscale to RGB only, from YUV", "PyAV's RGB + Pillow, from YUV", "ours", "ours, from YUV")


def make(config):
    return Preprocess(config)


def section(bench):
    files = {path.name: str(path) for path in clips.make(bench.args, clips.QUICK)}
    jobs = [job for job, name in SIZES.items() if name in files]
    bench.turns("C. Preprocess, one frame; the cosine is that of the pixels", "preprocess", PEERS, {}, jobs, 1, "Pillow",
                extra={"files": files})
