"""What ``--compile`` gains: the speed of epochs of distillation with torch.compile beside those without.

    OMP_NUM_THREADS=1 python benchmarks/compiled_steps.py

Networks of three kinds learn CIFAR-like noise from stored targets on one thread, in turn with and without the compiler.
The speed is that of an epoch's steps as the log tells it, from the second epoch on; the first holds the compilation,
whose length is printed beside: the first epoch's time less the time of the later ones. Medians over epochs and rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from pathlib import Path

import torch

from limbeck.data import Samples, Views
from limbeck.models import build
from limbeck.objectives import Distillation
from limbeck.teachers import LogitsTeacher
from limbeck.training import Runtime, TrainConfig, fit

NETWORKS = ("mlp:widths=800x800", "convnet:channels=16x32", "resnet:depth=8")
NUM_SAMPLES, NUM_CLASSES = 6_400, 10


def main() -> None:
    """Train in turn, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for spec in NETWORKS:
        speeds: dict[bool, list[float]] = {False: [], True: []}
        first: list[float] = []
        for _ in range(arguments.rounds):
            for compiles, found in speeds.items():
                seconds = epochs(spec, compiles=compiles, num_epochs=arguments.epochs)
                found += [NUM_SAMPLES / one for one in seconds[1:]]
                if compiles:
                    first.append(seconds[0] - statistics.median(seconds[1:]))
        plain, compiled = (statistics.median(speeds[compiles]) for compiles in (False, True))
        print(json.dumps({
            "network": spec, "samples_per_second": plain, "compiled": compiled, "speed_ratio": compiled / plain,
            "seconds_of_first_compilation": first[0], "of_later_ones": statistics.median(first[1:] or first),
        }), flush=True)  # fmt: skip


def epochs(spec: str, *, compiles: bool, num_epochs: int) -> list[float]:
    """Return the seconds of each epoch of one training."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (NUM_SAMPLES, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.arange(NUM_SAMPLES) % NUM_CLASSES
    samples = Samples("noise", torch.arange(NUM_SAMPLES), pixels, labels, tuple(map(str, range(NUM_CLASSES))))
    teacher = LogitsTeacher(torch.randn(NUM_SAMPLES, NUM_CLASSES, generator=generator), ids=samples.ids)
    torch.manual_seed(0)
    student = build(spec, input_shape=samples.input_shape, num_classes=NUM_CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(
            student, samples, Distillation(temperature=4.0), recipe=TrainConfig(num_epochs=num_epochs), teacher=teacher,
            views=Views(), runtime=Runtime.resolve("cpu", "fp32", compiles=compiles), checkpoint=Path(folder) / "state",
            checkpoint_seconds=1e9,
        )  # fmt: skip
    ends = [0.0, *(epoch.elapsed_seconds for epoch in fitted.history)]
    return [end - begin for begin, end in itertools.pairwise(ends)]


if __name__ == "__main__":
    main()
