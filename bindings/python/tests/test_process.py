"""Signals, forks, the end of the interpreter, and memory: each in a process of its own."""

from __future__ import annotations

from typing import Any

import pytest

# Runs a call that would take minutes; once the model works on it, the process gets a real SIGINT.
INTERRUPT = """
import io, os, signal, sys, threading, numpy as np, c4c
# Where these tests run in the background of a script, interrupts are ignored, and Python leaves it at that.
signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupt(model, ready):
    while not ready():
        pass
    os.kill(os.getpid(), signal.SIGINT)

model = c4c.Model(WEIGHTS)
frame = c4c.Frame(np.zeros((60, 80, 3), np.uint8))
pipe = os.fdopen(os.pipe()[0], "rb", buffering=0)
token = c4c.CancelToken()
class Slow(io.BytesIO):
    def readinto(self, buffer):
        threading.Event().wait()
calls = {
    "images": lambda: model.embed_images([frame] * 200_000),
    "images with a token": lambda: model.embed_images([frame] * 200_000, cancel=token),
    "score": lambda: model.score(["a dog"] * 3_000_000, [frame]),
    "texts": lambda: model.embed_text(["a dog runs"] * 3_000_000),
    "videos": lambda: model.embed_videos([VIDEO] * 50_000),
    "videos with progress": lambda: model.embed_videos([VIDEO] * 50_000, progress=lambda done, total: None),
    "a pipe": lambda: model.embed_video(pipe),
    "a slow reader": lambda: model.embed_video(Slow(b"x")),
}
what = sys.argv[1] if len(sys.argv) > 1 else WHAT
threading.Thread(target=interrupt, args=(model, lambda: model.stats().running), daemon=True).start()
try:
    calls[what]()
    print("finished")
except KeyboardInterrupt:
    print("interrupted")
assert not token.cancelled
print(model.embed_text("a dog").shape == (model.dim,), model.stats().running)
model.close()
"""


@pytest.mark.parametrize(
    "what",
    [
        "images",
        "images with a token",
        "score",
        "texts",
        "videos",
        "videos with progress",
        "a pipe",
        "a slow reader",
    ],
)
def test_ctrl_c_ends_a_long_call(script: Any, what: str) -> None:
    done = script(f"WHAT = {what!r}\n" + INTERRUPT)
    assert done.stdout.split() == ["interrupted", "True", "0"]


def test_ctrl_c_in_a_program_that_does_not_catch_it(script: Any) -> None:
    code = INTERRUPT.replace("except KeyboardInterrupt:", "except ZeroDivisionError:")
    done = script("WHAT = 'images'\n" + code, check=False)
    assert done.returncode in (130, -2)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def test_a_handler_that_returns_does_not_disturb_the_call(script: Any) -> None:
    done = script("""
        import signal, threading, numpy as np, c4c
        ticks = []
        signal.signal(signal.SIGALRM, lambda *_: ticks.append(model.stats().running))
        frame = c4c.Frame(np.zeros((60, 80, 3), np.uint8))
        with c4c.Model(WEIGHTS) as model:
            expected = model.embed_images([frame])[0]
            signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
            while not any(ticks):
                vectors = model.embed_images([frame] * 500)
                assert np.allclose(vectors, expected, rtol=0, atol=2e-6)
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(max(ticks))
    """)
    assert done.stdout.split() == ["1"]


def test_a_handler_may_cancel_and_may_raise(script: Any) -> None:
    done = script("""
        import signal, numpy as np, c4c
        frame = c4c.Frame(np.zeros((60, 80, 3), np.uint8))
        model, token = c4c.Model(WEIGHTS), c4c.CancelToken()
        signal.signal(signal.SIGALRM, lambda *_: token.cancel())
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            model.embed_images([frame] * 200_000, cancel=token)
        except c4c.CancelledError as e:
            print(e.status.name)
        def late(*_):
            raise LookupError("late")
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            model.embed_images([frame] * 200_000)
        except LookupError as e:
            print(e)
    """)
    assert done.stdout.split() == ["CANCELLED", "late"]


def test_a_forked_child_is_told(script: Any) -> None:
    done = script("""
        import os, sys, warnings, c4c
        warnings.simplefilter("ignore")
        model = c4c.Model(WEIGHTS)
        if os.fork() == 0:
            for call in (lambda: model.embed_text("a"), model.stats, lambda: model.embed_video(VIDEO)):
                try:
                    call()
                except c4c.ForkedError as e:
                    print(e.status.name, "child" in str(e), flush=True)
            model.close()
            sys.exit(0)
        pid, status = os.wait()
        print(status, model.embed_text("a").shape == (model.dim,))
    """)
    assert done.stdout.split() == ["FORKED", "True"] * 3 + ["0", "True"]


