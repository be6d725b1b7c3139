"""libc4c through ctypes, as much of it as the comparisons need."""
import ctypes as c

import numpy as np


class Error(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("status", c.c_int32), ("message", c.c_char * 504)]


class Options(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("modality", c.c_uint32), ("model_name", c.c_char_p),
                ("weights_path", c.c_char_p), ("tokenizer_path", c.c_char_p), ("device", c.c_char_p),
                ("precision", c.c_uint32), ("head", c.c_uint32), ("activation", c.c_uint32), ("max_words", c.c_uint32),
                ("flags", c.c_uint32), ("num_threads", c.c_uint32), ("max_batch", c.c_uint32),
                ("max_batch_delay_us", c.c_uint32), ("log", c.c_void_p), ("log_user_data", c.c_void_p),
                ("log_level", c.c_uint32), ("reserved", c.c_uint32)]


class Frame(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("format", c.c_uint32), ("width", c.c_uint32), ("height", c.c_uint32),
                ("planes", c.c_void_p * 4), ("strides", c.c_int64 * 4), ("color_matrix", c.c_uint32),
                ("color_range", c.c_uint32), ("rotation", c.c_uint32), ("reserved", c.c_uint32)]


class Failure(Exception):
    def __init__(self, name, error):
        super().__init__(f"{name}: {error.message.decode()} ({error.status})")
        self.status = error.status


class Model:
    """One handle. `library` is the path of libc4c.so; the options are c4c_options' fields."""

    def __init__(self, library, weights, **options):
        self.lib = c.CDLL(str(library))
        self.lib.c4c_dim.restype = c.c_size_t
        self.lib.c4c_free.restype = None
        self.handle = c.c_void_p()
        chosen = Options(struct_size=c.sizeof(Options), weights_path=str(weights).encode(), **options)
        self.call("c4c_create", c.byref(chosen), c.byref(self.handle))
        self.dim = self.lib.c4c_dim(self.handle)

    def call(self, name, *args):
        error = Error(struct_size=c.sizeof(Error))
        if getattr(self.lib, name)(*args, c.byref(error)):
            raise Failure(name, error)

    def close(self):
        self.lib.c4c_free(self.handle)
        self.handle = None

    def output(self, rows):
        out = np.empty((rows, self.dim), np.float32)
        return out, out.ctypes.data_as(c.c_void_p), c.c_size_t(out.size)

    def texts(self, texts):
        array = (c.c_char_p * len(texts))(*[t.encode() for t in texts])
        out, pointer, room = self.output(len(texts))
        self.call("c4c_embed_text", self.handle, array, c.c_size_t(len(texts)), None, pointer, room)
        return out

    def _slots(self, frames):
        array = (Frame * len(frames))()
        array.kept = [np.ascontiguousarray(f, np.uint8) for f in frames]
        for slot, f in zip(array, array.kept):
            slot.struct_size, slot.format = c.sizeof(Frame), 1
            slot.height, slot.width = f.shape[:2]
            slot.planes[0], slot.strides[0] = f.ctypes.data, f.strides[0]
        return array

    def _frames(self, call, frames, rows):
        out, pointer, room = self.output(rows)
        self.call(call, self.handle, self._slots(frames), c.c_size_t(len(frames)), None, pointer, room)
        return out

    def frames(self, frames):
        return self._frames("c4c_embed_frames", frames, 1)[0]

    def images(self, frames):
        return self._frames("c4c_embed_images", frames, len(frames))

    def score(self, texts, frames):
        array = (c.c_char_p * len(texts))(*[t.encode() for t in texts])
        slots = self._slots(frames)
        out = np.empty(len(texts), np.float32)
        self.call("c4c_score", self.handle, array, c.c_size_t(len(texts)), slots, c.c_size_t(len(frames)), None,
                  out.ctypes.data_as(c.c_void_p), c.c_size_t(out.size))
        return out

    def video(self, path):
        out, pointer, room = self.output(1)
        self.call("c4c_embed_video_path", self.handle, str(path).encode(), None, None, pointer, room)
        return out[0]
