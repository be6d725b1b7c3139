"""What is taken is given back, and a GPU without room is an error that a model survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inputs import Context, distance, pictures, texts
from report import Report

MIB = 1 << 20
TIMES = 20
# The driver takes and keeps some for itself as it goes on.
GROWTH_MIB = 32
BOUND = 1e-4


def used_bytes(context: Context) -> int:
    """Of the device by everybody, or of this process's memory."""
    if not context.cuda:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * 4096
    import torch

    torch.cuda.synchronize(context.torch_device)
    free, total = torch.cuda.mem_get_info(context.torch_device)
    return int(total - free)


def create_and_free(context: Context, report: Report) -> None:
    name = f"created and freed {TIMES} times: growth"
    with report.check(name):
        weights = context.weights if context.cuda and not context.quick else context.demo / "pytorch_model.bin"
        used = []
        for _ in range(TIMES):
            with context.model(context.best, weights) as model:
                model.texts(["a ball"])
                model.images(pictures(2))
            used.append(used_bytes(context))
        report.data(name, used)
        # The first ones bring up what stays: threads, kernels, libraries' workspaces.
        growth = (used[-1] - used[4]) / MIB
        report.holds(name, growth <= GROWTH_MIB, f"{growth:.1f} MiB", f"at most {GROWTH_MIB} MiB")


def trimmed(context: Context, report: Report) -> None:
    name = "c4c_trim gives memory back"
    with report.check(name), context.model(context.best if context.cuda else "f32") as model:
        frames = pictures(max(context.images))
        expected = model.images(frames)
        before = model.stats()["device_bytes"], used_bytes(context)
        model.model.trim()
        after = model.stats()["device_bytes"], used_bytes(context)
        same = distance(model.images(frames), expected) <= BOUND
        figure = f"{before[0] / MIB:.0f} to {after[0] / MIB:.0f} MiB" if context.cuda else "the model lives on"
        is_so = same and (
            after[0] < before[0] and after[1] <= before[1] if context.cuda else before[0] == after[0] == 0
        )
        report.holds(name, is_so, figure, "less", "" if same else "other vectors than before")


def fill(context: Context, leave: int) -> list[Any]:
    """Takes the GPU's memory until so many bytes are left, or none that libtorch can have."""
    import torch

    held = []
    for step in (1024 * MIB, 64 * MIB, 4 * MIB):
        while torch.cuda.mem_get_info(context.torch_device)[0] - leave > step:
            try:
                held.append(torch.empty(step, dtype=torch.uint8, device=context.torch_device))
            except torch.OutOfMemoryError:
                break
    return held


def out_of_memory(context: Context, report: Report) -> None:
    """Every call succeeds, with a smaller batch perhaps, or says C4C_E_OUT_OF_MEMORY; afterwards all is as before."""
    if not context.cuda:
        report.not_run("a full GPU")
        return
    import torch

    c4c = context.c4c()
    with report.check("a full GPU"), context.model(context.best) as model:
        frames, words = pictures(max(context.images)), texts(256)
        expected = model.images(frames), model.texts(words)
        for leave in (256, 64, 0):
            model.model.trim()
            held, outcomes = fill(context, leave * MIB), []
            for call in (
                lambda: model.images(frames),
                lambda: model.texts(words),
                lambda: context.model(context.best).close(),
            ):
                try:
                    call()
                    outcomes.append("ok")
                except c4c.OutOfMemoryError:
                    outcomes.append("C4C_E_OUT_OF_MEMORY")
                except Exception as error:
                    outcomes.append(f"{type(error).__name__}: {error}")
            held.clear()
            torch.cuda.empty_cache()
            lives = max(distance(model.images(frames), expected[0]), distance(model.texts(words), expected[1])) <= BOUND
            name = f"{leave} MiB left: {len(frames)} images, 256 texts, a model"
            is_so = lives and set(outcomes) <= {"ok", "C4C_E_OUT_OF_MEMORY"}
            short = "/".join("ok" if o == "ok" else "OOM" if o.startswith("C4C_E") else "error" for o in outcomes)
            why = "; ".join(outcomes) + ("" if lives else "; afterwards its vectors are others")
            report.data(name, outcomes)
            report.holds(name, is_so, short, "ok or OOM; lives on", why)


def run(context: Context, report: Report) -> None:
    create_and_free(context, report)
    trimmed(context, report)
    out_of_memory(context, report)
