"""Hundreds of jobs in one process: memory, descriptors, threads and temporary files stay as they are."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

from children import run
from report import Part

MOST_JOBS, LEAST_JOBS = 500, 20
MOST_GROWTH_MIB, MOST_SECONDS = 16.0, 300.0
LARGE, LARGE_SECONDS = 6, 60.0  # the job of a million samples, where the time is enough for it
NAMES = ("MiB of memory", "descriptors", "threads", "temporary files")


def flat(part: Part, folder: Path, seconds: float) -> None:
    """Run ``distill`` 500 times in one process; memory, descriptors, threads and temporary files must not grow.

    Every fifth job is mutual, every fifth by self-distillation, every fifth from two teachers; where there is time, one
    has a million samples.

    Args:
        part: that is told.
        folder: for the jobs.
        seconds: after which no other job is begun, once there were 20.
    """
    told = folder / "levels"
    outcome = run([], folder, target=lambda: _run_jobs(folder, seconds), timeout=2 * seconds + MOST_SECONDS)
    if not told.exists():
        part.add("flat", f"the process ended with {outcome.code}: {outcome.text[-300:]}")
        return
    levels = json.loads(told.read_text())
    count = len(levels)
    half, end = levels[count // 2 - 1], levels[-1]
    more = [after - before for before, after in zip(half, end, strict=True)]
    grown = ", ".join(f"{name} {change:+.1f}" for name, change in zip(NAMES, more, strict=True))
    large = f" Job {LARGE} had a million samples." if seconds >= LARGE_SECONDS else ""
    part.facts.append(
        f"Of {count} jobs in one process the second half changed: {grown}. Memory after job 10 was {levels[9][0]:.0f} "
        f"MiB, after half of them {half[0]:.0f}, after all {end[0]:.0f}.{large}"
    )
    is_flat = more[0] <= MOST_GROWTH_MIB and not any(more[1:])
    for number in range(count):
        part.add("done", "" if is_flat or number else grown)


def _run_jobs(folder: Path, seconds: float) -> None:
    """Run the jobs, and write what this process holds after each."""
    start, levels = time.perf_counter(), []
    while len(levels) < MOST_JOBS and (len(levels) < LEAST_JOBS or time.perf_counter() - start < seconds):
        is_large = len(levels) + 1 == LARGE and seconds >= LARGE_SECONDS
        _job(len(levels), folder / "flat", num_samples=1_000_000 if is_large else 60)
        levels.append(_levels())
    (folder / "levels").write_text(json.dumps(levels))


def _job(number: int, out: Path, *, num_samples: int) -> None:
    import torch

    import limbeck

    inputs, labels = torch.randn(num_samples, 4), torch.arange(num_samples) % 3
    recipe = limbeck.TrainConfig(num_epochs=1, batch_size=4096 if num_samples > 4096 else 64)
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
