"""A forward pass over a rank's rows of a batch that draws, and normalises, as one over the global batch does.

Dropout draws its mask for the global batch, from the same random state on every rank, and takes the rank's rows. Batch
norm takes mean and variance over the rows of all ranks. What a network does beside that with its batch stays its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from limbeck.errors import ModelError
from limbeck.inputs import Inputs
from limbeck.models.calling import training_outputs
from limbeck.models.dropout import draws_mask
from limbeck.models.synced_norm import synced_batch_norm
from limbeck.ranks.group import Ranks

_MASKS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)  # what they do to ones is their mask


class GlobalBatch(TorchFunctionMode):
    """While it is entered, a network in train mode sees a rank's rows as part of the global batch.

    Args:
        ranks: of the job.
        first: the rank's first row in the global batch.
        count: its rows.
        total: of all ranks; every rank has at least one.
    """

    def __init__(self, ranks: Ranks, *, first: int, count: int, total: int) -> None:
        super().__init__()
        self.ranks, self.first, self.count, self.total = ranks, first, count, total
        self.is_drawing = False  # random numbers, for the global batch

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do what one of the functions below does to the global batch; anything else as it is."""
        given = dict(kwargs or {})
        if func is F.batch_norm and _argument(args, given, 5, "training", False):
            return self._batch_norm(*args, **given)
        if func in _MASKS and _argument(args, given, 2, "training", True):
            return self._masked(
                func, args[0], _argument(args, given, 1, "p", 0.5), _argument(args, given, 3, "inplace", False)
            )
        if func is F.scaled_dot_product_attention and _argument(args, given, 4, "dropout_p", 0.0) > 0:
            return self._attention(*args, **given)
        if draws_mask(func):
            return self._draw(args[0], lambda whole: func(whole, args[1]))
        if func is Tensor.bernoulli_:  # stochastic depth
            return args[0].copy_(self._draw(args[0], lambda whole: whole.bernoulli_(*args[1:], **given)))
        return func(*args, **given)

    def _masked(self, func: Callable[..., Tensor], inputs: Tensor, p: float, inplace: bool) -> Tensor:
        mask = self._draw(inputs, lambda whole: func(whole.fill_(1.0), p, True))
        return inputs.mul_(mask) if inplace else inputs * mask

    def _draw(self, like: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the rank's rows of what ``draw`` makes of a global batch's tensor."""
        times, rest = divmod(len(like), self.count) if like.dim() else (0, 1)
        if rest:
            raise _unsliced(f"random numbers of shape {tuple(like.shape)} for {self.count} samples")
        shape, layout = (times * self.total, *like.shape[1:]), torch.contiguous_format
        if like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last):
            layout = torch.channels_last  # masks are drawn in the order of memory
        with torch.no_grad():
            whole = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)
            self.is_drawing = True
            try:
                drawn = draw(whole)
            finally:
                self.is_drawing = False
        return drawn[times * self.first : times * self.first + len(like)]

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Return attention with dropout of its weights, softmax(q k^T / sqrt(d) + mask), written out."""
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key, value = (part.repeat_interleave(groups, dim=-3) for part in (key, value))
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        return self._masked(F.dropout, scores.softmax(dim=-1), dropout_p, inplace=False) @ value

    def _batch_norm(
        self,
        inputs: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        normalised, mean, variance, count = synced_batch_norm(inputs, weight, bias, eps, self.ranks)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                unbiased = variance * (count / (count - 1))
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        return normalised


class _Seeded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that draw random numbers for a rank's rows alone."""

    def __init__(self, whole: GlobalBatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.whole, self.found = whole, set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and not self.whole.is_drawing:
            self.found.add(str(func))
        return func(*args, **(kwargs or {}))


def global_batch_outputs(network: nn.Module, inputs: Inputs, whole: GlobalBatch, *, is_checked: bool) -> Any:
    """Return ``training_outputs`` of a rank's rows.

    Args:
        network: in train mode.
        inputs: the rank's rows.
        whole: which rows of the batch they are.
        is_checked: whether it is known that the network draws nothing that cannot be cut into rows.
    Raises:
        ModelError: it does.
    """
    if is_checked:
        with whole:
            return training_outputs(network, inputs)
    seeded = _Seeded(whole)
    with whole, seeded:
        outputs = training_outputs(network, inputs)
    if seeded.found:
        raise _unsliced(", ".join(sorted(seeded.found)))
    return outputs


def _unsliced(what: str) -> ModelError:
    return ModelError(
        "This network draws random numbers in training that ranks cannot share.",
        received=what,
        expected="dropout, or stochastic depth, of rows of the batch: torch.nn.Dropout and its kin",
        remedy="train it in one process, or set that dropout to 0",
    )


def _argument(args: Sequence[Any], given: Mapping[str, Any], place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else given.get(name, default)
