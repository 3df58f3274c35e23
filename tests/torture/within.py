"""What is tried in one process of Python: numbers at their ends, and hundreds of jobs without growth."""

from __future__ import annotations

import os
import random
import resource
import threading
import warnings
from pathlib import Path

import numpy as np
from report import Part

ENDS = (np.inf, -np.inf, np.nan, 1e38, 1e30, -1e30, 1e-38, 0.0)
TEMPERATURES = (1e-6, 1e-3, 1.0, 1e3, 1e6)
MOST_GROWTH_MIB = 32.0


def numbers(part: Part, draw: random.Random) -> None:
    """Distil from logits and inputs with one end of the numbers among them: a result, or a message that is ours."""
    import torch

    import limbeck
    from limbeck.errors import LimbeckError

    generator = torch.Generator().manual_seed(draw.randrange(1 << 30))
    inputs, logits = torch.randn(40, 4, generator=generator), torch.randn(40, 3, generator=generator)
    where, end = draw.choice((inputs, logits)), draw.choice(ENDS)
    if draw.random() < 0.7:
        where[draw.randrange(40), draw.randrange(3)] = end
    labels = torch.arange(40) % draw.choice((1, 3, 3, 3))
    recipe = limbeck.TrainConfig(num_epochs=1, learning_rate=draw.choice((1e-3, 0.1, 1e10, 1e30)))
    temperature = draw.choice(TEMPERATURES)
    what = f"end {end:g} in {'inputs' if where is inputs else 'logits'}, T {temperature:g}, {recipe.learning_rate:g}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            limbeck.distill(
                "mlp:widths=4",
                limbeck.LogitsTeacher(logits),
                train=(inputs[: draw.choice((1, 40, 40, 40))], labels),
                temperature=temperature,
                recipe=recipe,
                seeds=1,
                progress="silent",
            )
        part.add("a result")
    except LimbeckError:
        part.add("a message")
    except Exception as error:
        part.add("not as promised", f"{what}: {type(error).__name__}: {error}")


def jobs(part: Part, folder: Path, count: int) -> None:
    """Run ``distill`` so often in this process; memory, descriptors, threads and temporary files must not grow."""
    import torch

    import limbeck

    torch.set_num_threads(1)
    inputs, labels = torch.randn(60, 4), torch.arange(60) % 3
    recipe = limbeck.TrainConfig(num_epochs=1)
    settings = {"train": (inputs, labels), "recipe": recipe, "seeds": 1, "progress": "silent", "overwrite": True}
    levels: list[tuple[int, int, int, float]] = []
    for number in range(count):
        limbeck.distill("mlp:widths=4", "mlp:widths=4", out=folder / "flat", **settings)
        levels.append(_levels())
        if number < count // 2:
            half = levels[-1]
    grown = levels[-1][3] - half[3]
    more = [after - before for before, after in zip(half[:3], levels[-1][:3], strict=True)]
    part.facts.append(
        f"Of {count} jobs the second half took {grown:.1f} MiB more of memory at most; descriptors {more[0]:+d}, "
        f"threads {more[1]:+d}, temporary files {more[2]:+d}."
    )
    part.add("flat" if grown <= MOST_GROWTH_MIB and not any(more) else "not as promised")
    if grown > MOST_GROWTH_MIB or any(more):
        part.complaints.append(f"{grown:.1f} MiB, descriptors, threads, files {more}")


def _levels() -> tuple[int, int, int, float]:
    """Return descriptors, threads, temporary files, and the peak of memory in MiB."""
    import tempfile

    files = len(os.listdir(tempfile.gettempdir()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return len(os.listdir("/proc/self/fd")), threading.active_count(), files, peak
