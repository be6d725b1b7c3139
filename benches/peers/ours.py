"""libc4c through ctypes: as much of include/c4c.h as the comparisons here and in tests/oracle need. Needs numpy only.

    with ours.Model("target/release/libc4c.so", "pytorch_model.bin", precision="bf16", threads=2) as model:
        model.images(frames)       # [n, h, w, 3] bytes -> [n, 512] floats
        model.frames(frames)       # the same as one video -> [512]
        model.texts(["a dog"])     # [n, 512]
        model.video("dog.mp4")     # [512]
        model.score(texts, frames) # the head's own -> [n]
        model.stats()              # c4c_stats as a dictionary
"""
import ctypes as c

import numpy as np

PRECISIONS = {"auto": 0, "f32": 1, "bf16": 2, "f16": 3, "int8": 4}
MODALITIES = {"both": 0, "text": 1, "video": 2}
COLORS = {"tagged": 0, "operator": 1}
SEEKS = {"exact": 0, "approximate": 1}
UNSUPPORTED = -3
RGB24, I420 = 1, 6


class Error(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("status", c.c_int32), ("message", c.c_char * 504)]


class Options(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("modality", c.c_uint32), ("model_name", c.c_char_p),
                ("weights_path", c.c_char_p), ("tokenizer_path", c.c_char_p), ("device", c.c_char_p),
                ("precision", c.c_uint32), ("head", c.c_uint32), ("activation", c.c_uint32), ("max_words", c.c_uint32),
                ("flags", c.c_uint32), ("num_threads", c.c_uint32), ("max_batch", c.c_uint32),
                ("max_batch_delay_us", c.c_uint32), ("log", c.c_void_p), ("log_user_data", c.c_void_p),
                ("log_level", c.c_uint32), ("reserved", c.c_uint32)]


class Info(c.Structure):
    _fields_ = [("struct_size", c.c_uint32)] + [(name, c.c_uint32) for name in (
        "dim", "modality", "head", "activation", "precision", "num_threads", "max_batch", "max_words", "image_size",
        "patch_size", "vision_width", "vision_layers", "text_width", "text_layers", "context_length", "vocab_size")] + [
        ("logit_scale", c.c_float), ("device", c.c_char * 32), ("model_name", c.c_char * 32), ("weights", c.c_char * 64)]


class Stats(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("reserved", c.c_uint32)] + [(name, c.c_uint64) for name in (
        "calls", "running", "failed_argument", "failed_media", "failed_memory", "failed_other", "cancelled",
        "timed_out", "texts", "images", "text_batches", "image_batches")] + [
        ("mean_text_batch", c.c_double), ("mean_image_batch", c.c_double)] + [(name, c.c_uint64) for name in (
            "queued_texts", "queued_images", "waiting_calls", "bytes_held")] + [(name, c.c_int64) for name in (
                "queue_us", "decode_us", "preprocess_us", "text_forward_us", "image_forward_us")]


class Frame(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("format", c.c_uint32), ("width", c.c_uint32), ("height", c.c_uint32),
                ("planes", c.c_void_p * 4), ("strides", c.c_int64 * 4), ("color_matrix", c.c_uint32),
                ("color_range", c.c_uint32), ("rotation", c.c_uint32), ("reserved", c.c_uint32)]


class VideoOptions(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("num_frames", c.c_uint32), ("sampling", c.c_uint32), ("seek", c.c_uint32),
                ("fps", c.c_double), ("start_us", c.c_int64), ("end_us", c.c_int64), ("color", c.c_uint32),
                ("flags", c.c_uint32), ("decode_threads", c.c_uint32), ("stream_index_plus_1", c.c_uint32),
                ("max_pixels", c.c_uint64)]


class Failure(Exception):
    """A call's error, with its status."""

    def __init__(self, name, status, message):
        super().__init__(f"{name}: {message} ({status})")
        self.status = status