def test_a_fork_beside_running_calls(script: Any) -> None:
    """Another thread may hold the binding's lock at that moment; the child must not wait for it."""
    done = script("""
        import os, sys, threading, warnings, c4c
        warnings.simplefilter("ignore")
        model, stop = c4c.Model(WEIGHTS), []
        def work():
            while not stop:
                model.embed_text("a")
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads: t.start()
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                try:
                    model.embed_text("a")
                except c4c.ForkedError:
                    model.close()
                    os._exit(7)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        stop.append(1)
        for t in threads: t.join()
        print("done")
    """)
    assert done.stdout.split() == ["done"]


def test_multiprocessing_makes_models_of_its_own(script: Any, tmp_path: Any) -> None:
    (tmp_path / "worker.py").write_text(
        "import c4c\n"
        "def embed(weights):\n"
        "    with c4c.Model(weights, modality='text') as model:\n"
        "        return model.embed_text('a dog').tolist()\n"
    )
    done = script(
        f"""
        import sys, multiprocessing
        sys.path.insert(0, {str(tmp_path)!r})
        import c4c, worker
        if __name__ == "__main__":
            expected = worker.embed(WEIGHTS)
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                print([v == expected for v in pool.map(worker.embed, [WEIGHTS] * 2)])
        """
    )
    assert done.stdout.strip() == "[True, True]"


@pytest.mark.parametrize(
    "end",
    [
        "",
        "del model",
        "sys.exit(0)",
        "threading.Thread(target=lambda: model.embed_text('late')).start()",
        "model.cycle = model; del model",
        "import atexit; atexit.register(lambda: model.embed_images([frame]))",
        "import atexit; atexit.register(model.close)",
        "sys.modules['keep'] = model",
    ],
)
def test_the_interpreter_ends_without_close(script: Any, end: str) -> None:
    done = script(f"""
        import sys, threading, numpy as np, c4c
        frame = np.zeros((8, 8, 3), np.uint8)
        model = c4c.Model(WEIGHTS, log=lambda level, message: None, log_level="debug")
        model.embed_text("a dog")
        model.embed_images([frame])
        print("end", flush=True)
        {end}
    """)
    assert done.stdout.split() == ["end"]


@pytest.mark.parametrize("call", ["embed_images([frame] * 5000)", "embed_videos([VIDEO] * 500)", "embed_text('a dog')"])
def test_the_interpreter_ends_under_daemon_threads(script: Any, call: str) -> None:
    done = script(f"""
        import threading, numpy as np, c4c
        frame = c4c.Frame(np.zeros((60, 80, 3), np.uint8))
        model = c4c.Model(WEIGHTS, log=lambda level, message: None, log_level="debug")
        def work():
            while True:
                model.{call}
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        while not model.stats().calls:
            pass
        print("end", flush=True)
    """)
    assert done.stdout.split() == ["end"]


def test_memory_does_not_grow(script: Any) -> None:
    done = script(
        """
        import gc, io, numpy as np, c4c
        model = c4c.Model(WEIGHTS, num_threads=1)
        frames = np.zeros((4, 60, 80, 3), np.uint8)
        data = open(VIDEO, "rb").read()
        def resident():
            gc.collect()
            return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
        def attempt(call):
            try:
                call()
            except (c4c.Error, LookupError):
                pass
        def progress(done, total):
            raise LookupError
        def round_():
            for _ in range(100):
                model.embed_text("a dog")
                model.embed_text(["a dog"] * 40, timeout=60)
                model.embed_images(frames, cancel=c4c.CancelToken())
                model.embed_frames(frames[:, ::-1, ::-1])
                attempt(lambda: model.embed_video("/none"))
                attempt(lambda: model.embed_text("a", timeout=0))
                model.stats()
            for _ in range(4):
                model.embed_video(VIDEO)
                model.embed_video(data)
                model.embed_video(io.BytesIO(data))
                model.segments(VIDEO, 0.5)
                model.embed_videos([VIDEO, "/none"], errors="return", progress=lambda done, total: None)
                attempt(lambda: model.embed_videos([VIDEO], progress=progress))
        for _ in range(6):
            round_()
        before = resident()
        for _ in range(6):
            round_()
        print(resident() - before)
        """,
        MALLOC_ARENA_MAX="1",
    )
    assert float(done.stdout) < 4, "MiB more after six rounds"


def test_models_give_their_memory_back(script: Any) -> None:
    done = script(
        """
        import gc, c4c
        def resident():
            gc.collect()
            return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
        def make(close):
            model = c4c.Model(WEIGHTS, log=lambda level, message: None)
            model.embed_text("a dog")
            if close:
                model.close()
        for i in range(6):
            make(i % 2)
        before = resident()
        for i in range(20):
            make(i % 2)
        print(resident() - before)
        """,
        MALLOC_ARENA_MAX="1",
    )
    assert float(done.stdout) < 8, "MiB more after twenty models"
