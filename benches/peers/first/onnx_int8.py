"""first/onnx_int8.py CACHE VIDEO THREADS: one vector without PyTorch: PyAV with seeks, Pillow, ONNX Runtime in int8."""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import decode
import frames
import model

cache, video, threads = sys.argv[1:]
session = model.onnx_session(cache + "/vision-int8.onnx", int(threads))
pixels = frames.pillow(decode.pyav_seek(video, int(threads)))
print(json.dumps(frames.mean_vector(session.run(None, {"x": pixels})[0])[0].tolist()))
