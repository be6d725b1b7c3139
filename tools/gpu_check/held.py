"""What one model holds of the GPU's memory, in a process that has nothing else there."""

from __future__ import annotations

from about import smi
from inputs import Context, pictures, texts
from report import Report


def run(context: Context, report: Report) -> None:
    if not context.cuda:
        report.not_run("memory that a model holds")
        return
    for graphs in (True, False):
        name = f"memory held by a model in {context.best}, {'recorded passes' if graphs else 'none recorded'}"
        with report.check(name):
            before = smi("memory.used")
            with context.model(context.best, cuda_graphs=graphs) as model:
                loaded = model.stats()["device_bytes"]
                for n in context.images:
                    model.images(pictures(n))
                for n in context.texts:
                    model.texts(texts(n))
                used = model.stats()["device_bytes"]
                after = smi("memory.used")
            mib = 1 << 20
            report.data(name, {"loaded": loaded, "used": used, "nvidia-smi": [before, after]})
            # The context of CUDA and the kernels' code are in the driver's figure and not in libtorch's.
            grown = (
                f"nvidia-smi: +{int(after[0]) - int(before[0])} MiB" if before and after else "nvidia-smi: not there"
            )
            report.holds(name, 0 < loaded <= used, f"{loaded // mib} MiB, then {used // mib}", grown)
