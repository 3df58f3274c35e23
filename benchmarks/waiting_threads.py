"""What two threads cost where another process holds a core: the default of GNU's OpenMP beside what limbeck sets.

    python benchmarks/waiting_threads.py

Ten steps of a plain loop (784-800-800-10, batch 128) on one thread, on two that spin as they do by default, and on two
that spin for a bounded time (``limbeck.waiting``), each in a process of its own; a process in a session of its own
computes without an end beside them, and then not. Medians of seven times ten steps, in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from limbeck.waiting import spin_environment

WAYS = {"one thread": (1, {}), "two, default": (2, {}), "two, bounded": (2, spin_environment({}))}


def main() -> None:
    """Time all ways, with another process and without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        print(timed(arguments.threads))
        return
    for is_busy in (True, False):
        other = (
            subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) if is_busy else None
        )
        try:
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(arguments.rounds):
                for way, (num_threads, variables) in WAYS.items():
                    seconds[way].append(in_a_process(num_threads, variables))
        finally:
            if other is not None:
                other.kill()
                other.wait()
        print(json.dumps({"another process": is_busy, "seconds": seconds}), flush=True)


def in_a_process(num_threads: int, variables: dict[str, str]) -> float:
    """Return what a process with these variables measures."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, str(Path(__file__)), "--threads", str(num_threads)]
    done = subprocess.run(command, env=environment | variables, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def timed(num_threads: int) -> float:
    """Return the median time of ten steps."""
    import torch
    from torch import nn

    torch.set_num_threads(num_threads)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(784, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(), nn.Linear(800, 10)
    )  # fmt: skip
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
    inputs, labels = torch.randn(128, 784), torch.randint(0, 10, (128,))
    found = []
    for _ in range(8):
        start = time.perf_counter()
        for _ in range(10):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs), labels).backward()
            optimiser.step()
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


if __name__ == "__main__":
    main()
