"""What a sharded student keeps, how long its steps take, and how long it waits for a checkpoint.

    torchrun --standalone --nproc-per-node 2 benchmarks/sharded_student.py
    torchrun --standalone --nproc-per-node 2 benchmarks/sharded_student.py --student-sharding none
    torchrun --standalone --nproc-per-node 2 benchmarks/sharded_student.py --student vgg8 --smallest-block 1

Numbers are of rank 0, on the CPU, one thread each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from limbeck.data import as_samples
from limbeck.models import build, sharding
from limbeck.objectives import HardLabels
from limbeck.training import Runtime, SilentProgress, TrainConfig, fit
from limbeck.training.run import TrainingRun
from limbeck.training.saving import Checkpoints

WIDTH, NUM_BLOCKS, NUM_STEPS, BATCH_SIZE = 1024, 24, 12, 64


class Residual(nn.Module):
    """x + ReLU(W x + b)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return a tensor like the inputs."""
        return inputs + self.layer(inputs).relu()


def resident_bytes(what: str = "VmRSS") -> int:
    """Return what the system holds in memory for this process, or ("VmHWM") the most that it has held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) * 1024


def main() -> None:
    """Train, and print what was measured, as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--student-sharding", choices=("none", "full"), default="full")
    parser.add_argument("--student", help="network of the zoo, on images of 32 x 32; 24 blocks of a million otherwise")
    parser.add_argument("--smallest-block", type=int, default=sharding.SMALLEST_BLOCK, help="weights gathered alone")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments = parser.parse_args()
    way, sharding.SMALLEST_BLOCK = arguments.student_sharding, arguments.smallest_block
    torch.set_num_threads(1)
    runtime = Runtime.resolve("cpu", arguments.precision, takes_ranks=True, student_sharding=way)
    torch.manual_seed(0)
    count = NUM_STEPS * BATCH_SIZE
    shape = (3, 32, 32) if arguments.student else (WIDTH,)
    samples = as_samples((torch.randn(count, *shape), torch.randint(0, 10, (count,))))
    before = resident_bytes()
    blocks = nn.Sequential(*[Residual() for _ in range(NUM_BLOCKS)], nn.Linear(WIDTH, 10))
    student = build(arguments.student, input_shape=shape, num_classes=10) if arguments.student else blocks
    pauses, held, peaks, steps = [], [], [], []
    seen = {"step": time.perf_counter()}
    take_step, kinds = TrainingRun.take_step, Checkpoints.__subclasses__()

    def timed_step(run: TrainingRun, *given: object, **more: object) -> None:
        held.append(resident_bytes())  # gradients are there
        peaks.append(resident_bytes("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # begins to look for the most anew
        take_step(run, *given, **more)  # type: ignore[arg-type]
        steps.append(time.perf_counter() - seen["step"])
        seen["step"] = time.perf_counter()

    def timed(save: object) -> object:
        def measured(checkpoints: Checkpoints) -> None:
            begun = time.perf_counter()
            save(checkpoints)  # type: ignore[operator]
            pauses.append(time.perf_counter() - begun)
            seen["step"] = time.perf_counter()

        return measured

    TrainingRun.take_step = timed_step  # type: ignore[method-assign]
    for kind in kinds:
        kind.save = timed(kind.save)  # type: ignore[assignment, method-assign]
    recipe = TrainConfig(num_epochs=1, batch_size=BATCH_SIZE, optimiser="adamw", learning_rate=1e-4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(runtime.ranks.from_first(lambda: folder)) / "student.pt"
        fit(student, samples, HardLabels(), recipe=recipe, runtime=runtime, checkpoint=path, progress=SilentProgress())
        runtime.ranks.gather(None)
    if runtime.ranks.is_first:
        weights = sum(parameter.numel() for parameter in student.parameters())
        found = {
            "ranks": runtime.ranks.size,
            "sharding": way,
            "smallest_block": sharding.SMALLEST_BLOCK,
            "precision": runtime.precision,
            "weights": weights,
            "held_bytes_a_weight": round((max(held) - before) / weights, 2),
            "peak_bytes_a_weight": round((max(peaks[1:]) - before) / weights, 2),
            "step_seconds": round(sorted(steps)[len(steps) // 2], 3),
            "save_seconds": [round(pause, 3) for pause in pauses],
        }
        print(json.dumps(found))


if __name__ == "__main__":
    main()
