"""first/transformers_pyav.py CACHE VIDEO THREADS: one vector by transformers' CLIP of the frames that PyAV decodes."""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import endtoend

cache, video, threads = sys.argv[1:]
embed = endtoend.transformers({"cache": cache, "threads": int(threads)})
print(json.dumps(embed(video)[0].tolist()))
