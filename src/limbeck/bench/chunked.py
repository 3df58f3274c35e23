"""Time and peak memory of a linear head and a soft target in chunks, against holding all logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bench.memory import peak_bytes
from limbeck.bench.timing import interleaved, machine_facts, seconds_by_way
from limbeck.errors import require_positive
from limbeck.losses import soft_target_loss
from limbeck.losses.chunked import (
    ChunkTeacher,
    DenseLogits,
    LowRankLogits,
    SparseLogits,
    chunked_soft_target_loss,
    chunked_soft_target_sum,
)

FLOOR = "plain"
WAYS = (FLOOR, "all_logits", "one_pass", "per_example", "one_pass_low_rank", "one_pass_sparse")
CHUNKED = WAYS[2:]
TIME_TARGET = 1.1  # of the floor's median, for every chunked way
MEMORY_TARGET = 0.15  # of the floor's peak
RANK = 64  # of the low-rank teacher
NUM_TOP = 64  # classes that the sparse teacher knows
MEMORY_RUNS = 2


def run(
    *,
    num_rows: int = 12_800,
    num_features: int = 512,
    num_classes: int = 14_000,
    temperature: float = 2.0,
    num_rounds: int = 3,
    seed: int = 0,
) -> dict[str, Any]:
    """Time, in turns, and measure the memory of six ways to the loss's gradients, on the CPU in float32.

    ``plain`` is the floor: ``F.linear``, then T² ``F.kl_div`` of ``F.log_softmax`` and ``F.softmax``, ``batchmean``,
    and the backward pass to features, weight and bias. ``all_logits`` puts ``soft_target_loss`` in its place.
    ``one_pass`` is ``chunked_soft_target_sum`` with weights 1 / rows, ``per_example`` the mean of
    ``chunked_soft_target_loss``, both with dense teacher's logits that are there already, like the two before. The
    last two are ``one_pass`` with a teacher of 64 numbers a row: their floor is still the plain way, which is given
    all of the teacher's logits.

    A way's memory is the peak of the resident memory during the call, above what is held when it starts (features,
    weight, bias, and what the teacher gives), in a fresh process: the larger of two. The gradients count.

    Args:
        num_rows: examples or frames.
        num_features: inputs of the head.
        num_classes: 14,000 is the size of section 4 of arXiv:1503.02531.
        temperature: T > 0, dimensionless.
        num_rounds: how often each way is timed.
        seed: of the normal inputs.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds`` (median and quartiles per way), ``ratios``,
        ``memory_bytes``, ``memory_ratios``, ``targets`` and ``memory_targets`` (per chunked way), ``reached`` (both
        targets) and ``machine``.
    Raises:
        InvalidValue: a size or the temperature that is not above 0.

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, sections 2 and 4.
    """
    settings: dict[str, Any] = {
        "num_rows": num_rows,
        "num_features": num_features,
        "num_classes": num_classes,
        "temperature": temperature,
        "seed": seed,
    }
    for name in ("num_rows", "num_features", "num_classes", "temperature"):
        require_positive(name, settings[name])
    in_child = {**settings, "num_threads": torch.get_num_threads()}
    memory = {
        way: max(peak_bytes(__name__, "prepared", {**in_child, "way": way}) for _ in range(MEMORY_RUNS)) for way in WAYS
    }
    problem = _Problem(**settings)
    timings = interleaved({way: partial(problem.step, way) for way in WAYS}, num_rounds=num_rounds, warmup=1)
    ratios = {way: timings[way].median_seconds / timings[FLOOR].median_seconds for way in WAYS[1:]}
    memory_ratios = {way: memory[way] / memory[FLOOR] for way in WAYS[1:]}
    return {
        "name": "chunked",
        "settings": {**settings, "num_rounds": num_rounds, "dtype": "float32", "rank": RANK, "num_top": NUM_TOP},
        "floor": "F.linear, T² F.kl_div(F.log_softmax(z / T), F.softmax(v / T), reduction='batchmean'), backward",
        "seconds": seconds_by_way(timings),
        "ratios": ratios,
        "memory_bytes": memory,
        "memory_ratios": memory_ratios,
        "targets": dict.fromkeys(CHUNKED, TIME_TARGET),
        "memory_targets": dict.fromkeys(CHUNKED, MEMORY_TARGET),
        "reached": {way: ratios[way] <= TIME_TARGET and memory_ratios[way] <= MEMORY_TARGET for way in CHUNKED},
        "machine": machine_facts(),
    }


def prepared(*, way: str, num_threads: int, **settings: Any) -> Callable[[], object]:
    """Make the inputs of one way; return its step. A tiny step has loaded the libraries that it needs."""
    torch.set_num_threads(num_threads)
    _Problem(**{**settings, "num_rows": 4, "num_features": 3, "num_classes": NUM_TOP + 1}, ways=(way,)).step(way)
    problem = _Problem(**settings, ways=(way,))
    return partial(problem.step, way)


class _Problem:
    """Inputs of all ways, or of some."""

    def __init__(
        self,
        *,
        num_rows: int,
        num_features: int,
        num_classes: int,
        temperature: float,
        seed: int,
        ways: tuple[str, ...] = WAYS,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, scale: float = 1.0) -> Tensor:
            return torch.randn(shape, generator=generator).mul_(scale)

        self.temperature = temperature
        self.features = normal(num_rows, num_features).requires_grad_()
        self.weight = normal(num_classes, num_features, scale=3 / math.sqrt(num_features)).requires_grad_()
        self.bias = normal(num_classes).requires_grad_()
        self.teachers: dict[str, ChunkTeacher] = {}
        if "one_pass_low_rank" in ways:
            head = normal(num_classes, RANK, scale=3 / math.sqrt(RANK))
            self.teachers["one_pass_low_rank"] = LowRankLogits(normal(num_rows, RANK), head, normal(num_classes))
        if "one_pass_sparse" in ways:
            k = min(NUM_TOP, num_classes)
            first = torch.randint(0, num_classes, (num_rows, 1), generator=generator)
            ids = (first + torch.arange(k)) % num_classes
            self.teachers["one_pass_sparse"] = SparseLogits(normal(num_rows, k, scale=3.0), ids, normal(num_rows))
        if set(ways) - set(self.teachers):
            dense = DenseLogits(normal(num_rows, num_classes, scale=3.0))
            self.teachers |= {way: dense for way in ways if way not in self.teachers}

    def step(self, way: str) -> None:
        """Compute the mean loss and its gradients."""
        self.features.grad = self.weight.grad = self.bias.grad = None
        head, teacher, temperature = (self.features, self.weight, self.bias), self.teachers[way], self.temperature
        if way.startswith("one_pass"):
            loss = chunked_soft_target_sum(
                *head, teacher=teacher, temperature=temperature, row_weights=1 / len(self.features)
            )
        elif way == "per_example":
            loss = chunked_soft_target_loss(*head, teacher=teacher, temperature=temperature).mean()
        else:
            assert isinstance(teacher, DenseLogits)
            loss = _of_all_logits(F.linear(*head), teacher.logits, temperature, plain=way == FLOOR)
        loss.backward()  # type: ignore[no-untyped-call]


def _of_all_logits(student: Tensor, teacher: Tensor, temperature: float, *, plain: bool) -> Tensor:
    if not plain:
        return soft_target_loss(student, teacher, temperature=temperature).mean()
    log_q, p = F.log_softmax(student / temperature, dim=-1), F.softmax(teacher / temperature, dim=-1)
    return temperature * temperature * F.kl_div(log_q, p, reduction="batchmean")
