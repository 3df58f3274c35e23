"""The soft-target loss, and head and loss in chunks, on a GPU: time, bandwidth, memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from device_measuring import Scale, Table, Way, median_of, rows_of, timed
from torch import Tensor

from limbeck.losses import soft_target_loss
from limbeck.losses.chunked import DenseLogits, chunked_soft_target_sum

TEMPERATURE = 4.0
SIZES = ((4096, 1000), (256, 14_000), (8192, 32_000))
BANDWIDTH_TARGET = 0.80
NUM_PAIRS = 8  # of logits, used in turn, so that the cache does not hold what is read
HEAD_TIME_TARGET, HEAD_MEMORY_TARGET = 1.05, 0.15

Loss = Callable[[Tensor, Tensor], Tensor]


def soft_targets(scale: Scale) -> Table:
    """Time forward and backward of T² KL, for three sizes in two precisions."""
    table = Table("Soft-target loss, forward and backward", "T² F.kl_div of F.log_softmax and F.softmax")
    peak = _copy_bandwidth(scale)
    table.notes.append(f"Copying a large tensor reaches {peak / 1e9:,.0f} GB/s: what a share of bandwidth is of.")
    table.notes.append("Bytes of a way: two reads and one write of the logits. Compiled: the same formula, one graph.")
    for num_rows, num_classes in scale.of(SIZES, ((32, 50),)):
        for dtype in (torch.float32, torch.bfloat16):
            _add_size(table, scale, num_rows, num_classes, dtype, peak)
    return table


def _add_size(table: Table, scale: Scale, num_rows: int, num_classes: int, dtype: torch.dtype, peak: float) -> None:
    pairs = [_logits(scale, num_rows, num_classes, dtype, seed) for seed in range(scale.of(NUM_PAIRS, 2))]
    prefix = f"{num_rows:,} x {num_classes:,} {str(dtype).removeprefix('torch.')}: "
    ours = partial(soft_target_loss, temperature=TEMPERATURE)
    losses: dict[str, Callable[[], Loss]] = {
        "F.kl_div": lambda: _plain,
        "F.kl_div compiled": lambda: scale.compiled(_plain),
        "Liger": _liger,
        "soft_target_loss": lambda: lambda student, teacher: ours(student, teacher).mean(),
        "soft_target_loss compiled": lambda: scale.compiled(lambda student, teacher: ours(student, teacher).mean()),
    }
    ways = {prefix + name: partial(_prepared, make, pairs) for name, make in losses.items()}
    seconds, failed = timed(ways, scale, calls=len(pairs))
    num_bytes = 3 * num_rows * num_classes * dtype.itemsize
    shares = {name: {"bandwidth": num_bytes / median_of(values) / peak} for name, values in seconds.items()}
    floors = dict.fromkeys(seconds, prefix + "F.kl_div")
    rows = list(rows_of(seconds, failed, floors=floors, targets={}, more=shares))
    others = [row["ms"] for row in rows if "ms" in row and "soft_target_loss" not in row["way"]]
    for row in rows:
        if row["way"] == prefix + "soft_target_loss compiled" and "ms" in row:
            row["target"] = f"{BANDWIDTH_TARGET:.0%} of bandwidth, fastest"
            row["reached"] = row["bandwidth"] >= BANDWIDTH_TARGET and row["ms"] <= min(others, default=math.inf)
    table.rows += rows


def _prepared(make: Callable[[], Loss], pairs: list[tuple[Tensor, Tensor]]) -> Way:
    loss = make()

    def call() -> None:
        for student, teacher in pairs:
            student.grad = None
            loss(student, teacher).backward()  # type: ignore[no-untyped-call]

    return call


def _plain(student: Tensor, teacher: Tensor) -> Tensor:
    log_q, p = F.log_softmax(student / TEMPERATURE, dim=-1), F.softmax(teacher / TEMPERATURE, dim=-1)
    return TEMPERATURE * TEMPERATURE * F.kl_div(log_q, p, reduction="batchmean")


def _liger() -> Loss:
    from liger_kernel.transformers import LigerKLDIVLoss  # type: ignore[import-not-found]

    divergence = LigerKLDIVLoss(reduction="batchmean")

    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        log_q, p = F.log_softmax(student / TEMPERATURE, dim=-1), F.softmax(teacher / TEMPERATURE, dim=-1)
        scaled: Tensor = TEMPERATURE * TEMPERATURE * divergence(log_q, p)
        return scaled

    return loss


def _logits(scale: Scale, num_rows: int, num_classes: int, dtype: torch.dtype, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(scale.device).manual_seed(seed)
    make = partial(torch.randn, num_rows, num_classes, generator=generator, device=scale.device)
    return (3 * make()).to(dtype).requires_grad_(), (3 * make()).to(dtype)


def _copy_bandwidth(scale: Scale) -> float:
    """Return bytes per second of a copy, read and written."""
    source = torch.ones(scale.of(1 << 28, 1 << 16), device=scale.device)
    target = torch.empty_like(source)
    seconds, _ = timed({"copy": lambda: lambda: target.copy_(source)}, scale)
    return 2 * source.numel() * source.itemsize / median_of(seconds["copy"])


def chunked_head(scale: Scale) -> Table:
    """Time and peak memory of a linear head and the loss, in chunks against all logits at once."""
    num_rows, num_features, num_classes = scale.of((8192, 4096, 32_000), (64, 16, 50))
    table = Table(f"Head and loss, {num_rows:,} x {num_features:,} x {num_classes:,}, bfloat16", "all logits at once")
    dtype = torch.bfloat16
    generator = torch.Generator(scale.device).manual_seed(0)
    make = partial(torch.randn, generator=generator, device=scale.device)
    features = make(num_rows, num_features).to(dtype).requires_grad_()
    weight = (make(num_classes, num_features) / math.sqrt(num_features)).to(dtype).requires_grad_()
    teacher = (3 * make(num_rows, num_classes)).to(dtype)

    def all_logits(loss: Loss) -> Way:
        return lambda: _backward(features, weight, lambda: loss(F.linear(features, weight), teacher))

    def chunked() -> Tensor:
        return chunked_soft_target_sum(
            features, weight, teacher=DenseLogits(teacher), temperature=TEMPERATURE, row_weights=1 / num_rows
        )

    def ours(student: Tensor, teacher: Tensor) -> Tensor:
        return soft_target_loss(student, teacher, temperature=TEMPERATURE).mean()

    ways: dict[str, Callable[[], Way]] = {
        "F.linear, F.kl_div": lambda: all_logits(_plain),
        "F.linear, soft_target_loss": lambda: all_logits(ours),
        "F.linear, soft_target_loss compiled": lambda: all_logits(scale.compiled(ours)),
        "chunked_soft_target_sum": lambda: lambda: _backward(features, weight, chunked),
    }
    seconds, failed = timed(ways, scale)
    floor = "F.linear, F.kl_div"
    memory = {name: _peak_bytes(ways[name](), scale, (features, weight)) for name in seconds}
    more: dict[str, dict[str, Any]] = {}
    for name, count in memory.items():
        base = memory.get(floor)
        more[name] = {} if count is None or not base else {"MB": count / 1e6, "memory ratio": count / base}
    table.rows += rows_of(
        seconds, failed, floors=dict.fromkeys(seconds, floor), targets={"chunked_soft_target_sum": HEAD_TIME_TARGET},
        more=more,
    )  # fmt: skip
    table.notes.append(f"Memory of the chunked way: at most {HEAD_MEMORY_TARGET:g} of the floor's; gradients count.")
    return table


def _backward(features: Tensor, weight: Tensor, loss: Callable[[], Tensor]) -> None:
    features.grad = weight.grad = None
    loss().backward()  # type: ignore[no-untyped-call]


def _peak_bytes(way: Way, scale: Scale, leaves: tuple[Tensor, ...]) -> int | None:
    """Return the peak above what is held before the call, on a GPU."""
    if scale.device.type != "cuda":
        return None
    for leaf in leaves:
        leaf.grad = None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    way()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
