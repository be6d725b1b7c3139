"""From frames to what CLIP takes, as Pillow and torchvision do it. Each function: RGB arrays -> [n, 3, 224, 224] floats."""
import numpy as np

from prepare import MEAN, STD, normalised

SIDE = 224


def fitted(width, height):
    """The size with a shorter side of 224, and where its middle square begins; as torchvision's Resize and CenterCrop."""
    short = min(width, height)
    width, height = int(SIDE * width / short), int(SIDE * height / short)
    return width, height, round((width - SIDE) / 2), round((height - SIDE) / 2)


def pillow(frames):
    """What OpenAI's preprocessing does: bicubic resize, crop, float, normalise."""
    from PIL import Image
    out = []
    for frame in frames:
        width, height, left, top = fitted(frame.shape[1], frame.shape[0])
        image = Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)
        out.append(np.asarray(image.crop((left, top, left + SIDE, top + SIDE))))
    return normalised(out)


def torchvision(frames):
    """The same on tensors of bytes, which is torchvision's fastest."""
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import center_crop, resize
    mean, std = torch.from_numpy(MEAN * 255).view(3, 1, 1), torch.from_numpy(STD * 255).view(3, 1, 1)
    out = torch.empty(len(frames), 3, SIDE, SIDE)
    for slot, frame in zip(out, frames):
        # Channels last in memory, as a decoder leaves them: torchvision is faster so.
        image = torch.from_numpy(np.asarray(frame)).permute(2, 0, 1)
        image = center_crop(resize(image, SIDE, InterpolationMode.BICUBIC, antialias=True), SIDE)
        torch.sub(image, mean, out=slot).div_(std)
    return out.numpy()


def mean_vector(vectors):
    """CLIP4Clip's meanP: the unit vector along the mean of the unit vectors."""
    vectors = np.asarray(vectors, np.float64)
    mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(0)
    return (mean / np.linalg.norm(mean))[None]
