"""Section A: the forward pass alone, pictures of 224x224 and texts, vectors of unit length not asked for.

What each peer is given is what its users have ready, so that none pays for another's preparation:
  ours                 RGB bytes of 224x224 through c4c_embed_images, strings through c4c_embed_text: preprocessing,
                       tokenisation and the scaling to unit length are in its time
  everybody else       normalised float32 tensors, token ids as int64; none of that is in their time
Texts go to the peers twice: padded to 77 ids, and cut to the longest of the batch.
"""

import prepare
from prepare import made

IMAGE_JOBS = {"1 image": 1, "12 images": 12, "96 images": 96}
TEXT_JOBS = {"1 text": 1, "32 texts": 32}
VARIANTS = {"padded to 77": False, "cut": True}


def jobs_of(group):
    if group == "images":
        return list(IMAGE_JOBS)
    return [f"{job}, {variant}" for job in TEXT_JOBS for variant in VARIANTS]


class Job:
    """A job's name, taken apart."""

    def __init__(self, name):
        first, _, self.variant = name.partition(", ")
        self.tower = "vision" if first in IMAGE_JOBS else "text"
        self.count = (IMAGE_JOBS | TEXT_JOBS)[first]

    def array(self):
        if self.tower == "vision":
            return prepare.normalised(prepare.pictures(self.count))
        return prepare.token_ids(prepare.texts(self.count), VARIANTS[self.variant])


class Ours:
    def __init__(self, config, precision):
        import ours
        modality = "video" if config["group"] == "images" else "text"
        self.model = ours.Model(config["library"], config["weights"], precision, config["threads"], modality)

    def __call__(self, name):
        job = Job(name)
        if job.tower == "vision":
            frames = prepare.pictures(job.count)
            return lambda: self.model.images(frames)
        sentences = prepare.texts(job.count)
        return lambda: self.model.texts(sentences)


class Torch:
    """A tower as a function of a tensor."""

    def __init__(self, config, build):
        import torch
        torch.set_num_threads(config["threads"])
        self.torch = torch
        self.tower = build(config, "vision" if config["group"] == "images" else "text")

    def __call__(self, name):
        x = self.torch.from_numpy(Job(name).array())

        def run():
            with self.torch.inference_mode():
                return self.tower(x).float().numpy()
        return run


def eager(config, tower):
    import clip_torch
    return clip_torch.load(config["weights"], tower)


def compiled(config, tower, bf16=False):
    import clip_torch
    import torch
    import torch._inductor.config
    # Documented for inference on CPUs: weights become constants that are packed once.
    torch._inductor.config.freezing = True
    # Whole in bf16 and without nn.MultiheadAttention: 126 ms for 12 images where autocast takes 140.
    model = clip_torch.load(config["weights"], tower, plain=True)
    model = model.bfloat16() if bf16 else model
    fast = torch.compile(model, dynamic=False)

    def run(x):
        # Freezing happens under no_grad only, not in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            return fast(x.bfloat16() if bf16 and x.is_floating_point() else x)
    return run


def open_clip_tower(config, tower):
    import open_clip
    import torch
    import torch.nn.functional as F
    model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None)
    weights = torch.load(config["weights"], map_location="cpu", weights_only=True)
    model.load_state_dict({name.removeprefix("clip."): value.float() for name, value in weights.items()}, strict=True)
    model.eval().requires_grad_(False)
    if tower == "vision":
        return model.encode_image
    def texts(ids):
        # encode_text takes 77 ids only. Its own positions and mask, made shorter, let it take fewer.
        length = ids.shape[1]
        if length == 77:
            return model.encode_text(ids)
        x = model.token_embedding(ids) + model.positional_embedding[:length]
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
        return F.linear(x[torch.arange(len(ids)), ids.argmax(1)], model.text_projection.T)
    return texts


def pooled(features):
    """transformers 5 returns an output object, 4 a tensor."""
    return getattr(features, "pooler_output", features)


def transformers_tower(config, tower):
    from transformers import CLIPModel
    model = CLIPModel.from_pretrained(made(config["cache"], "hf"), local_files_only=True)
    if tower == "vision":
        return lambda x: pooled(model.get_image_features(pixel_values=x))
    return lambda ids: pooled(model.get_text_features(input_ids=ids))


class OpenVino:
    """One compiled model for each shape, since with a fixed shape it is at its fastest."""

    def __init__(self, config, precision, suffix=""):
        import openvino as ov
        self.core = ov.Core()
        self.file = made(config["cache"], ("vision" if config["group"] == "images" else "text") + f"{suffix}.xml")
        self.settings = {"INFERENCE_NUM_THREADS": config["threads"], "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                         "INFERENCE_PRECISION_HINT": precision}

    def request(self, shape):
        model = self.core.read_model(self.file)
        model.reshape(list(shape))
        return self.core.compile_model(model, "CPU", self.settings).create_infer_request()

    def __call__(self, name):
        x = Job(name).array()
        request = self.request(x.shape)
        return lambda: request.infer({0: x}, share_inputs=True)[0]


def onnx_session(file, threads):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


class Onnx:
    def __init__(self, config, suffix=""):
        tower = "vision" if config["group"] == "images" else "text"
        self.session = onnx_session(made(config["cache"], f"{tower}{suffix}.onnx"), config["threads"])

    def __call__(self, name):
        x = Job(name).array()
        return lambda: self.session.run(None, {"x": x})[0]


# name: (what its arithmetic is, how it is made). The first gives the vectors that the others are compared with.
PEERS = {
    "towhee f32": ("f32", lambda c: Torch(c, eager)),
    "open_clip f32": ("f32", lambda c: Torch(c, open_clip_tower)),
    "transformers f32": ("f32", lambda c: Torch(c, transformers_tower)),
    "torch.compile f32": ("f32", lambda c: Torch(c, compiled)),
    "OpenVINO f32": ("f32", lambda c: OpenVino(c, "f32")),
    "ONNX Runtime f32": ("f32", lambda c: Onnx(c)),
    "torch.compile bf16": ("bf16", lambda c: Torch(c, lambda *a: compiled(*a, bf16=True))),
    "OpenVINO bf16": ("bf16", lambda c: OpenVino(c, "bf16")),
    "OpenVINO int8": ("int8", lambda c: OpenVino(c, "f32", "-int8")),
    "ONNX Runtime int8": ("int8", lambda c: Onnx(c, "-int8")),
    "ours f32": ("f32", lambda c: Ours(c, "f32")),
    "ours bf16": ("bf16", lambda c: Ours(c, "bf16")),
    "ours int8": ("int8", lambda c: Ours(c, "int8")),
}
REFERENCE = "towhee f32"


def make(config):
    return PEERS[config["peer"]][1](config)
