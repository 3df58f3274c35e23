"""Counter-based randomness: every number is a function of (seed, stream, view, id, index), and of nothing else.

A generator that is *advanced* gives a sample other numbers when its batch, neighbours, worker or resume point change.
Here each number is mixed from its own coordinates, for a whole batch at once, with the same bits on any device.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import InvalidValue

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def counter_bits(ids: Tensor, *, seed: int, stream: int | str = 0, view: int = 0, count: int = 1) -> Tensor:
    r"""64 random bits for each sample and index, from their coordinates alone.

    .. math:: b_{ij} = m(m(id_i \oplus k_1) + k_2 + j\,\gamma)

    in 64-bit arithmetic that wraps, where m is the finaliser of splitmix64, gamma its increment, and the keys k_1, k_2
    are mixed from (seed, stream, view). For a fixed key and index the map from id to bits is one-to-one.

    Args:
        ids: int64, shape (n,); any device.
        seed: any integer, taken modulo 2^64.
        stream: keeps uses apart: a number, or a name such as "order".
        view: which repetition, e.g. the epoch; any integer.
        count: numbers per sample, at least 1.
    Returns:
        int64, shape (n, count), uniform over all 64-bit patterns; the same on every device.
    Raises:
        InvalidValue: ids of another dtype or shape, or a count below 1.
    Example:
        >>> whole = counter_bits(torch.tensor([5, 7, 9]), seed=0, count=2)
        >>> bool((counter_bits(torch.tensor([9]), seed=0, count=2) == whole[2]).all())
        True

    References:
        Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"; Salmon et al. 2011, "Parallel random
        numbers: as easy as 1, 2, 3" (the idea of a counter).
    """
    if ids.dtype != torch.int64 or ids.dim() != 1:
        raise InvalidValue(
            "Randomness is drawn for a vector of ids.",
            received=f"{ids.dtype} of shape {tuple(ids.shape)}",
            expected="int64 of shape (n,)",
        )
    if count < 1:
        raise InvalidValue("count must be at least 1.", received=count, expected="count >= 1")
    first, second = _keys(seed, stream, view)
    offsets = [_signed(second + index * _GOLDEN) for index in range(count)]
    if ids.device.type == "cpu":  # the same arithmetic in numpy: a fraction of the overhead for a batch
        import numpy as np

        return torch.from_numpy(_mix(_mix(ids.numpy() ^ first)[:, None] + np.array(offsets, dtype=np.int64)))
    words: Tensor = _mix(_mix(ids ^ first)[:, None] + torch.tensor(offsets, device=ids.device))
    return words


def counter_uniform(ids: Tensor, *, seed: int, stream: int | str = 0, view: int = 0, count: int = 1) -> Tensor:
    """Uniform numbers in [0, 1): the top 24 bits of :func:`counter_bits`, exact in float32.

    Args:
        ids: int64, shape (n,); any device.
        seed: any integer, taken modulo 2^64.
        stream: keeps uses apart: a number or a name.
        view: which repetition; any integer.
        count: numbers per sample, at least 1.
    Returns:
        float32, shape (n, count), multiples of 2^-24.
    Raises:
        InvalidValue: as :func:`counter_bits`.
    Example:
        >>> counter_uniform(torch.tensor([0, 1]), seed=0, count=3).shape
        torch.Size([2, 3])
    """
    bits = counter_bits(ids, seed=seed, stream=stream, view=view, count=count)
    if bits.device.type == "cpu":
        return torch.from_numpy(_logical_shift(bits.numpy(), 40).astype("float32")).mul_(2.0**-24)
    uniform: Tensor = _logical_shift(bits, 40).to(torch.float32).mul_(2.0**-24)
    return uniform


def counter_integers(
    ids: Tensor, *, low: int, high: int, seed: int, stream: int | str = 0, view: int = 0, count: int = 1
) -> Tensor:
    """Uniform integers in [low, high): 32 bits of :func:`counter_bits`, scaled.

    A value's probability is off by at most 2^-32.

    Args:
        ids: int64, shape (n,); any device.
        low: smallest value.
        high: one above the largest; high - low in 1 .. 2^31.
        seed: any integer, taken modulo 2^64.
        stream: keeps uses apart: a number or a name.
        view: which repetition; any integer.
        count: numbers per sample, at least 1.
    Returns:
        int64, shape (n, count).
    Raises:
        InvalidValue: an empty or too wide range, or as :func:`counter_bits`.
    Example:
        >>> drawn = counter_integers(torch.arange(100), low=-2, high=3, seed=0)
        >>> int(drawn.min()), int(drawn.max())
        (-2, 2)
    """
    if not 1 <= high - low <= 1 << 31:
        raise InvalidValue(
            "The range of integers is empty or too wide.",
            received=f"[{low}, {high})",
            expected="1 <= high - low <= 2^31",
        )
    bits = counter_bits(ids, seed=seed, stream=stream, view=view, count=count)
    integers: Tensor = _logical_shift(_logical_shift(bits, 32) * (high - low), 32) + low
    return integers


@lru_cache(maxsize=1024)
def _keys(seed: int, stream: int | str, view: int) -> tuple[int, int]:
    """Two words mixed from the coordinates that a whole batch shares; the first as int64."""
    key = _mix_word(_mix_word(_mix_word(seed) ^ _stream_word(stream)) + view)
    return _signed(key), _mix_word(key + _GOLDEN)


def _logical_shift(words: Any, count: int) -> Any:
    """Shift int64 tensors or arrays right and fill with zeros; ``>>`` alone copies the sign."""
    return (words >> count) & ((1 << (64 - count)) - 1)


def _mix(words: Any) -> Any:
    """Finaliser of splitmix64 on int64 tensors or arrays (both wrap on overflow)."""
    for shift, factor in _ROUNDS:
        words = words ^ _logical_shift(words, shift)
        if factor != 1:
            words = words * _signed(factor)
    return words


def _mix_word(word: int) -> int:
    """Finaliser of splitmix64 on one Python integer."""
    word &= _MASK
    for shift, factor in _ROUNDS:
        word = ((word ^ (word >> shift)) * factor) & _MASK
    return word


def _signed(word: int) -> int:
    """The int64 with the same 64 bits."""
    word &= _MASK
    return word - (1 << 64) if word >> 63 else word


def _stream_word(stream: int | str) -> int:
    if isinstance(stream, int):
        return stream & _MASK
    return int.from_bytes(hashlib.blake2b(stream.encode("utf-8"), digest_size=8).digest(), "little")
