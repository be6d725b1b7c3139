"""first/towhee.py CACHE VIDEO THREADS: one vector, decoded, preprocessed and computed as Towhee's operator does."""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import endtoend

cache, video, threads = sys.argv[1:]
embed = endtoend.towhee({"weights": cache + "/checkpoint", "threads": int(threads)})
print(json.dumps(embed(video)[0].tolist()))
