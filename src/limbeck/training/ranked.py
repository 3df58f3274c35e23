"""What a run does differently on several ranks: what must be equal, and gradients and counts of the global batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError
from limbeck.models.weights import wrapped_part
from limbeck.objectives import Counts, Objective
from limbeck.ranks.group import Ranks
from limbeck.settings import TrainConfig
from limbeck.training.share import Share

BUCKET_NUMBERS = 1 << 24  # of gradients that are added up at once: 64 MB in float32


def check_divisible(num_samples: int, recipe: TrainConfig, ranks: Ranks) -> None:
    """Raise InvalidValue unless ranks can share the batches of a training."""
    if ranks.size == 1:
        return
    if num_samples < ranks.size:
        raise InvalidValue(
            "There are more ranks than samples.",
            received=f"{ranks.size} ranks, {num_samples} samples",
            expected="at least one sample for each rank",
            remedy=f"start at most {num_samples} ranks (--nproc-per-node)",
        )
    if recipe.batch_size % (ranks.size * recipe.accumulation_steps):
        parts = f" in {recipe.accumulation_steps} parts" if recipe.accumulation_steps > 1 else ""
        raise InvalidValue(
            "The ranks do not divide a batch.",
            received=f"{ranks.size} ranks, batch_size {recipe.batch_size}{parts}",
            expected=f"a batch_size that is a multiple of {ranks.size * recipe.accumulation_steps}",
            remedy="take another batch size (--batch-size), or another number of ranks (--nproc-per-node)",
        )


def check_shareable(student: nn.Module, objective: Objective, ranks: Ranks) -> None:
    """Raise for a student that was compiled or wrapped, or an objective of global batches, on several ranks.

    Raises:
        ModelError: the student.
        InvalidValue: the objective.
    """
    if ranks.size > 1 and wrapped_part(student) is not None:
        raise ModelError(
            "Ranks share out a network, not what wraps it.",
            received=f"{type(student).__name__}, {ranks.size} ranks",
            expected="the network itself",
            remedy="leave torch.compile, DataParallel or DistributedDataParallel out",
        )
    if objective.relates_examples and ranks.size > 1:
        raise InvalidValue(
            f"{type(objective).__name__} compares the examples of a batch, which ranks share out.",
            received=f"{ranks.size} ranks",
            expected="one process, or an objective of single examples",
            remedy="set intra_weight=0, or start it without torchrun",
        )


def check_alike(identity: Mapping[str, str], ranks: Ranks) -> None:
    """Raise InvalidValue where ranks are about to do different things; what differs is told, with both values.

    Args:
        identity: what decides the weights, as text.
        ranks: of the run.
    """
    if ranks.size == 1:
        return
    first, *others = ranks.gather(dict(identity))
    for number, other in enumerate(others, start=1):
        names = sorted(first.keys() | other.keys())
        different = [name for name in names if first.get(name) != other.get(name)]
        if different:
            told = [
                f"rank {rank}: " + "; ".join(f"{name} = {_short(of_rank.get(name, 'none'))}" for name in different)
                for rank, of_rank in ((0, first), (number, other))
            ]
            raise InvalidValue(
                f"The ranks would train different things: {', '.join(different)} differ.",
                received=" | ".join(told),
                expected="the same data, teachers and settings on every rank",
                remedy="give every machine the same files, and every network a seed",
            )


class GradientSum:
    """Adds up the gradients of all ranks, in few large pieces, before the optimiser uses them.

    Args:
        module: what is trained.
        ranks: of the run.
    """

    def __init__(self, module: nn.Module, ranks: Ranks) -> None:
        self._ranks = ranks
        self._trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._used: list[bool] | None = None  # which of them have a gradient on some rank; known after the first step

    def add_up(self, *, counts_here: bool) -> None:
        """Replace each gradient by the sum over all ranks, the same bits on each.

        Args:
            counts_here: whether this rank's gradients belong to the sum.
        Raises:
            ModelError: a weight has a gradient in a later step, and had none on any rank in the first.
        """
        if self._ranks.size == 1:
            return
        has_gradient = [parameter.grad is not None for parameter in self._trainable]
        if self._used is None:
            self._used = self._ranks.any_of(has_gradient)
        if any(has and not used for has, used in zip(has_gradient, self._used, strict=True)):
            raise ModelError(
                "A weight of this network takes part in some steps only, which ranks cannot share.",
                received="a gradient where the first step had none",
                expected="the same weights in every step",
                remedy="train it in one process",
            )
        gradients = []
        for parameter, used in zip(self._trainable, self._used, strict=True):
            if used and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if used and parameter.grad is not None:
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            self._ranks.add_up(flat if counts_here else flat.zero_())
            for gradient, total in zip(
                bucket, torch.split(flat, [gradient.numel() for gradient in bucket]), strict=True
            ):
                gradient.copy_(total.view(gradient.shape))


def whole_counts(counts: Counts, share: Share, ranks: Ranks) -> Counts:
    """Return the counts of the global batch from those of a rank's share."""
    if not share.is_divided:
        return counts
    names = [name for name in ("examples", "labelled") if isinstance(getattr(counts, name), Tensor)]
    known: dict[str, Tensor | float] = dict.fromkeys(("examples", "labelled"), float(share.num_samples))
    if names:
        own = torch.stack([getattr(counts, name).float() for name in names])
        known |= dict(zip(names, ranks.add_up(own).unbind(), strict=True))
    return dataclasses.replace(counts, **known)  # type: ignore[arg-type]


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Cut gradients into runs of one dtype, none much larger than a bucket."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (gradient.dtype != bucket[0].dtype or size + gradient.numel() > BUCKET_NUMBERS):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
