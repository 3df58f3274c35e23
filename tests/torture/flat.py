"""Hundreds of jobs in one process: memory, descriptors, threads and temporary files stay as they are."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from report import Part

MOST_JOBS, LEAST_JOBS = 500, 20
MOST_GROWTH_MIB = 16.0
NAMES = ("MiB of memory", "descriptors", "threads", "temporary files")


def flat(part: Part, folder: Path, seconds: float) -> None:
    """Run ``distill`` 500 times in this process; memory, descriptors, threads and temporary files must not grow.

    Every fifth job is mutual, every fifth by self-distillation, every fifth from two teachers.

    Args:
        part: that is told.
        folder: for the jobs.
        seconds: after which no other job is begun, once there were 20.
    """
    start, levels = time.perf_counter(), []
    while len(levels) < MOST_JOBS and (len(levels) < LEAST_JOBS or time.perf_counter() - start < seconds):
        _job(len(levels), folder / "flat")
        levels.append(_levels())
    count = len(levels)
    half, end = levels[count // 2 - 1], levels[-1]
    more = [after - before for before, after in zip(half, end, strict=True)]
    grown = ", ".join(f"{name} {change:+.1f}" for name, change in zip(NAMES, more, strict=True))
    part.facts.append(
        f"Of {count} jobs the second half changed: {grown}. Memory after job 10 was {levels[9][0]:.0f} "
        f"MiB, after half of them {half[0]:.0f}, after all {end[0]:.0f}."
    )
    is_flat = more[0] <= MOST_GROWTH_MIB and not any(more[1:])
    part.add("flat" if is_flat else "not as promised", "" if is_flat else grown)


def _job(number: int, out: Path) -> None:
    import torch

    import limbeck

    inputs, labels = torch.randn(60, 4), torch.arange(60) % 3
    recipe = limbeck.TrainConfig(num_epochs=1)
    settings = {"train": (inputs, labels), "recipe": recipe, "seeds": 1, "progress": "silent", "overwrite": True}
    kind = number % 5
    if kind == 1:
        limbeck.distill_mutual(["mlp:widths=4", "mlp:widths=3"], out=out, **settings)
    elif kind == 2:
        limbeck.distill_self("mlp:widths=6x5", exits=["features.relu1"], out=out, **settings)
    elif kind == 3:
        limbeck.distill("mlp:widths=4", ["mlp:widths=4", "mlp:widths=5"], out=out, **settings)
    else:
        limbeck.distill("mlp:widths=4", "mlp:widths=4", out=out, **settings)


def _levels() -> tuple[float, int, int, int]:
    """Return what this process holds just now: MiB of memory, descriptors, threads; and temporary files."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return memory, *(len(os.listdir(path)) for path in ("/proc/self/fd", "/proc/self/task", tempfile.gettempdir()))
