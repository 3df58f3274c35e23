"""A specialist that keeps the softmax of all classes; its dustbin is the mass of those that are not its own."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue


def logits_with_dustbin(logits: Tensor, special_classes: Sequence[int]) -> Tensor:
    r"""Reduce a full softmax to some classes and a dustbin, exactly: the dustbin has the mass of all other classes.

    .. math:: z'_k = z_{S_k}, \qquad z'_{dustbin} = \log \sum_{c \notin S} e^{z_c}

    so that softmax(z') is softmax(z) summed over the classes outside S.

    Args:
        logits: z, shape (..., classes), any float dtype; float16 and bfloat16 are reduced in float32.
        special_classes: S, class numbers, in the order of the result.
    Returns:
        z', shape (..., len(S) + 1), the dustbin last.
    Raises:
        InvalidValue: no classes, all of them, one twice, or an unknown one.
    Example:
        >>> logits_with_dustbin(torch.tensor([0.1, 0.2, 0.3, 0.4]).log(), [2, 0]).exp()
        tensor([0.3000, 0.1000, 0.6000])
    """
    wide = logits.float() if logits.dtype.itemsize < 4 else logits
    own, outside = class_columns(tuple(special_classes), logits.shape[-1], logits.device)
    dustbin = wide.index_select(-1, outside).logsumexp(dim=-1, keepdim=True)
    return torch.cat([wide.index_select(-1, own), dustbin], dim=-1)


@functools.lru_cache(maxsize=1024)
def class_columns(special_classes: tuple[int, ...], num_classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the special classes and the others as int64 indices on a device, to be read and not written.

    Args:
        special_classes: their numbers.
        num_classes: of all.
        device: where the indices lie.
    """
    require_some_classes(special_classes, num_classes=num_classes)
    special = set(special_classes)
    outside = [number for number in range(num_classes) if number not in special]
    return torch.tensor(special_classes, device=device), torch.tensor(outside, device=device)


def require_some_classes(numbers: Sequence[int], *, num_classes: int) -> None:
    """Raise InvalidValue unless the numbers are some of the classes and not all, each once."""
    if (
        not 0 < len(numbers) < num_classes
        or len(set(numbers)) < len(numbers)
        or not set(numbers) <= set(range(num_classes))
    ):
        raise InvalidValue(
            "A specialist learns some of the classes, each once.",
            received=f"{len(numbers)} of {num_classes}: {list(numbers[:8])}",
            expected=f"1 to {num_classes - 1} different numbers below {num_classes}",
        )


@final
class FullSoftmaxSpecialist(nn.Module):
    """A specialist with the generalist's own softmax: all classes while it learns, its own and a dustbin in use.

    In train mode it gives the network's logits, for :class:`limbeck.objectives.HardSpecialSoftRest`; in eval mode
    :func:`logits_with_dustbin` of them, so that it is validated, corrected and combined as any specialist.

    Args:
        network: gives logits (batch, classes).
        special_classes: class numbers, in the order of the logits in eval mode.
    Raises:
        InvalidValue: in eval mode: no special classes, all of them, one twice, or an unknown one.
    Example:
        >>> specialist = FullSoftmaxSpecialist(nn.Linear(4, 5), [1, 3])
        >>> specialist.train()(torch.zeros(2, 4)).shape, specialist.eval()(torch.zeros(2, 4)).shape
        (torch.Size([2, 5]), torch.Size([2, 3]))
    """

    def __init__(self, network: nn.Module, special_classes: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.special_classes = tuple(special_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits: (batch, classes) in train mode, (batch, special classes + 1) in eval mode."""
        logits: Tensor = self.network(inputs)
        return logits if self.training else logits_with_dustbin(logits, self.special_classes)

    def extra_repr(self) -> str:
        """Return the special classes, for ``repr`` and fingerprints."""
        return f"special_classes={list(self.special_classes)}"
