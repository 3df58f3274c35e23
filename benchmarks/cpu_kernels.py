"""What bfloat16, kernels laid out channels last and quick dropout masks save on this CPU, in one training step.

    OMP_NUM_THREADS=1 python benchmarks/cpu_kernels.py
    OMP_NUM_THREADS=1 python benchmarks/cpu_kernels.py --rounds 21 three_block resnet32

A step is forward, cross-entropy and backward of a batch of 64 images of 3 x 32 x 32, without the optimiser. A ratio is
the median over interleaved rounds of the step's time over that of float32 with torch's own layout.
"""

from __future__ import annotations

import argparse
import contextlib
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bench.timing import Timing, interleaved
from limbeck.models import Dropout, build

INPUT_SHAPE = (3, 32, 32)
NETWORKS = ("three_block:width=0.5", "vgg16:width=0.25", "resnet:depth=14,width=0.5", "resnet:depth=8")
DROPOUT_SHAPE = (256, 1200)
STEPS_PER_ROUND = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="specs of the zoo")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, bfloat16 in hardware: {torch.cpu._is_avx512_bf16_supported()}")
    for spec in arguments.networks:
        show(spec, interleaved(steps_of(spec), num_rounds=arguments.rounds), floor="fp32, as torch lays out")
    for dtype in (torch.float32, torch.bfloat16):
        name = f"dropout of {DROPOUT_SHAPE[0]} x {DROPOUT_SHAPE[1]}, {str(dtype).removeprefix('torch.')}"
        values = torch.randn(DROPOUT_SHAPE).to(dtype)
        ways = {"torch": partial(nn.Dropout(0.5), values), "limbeck": partial(Dropout(0.5), values)}
        show(name, interleaved(ways, num_rounds=10 * arguments.rounds), floor="torch")


def steps_of(spec: str) -> dict[str, partial[None]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(64, *INPUT_SHAPE, generator=generator)
    labels = torch.randint(0, 10, (64,), generator=generator)
    ways = {}
    for precision in ("fp32", "bf16"):
        for layout, told in (
            (torch.contiguous_format, "as torch lays out"),
            (torch.channels_last, "channels last"),
        ):
            network = build(spec, input_shape=INPUT_SHAPE, num_classes=10, seed=0).to(memory_format=layout)
            ways[f"{precision}, {told}"] = partial(take_steps, network, images, labels, precision == "bf16")
    return ways


def take_steps(network: nn.Module, images: Tensor, labels: Tensor, in_bfloat16: bool) -> None:
    for _ in range(STEPS_PER_ROUND):
        context = torch.autocast("cpu", torch.bfloat16) if in_bfloat16 else contextlib.nullcontext()
        with context:
            loss = F.cross_entropy(network(images), labels)
        loss.backward()


def show(name: str, timings: dict[str, Timing], *, floor: str) -> None:
    steps = 1 if name.startswith("dropout") else STEPS_PER_ROUND
    print(f"\n{name}")
    for way, timing in timings.items():
        ratio = timing.ratio_to(timings[floor])
        print(f"  {way:24} {1e3 * timing.median_seconds / steps:8.2f} ms  {ratio:.2f}")


if __name__ == "__main__":
    main()
