"""Collecting soft targets on Ray: the speed of two workers beside that of one, on two cores of this machine.

    OMP_NUM_THREADS=1 python benchmarks/ray_workers.py

A worker is an actor that keeps teacher and data. A Ray that is started on one core has one, on two cores two. A
collection of few samples and one of many are timed by the clock, and what the many take longer is the time of their
difference: so the starts of Ray, of the workers and of their teachers cancel out. Rounds are interleaved; the medians
of each way's speeds are compared. The goal is 0.9 of twice the speed of one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TEACHER = "resnet:depth=14,width=0.5"
SHARD_BYTES = 16_000  # about 800 samples of ten classes: a second or two of the teacher
COUNTS = (4_000, 40_000)


def main() -> None:
    """Make data and a teacher, collect in turn, and print the speeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory(prefix="ray") as scratch:
        folder = Path(scratch)
        os.environ["RAY_TMPDIR"] = scratch  # so that no Ray of this machine is joined
        prepare(folder)
        speeds: dict[int, list[float]] = {1: [], 2: []}
        for number in range(arguments.rounds):
            for num_workers in speeds:
                few, many = (collected(folder, count, cores[:num_workers], number) for count in COUNTS)
                speeds[num_workers].append((COUNTS[1] - COUNTS[0]) / (many - few))
    one, two = (statistics.median(speeds[num_workers]) for num_workers in (1, 2))
    print(json.dumps({"samples_per_second": speeds, "two_to_twice_one": two / (2 * one)}))


def prepare(folder: Path) -> None:
    """Write images of noise, few and many, and a teacher that has seen a few of them."""
    generator = np.random.default_rng(0)
    for count in COUNTS:
        images = generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        np.savez(folder / f"{count}.npz", inputs=images, labels=np.arange(count) % 10)
    few = ["--data", str(folder / f"{COUNTS[0]}.npz"), "--labels", "100", "--epochs", "1", "--seeds", "1"]
    limbeck("train", *few, "--student", TEACHER, "--out", str(folder / "teacher"))


def collected(folder: Path, count: int, cores: list[int], number: int) -> float:
    """Return the seconds of one collection on these cores."""
    out = folder / f"store-{count}-{len(cores)}-{number}"
    start = time.perf_counter()
    limbeck(
        "cache", "--data", str(folder / f"{count}.npz"), "--teacher", str(folder / "teacher"), "--runner", "ray",
        "--shard-bytes", str(SHARD_BYTES), "--device", "cpu", "--out", str(out), cores=cores,
    )  # fmt: skip
    return time.perf_counter() - start


def limbeck(*arguments: str, cores: list[int] | None = None) -> None:
    """Run the command line, on some cores alone; raise where it fails."""
    command = [sys.executable, "-m", "limbeck", *arguments, "--progress", "silent"]
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL,
        preexec_fn=None if cores is None else lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip


if __name__ == "__main__":
    main()
