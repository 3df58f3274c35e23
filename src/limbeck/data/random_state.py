"""The random state of Python, NumPy and torch, set for one sample and put back."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator

import numpy as np
import torch

from limbeck.data.counter import counter_bits

_STREAM = "transforms"
_CLEAN = "transforms, clean view"


@contextlib.contextmanager
def replayed_random_state() -> Iterator[Callable[[int], None]]:
    """Keep the random states of Python, NumPy (the global one) and torch's CPU, and put them back at the end.

    Yields:
        A function that sets all three from one integer.
    Example:
        >>> with replayed_random_state() as set_to:
        ...     set_to(5)
        ...     first = (random.random(), np.random.rand(), float(torch.rand(())))
        ...     set_to(5)
        ...     (random.random(), np.random.rand(), float(torch.rand(()))) == first
        True
    """
    python, numpy, generator = random.getstate(), np.random.get_state(), torch.default_generator
    of_torch = generator.get_state()

    def set_to(seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)
        generator.manual_seed(seed)

    try:
        yield set_to
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        generator.set_state(of_torch)


def sample_seeds(ids: torch.Tensor, *, seed: int, view: int | None) -> list[int]:
    """Return a seed in [0, 2^63) for each sample: a function of (seed, id, view), None being the clean view.

    Args:
        ids: int64, shape (n,).
        seed: any integer.
        view: which view.
    """
    stream = _CLEAN if view is None else _STREAM
    bits = counter_bits(ids.cpu(), seed=seed, stream=stream, view=view or 0)[:, 0]
    seeds: list[int] = (bits & ((1 << 63) - 1)).tolist()
    return seeds