class Model:
    """One c4c_model. `more` are c4c_options' fields as numbers."""

    def __init__(self, library, weights, precision="f32", threads=0, modality="both", **more):
        self.lib = c.CDLL(str(library))
        self.lib.c4c_dim.restype = c.c_size_t
        self.lib.c4c_dim.argtypes = [c.c_void_p]
        self.lib.c4c_free.restype = None
        self.lib.c4c_free.argtypes = [c.c_void_p]
        self.lib.c4c_version.restype = c.c_char_p
        self.lib.c4c_build_info.restype = c.c_char_p
        self.handle = c.c_void_p()
        options = Options(struct_size=c.sizeof(Options), weights_path=str(weights).encode(), num_threads=threads,
                          precision=PRECISIONS[precision], modality=MODALITIES[modality], **more)
        self._call("c4c_create", c.byref(options), c.byref(self.handle))
        self.dim = self.lib.c4c_dim(self.handle)
        self.threads = threads

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.lib.c4c_free(self.handle)
        self.handle = c.c_void_p()

    def _call(self, name, *args):
        error = Error(struct_size=c.sizeof(Error))
        status = getattr(self.lib, name)(*args, c.byref(error))
        if status:
            raise Failure(name, status, error.message.decode(errors="replace"))

    def _output(self, rows):
        out = np.empty((rows, self.dim), np.float32)
        return out, out.ctypes.data_as(c.c_void_p), c.c_size_t(out.size)

    def texts(self, texts):
        array = (c.c_char_p * len(texts))(*[text.encode() for text in texts])
        out, pointer, room = self._output(len(texts))
        self._call("c4c_embed_text", self.handle, array, c.c_size_t(len(texts)), None, pointer, room)
        return out

    def _slots(self, frames):
        slots = (Frame * len(frames))()
        slots.kept = [np.ascontiguousarray(frame, np.uint8) for frame in frames]
        for slot, frame in zip(slots, slots.kept):
            slot.struct_size, slot.format = c.sizeof(Frame), RGB24
            slot.height, slot.width = frame.shape[:2]
            slot.planes[0], slot.strides[0] = frame.ctypes.data, frame.strides[0]
        return slots

    def images_i420(self, frames):
        """`frames`: [h * 3 / 2, w] bytes each, Y above U above V, as PyAV's to_ndarray() makes of yuv420p; h a multiple of 4."""
        slots = (Frame * len(frames))()
        slots.kept = [np.ascontiguousarray(frame, np.uint8) for frame in frames]
        for slot, frame in zip(slots, slots.kept):
            rows, width = frame.shape
            height = rows * 2 // 3
            slot.struct_size, slot.format, slot.width, slot.height = c.sizeof(Frame), I420, width, height
            u = frame.ctypes.data + width * height
            slot.planes[0], slot.planes[1], slot.planes[2] = frame.ctypes.data, u, u + width * height // 4
            slot.strides[0], slot.strides[1], slot.strides[2] = width, width // 2, width // 2
        return self._embed("c4c_embed_images", slots, len(slots))

    def _embed(self, call, slots, rows):
        out, pointer, room = self._output(rows)
        self._call(call, self.handle, slots, c.c_size_t(len(slots)), None, pointer, room)
        return out

    def images(self, frames):
        return self._embed("c4c_embed_images", self._slots(frames), len(frames))

    def frames(self, frames):
        return self._embed("c4c_embed_frames", self._slots(frames), 1)[0]

    def score(self, texts, frames):
        array = (c.c_char_p * len(texts))(*[text.encode() for text in texts])
        slots, out = self._slots(frames), np.empty(len(texts), np.float32)
        self._call("c4c_score", self.handle, array, c.c_size_t(len(texts)), slots, c.c_size_t(len(slots)), None,
                   out.ctypes.data_as(c.c_void_p), c.c_size_t(out.size))
        return out

    def video(self, path, decode_threads=None, color="tagged", seek="exact", num_frames=0):
        """`decode_threads` as many as the forward pass has, unless told otherwise."""
        options = VideoOptions(struct_size=c.sizeof(VideoOptions), num_frames=num_frames, seek=SEEKS[seek],
                               color=COLORS[color],
                               decode_threads=self.threads if decode_threads is None else decode_threads)
        out, pointer, room = self._output(1)
        self._call("c4c_embed_video_path", self.handle, str(path).encode(), c.byref(options), None, pointer, room)
        return out[0]

    def info(self):
        return self._filled("c4c_get_info", Info)

    def stats(self):
        return self._filled("c4c_get_stats", Stats)

    def _filled(self, call, kind):
        filled = kind(struct_size=c.sizeof(kind))
        self._call(call, self.handle, c.byref(filled))
        values = {name: getattr(filled, name) for name, _ in kind._fields_ if name not in ("struct_size", "reserved")}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}

    def about(self):
        return self.lib.c4c_build_info().decode()


def library_about(library):
    """c4c_build_info of a library, in a line of JSON."""
    lib = c.CDLL(str(library))
    lib.c4c_build_info.restype = c.c_char_p
    return lib.c4c_build_info().decode()
