"""What ``peers.py`` runs in its environment: each way's epoch, in turns, and each library's soft loss.

    python peers_inside.py ENVIRONMENT NUM_ROUNDS NUM_SAMPLES    (prints JSON)

Times are the processor's, medians over the rounds; a ratio is the median of each round's. That every way runs the same
epoch is measured too: the students' weights are compared with those of a bare loop. A way that does not run is reported
with its error.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from peers_losses import soft_losses
from peers_ways import (
    BATCH_SIZE,
    FLOOR,
    HARD_WEIGHT,
    OWN_ORDER,
    OWN_REFERENCE,
    REFERENCE,
    SGD,
    SOFT_WEIGHT,
    TEMPERATURE,
    WAYS,
    Task,
    Way,
)
from torch import nn

from limbeck.bench.timing import interleaved, machine_facts


def measure(folder: Path, *, num_rounds: int, num_samples: int) -> dict[str, Any]:
    """Time every way that runs, in turns; compare the students; check the soft losses. JSON-able."""
    torchvision = declare_torchvision_operators()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        task = Task.random(num_samples, Path(scratch))
        ways, students, not_run = _tried(task)
        timings = interleaved(ways, num_rounds=num_rounds, warmup=1, clock=time.process_time)
    packages = ("limbeck", "torchdistill", "textbrewer", "torch", "torchvision")
    return {
        "name": "peers",
        "settings": {
            "num_samples": num_samples,
            "batch_size": BATCH_SIZE,
            "temperature": TEMPERATURE,
            "hard_weight": HARD_WEIGHT,
            "soft_weight": SOFT_WEIGHT,
            "optimiser": "SGD, " + ", ".join(f"{key} {value}" for key, value in SGD.items()),
            "loader": "the peers': TensorDataset in memory, DataLoader, num_workers 0",
            "num_rounds": num_rounds,
            "dtype": "float32",
        },
        "versions": {package: metadata.version(package) for package in packages},
        "torchvision": torchvision,
        "ways": {way.__name__: (way.__doc__ or "").rstrip(".") for way in WAYS},
        "floor": FLOOR,
        "seconds": {
            name: {"median": timing.median_seconds, "low": timing.low_seconds, "high": timing.high_seconds}
            for name, timing in timings.items()
        },
        "ratios": {name: timing.ratio_to(timings[FLOOR]) for name, timing in timings.items()},
        "difference": {name: _difference(name, students, task.student()) for name in ways},
        "not_run": not_run,
        "soft_loss": soft_losses(),
        "machine": machine_facts(),
    }


def declare_torchvision_operators() -> str:
    """Make ``import torchvision`` work beside a CPU build of torch; return what was needed.

    torchdistill imports it. PyPI's wheel is built for CUDA: its compiled operators do not load there, and its Python
    part then fails on the schemas that they would have declared. None of these operators is used here.
    """
    tried = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return "imports as it is"
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)
    error = tried.stderr.strip().splitlines()[-1]
    return f"imports once the schemas of nms and qnms are declared (without: {error})"


_KEPT: list[Any] = []  # a library's declarations end with it


def _tried(task: Task) -> tuple[dict[str, Way], dict[str, nn.Module], dict[str, str]]:
    """Set up and run each way once: those that run, their students, and why the others do not."""
    ways: dict[str, Way] = {}
    students: dict[str, nn.Module] = {}
    not_run: dict[str, str] = {}
    for set_up in WAYS:
        name = set_up.__name__
        try:
            way = set_up(task)
            students[name] = way()
            ways[name] = way
        except Exception as error:  # a peer may fail in any manner; the table says how
            not_run[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ways, students, not_run


def _difference(name: str, students: dict[str, nn.Module], fresh: nn.Module) -> float | None:
    """Distance between a student and the reference, over the distance that the reference travelled in training."""
    if name in OWN_ORDER:
        return None
    start, student, reference = (
        nn.utils.parameters_to_vector(network.parameters()).detach()
        for network in (fresh, students[name], students[OWN_REFERENCE.get(name, REFERENCE)])
    )
    return float((student - reference).norm() / (reference - start).norm())


def main() -> None:
    folder, num_rounds, num_samples = itertools.islice(sys.argv, 1, 4)
    print(json.dumps(measure(Path(folder), num_rounds=int(num_rounds), num_samples=int(num_samples))))


if __name__ == "__main__":
    main()
