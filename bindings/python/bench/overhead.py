"""What the Python binding adds to a call.

    python bench/overhead.py WEIGHTS HEADER_FOLDER

For one text: a helper of a few lines of C, compiled here, calls c4c_embed_text of the loaded library in a loop and
gives the mean; Python calls Model.embed_text as often, from the main thread and from another. For one picture: what it
costs that the main thread's call can be interrupted, against the direct call of another thread. All take turns, many
times; of each, the median of the rounds counts. The smaller the model, the less its own time blurs the difference.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import tempfile
import threading
from pathlib import Path
from time import perf_counter
from typing import Any, Callable

import numpy as np

import c4c
from c4c._library import lib

HELPER = """
#include <c4c.h>
#include <time.h>

typedef c4c_status embed_text(
    const c4c_model *, const char *const *, size_t, const c4c_call *, float *, size_t, c4c_error *);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

double mean_us(embed_text *call, const c4c_model *model, const char *text, int n, float *out, size_t room) {
    const double start = now();
    for (int i = 0; i < n; ++i) {
        c4c_error err = {.struct_size = sizeof err};
        if (call(model, &text, 1, NULL, out, room, &err)) return -1;
    }
    return (now() - start) / n * 1e6;
}
"""


def compile_helper(headers: str, folder: str) -> Any:
    source, shared = Path(folder, "mean.c"), Path(folder, "mean.so")
    source.write_text(HELPER)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", f"-I{headers}", source, "-o", shared], check=True)
    helper = ctypes.CDLL(str(shared)).mean_us
    helper.restype = ctypes.c_double
    helper.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    return helper


def python_mean(call: Callable[[], object], n: int) -> float:
    start = perf_counter()
    for _ in range(n):
        call()
    return (perf_counter() - start) / n * 1e6


def on_thread(function: Callable[[], float]) -> float:
    results: list[float] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def report(rows: dict[str, list[float]]) -> None:
    base = statistics.median(next(iter(rows.values())))
    for name, values in rows.items():
        middle = statistics.median(values)
        low, high = np.percentile(values, [10, 90])
        print(f"{name:34} {middle:8.2f} us   (p10 {low:.2f}, p90 {high:.2f})   {middle - base:+.2f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description="What the Python binding adds to a call.")
    parser.add_argument("weights")
    parser.add_argument("headers")
    parser.add_argument("--text", default="a dog runs on the beach")
    parser.add_argument("--calls", type=int, default=300, help="in a round")
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, c4c.Model(args.weights, num_threads=1) as model:
        helper = compile_helper(args.headers, folder)
        out = np.empty(model.dim, np.float32)
        function = ctypes.cast(lib.c4c_embed_text, ctypes.c_void_p)
        pointer, text = model._handle._pointer, args.text.encode()
        picture = [c4c.Frame(np.zeros((224, 224, 3), np.uint8))]

        def in_c() -> float:
            return float(helper(function, pointer, text, args.calls, out.ctypes.data, out.size))

        def texts() -> float:
            return python_mean(lambda: model.embed_text(args.text), args.calls)

        def pictures() -> float:
            return python_mean(lambda: model.embed_images(picture), args.calls // 10)

        of_text: dict[str, list[float]] = {"a text, C": [], "a text, main thread": [], "a text, another thread": []}
        of_picture: dict[str, list[float]] = {"a picture, another thread": [], "a picture, main thread": []}
        text_calls: list[Callable[[], float]] = [in_c, texts, lambda: on_thread(texts)]
        picture_calls: list[Callable[[], float]] = [lambda: on_thread(pictures), pictures]
        for _ in range(args.rounds):
            for rows, calls in ((of_text, text_calls), (of_picture, picture_calls)):
                for values, call in zip(rows.values(), calls):
                    values.append(call())
    report(of_text)
    report(of_picture)


if __name__ == "__main__":
    main()
