"""Frames of speech as samples: each with its context as a window, read on demand from features stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from limbeck.data.checks import UNLABELLED
from limbeck.data.loading import ReadSettings
from limbeck.data.samples import Samples
from limbeck.errors import DataError, InvalidValue
from limbeck.speech import Corpus, Utterance

FRAME_BITS = 20  # of an id: an utterance has at most 2^20 frames, nearly three hours
VERSION_BITS = 40  # of an id, below the number of the version: a corpus has at most 2^20 utterances
Values = TypeVar("Values", Tensor, np.ndarray)


@dataclass(frozen=True)
class Context:
    """How many frames a sample shows: so many before the one that is classified, and after it.

    Raises:
        InvalidValue: a negative number.
    Example:
        >>> Context(20, 5).num_frames
        26
    """

    before: int = 20
    after: int = 5

    def __post_init__(self) -> None:
        if self.before < 0 or self.after < 0:
            raise InvalidValue(
                "A context has no negative length.", received=f"{self.before} before, {self.after} after"
            )

    @property
    def num_frames(self) -> int:
        """Frames of a window."""
        return self.before + 1 + self.after


class FrameWindows:
    """A source of inputs: windows (frames of context, coefficients) of utterances, by number of the frame.

    Utterances lie one after the other, their first and last frames repeated for the windows that begin before or end
    after them; a window is a stretch of this memory, copied when it is read, and no frame is stored for each window.

    Args:
        utterances: at least one.
        context: of each window.
    """

    is_replayable = True
    dtype = torch.float32
    reading = ReadSettings(prefetch=0)  # a window is there before a thread would have woken

    def __init__(self, utterances: Sequence[Utterance], context: Context) -> None:
        self.context = context
        pad = ((context.before, context.after), (0, 0))
        self._stored = torch.from_numpy(np.concatenate([np.pad(one.features, pad, mode="edge") for one in utterances]))
        lengths = np.array([one.num_frames for one in utterances])
        shifts = np.arange(len(lengths)) * (context.num_frames - 1)
        self._rows = torch.from_numpy(np.arange(lengths.sum()) + np.repeat(shifts, lengths))
        self._utterance_of = np.repeat(np.arange(len(lengths)), lengths)
        self._first_of = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self._digests = [_digest(one) for one in utterances]
        width = self._stored.shape[1]
        self.sample_shape = (context.num_frames, width)
        self._windows = _windows_of(self._stored, context.num_frames)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, positions: Tensor) -> Tensor:
        """Return the windows at ``positions`` (int64, shape (n,)), shape (n, frames, coefficients)."""
        rows = self._rows.index_select(0, positions)
        return self._windows.index_select(0, rows).view(len(positions), *self.sample_shape)

    def content_digest(self, positions: Tensor) -> str:
        """SHA-256 of the context and, for each position, of its utterance's features and the frame's place in it."""
        places = positions.numpy()
        numbers = self._utterance_of[places]
        digest = hashlib.sha256(f"frame windows 1 {self.context.before} {self.context.after}".encode())
        known = np.array([np.frombuffer(one[:8], dtype=np.int64)[0] for one in self._digests])
        digest.update(np.stack([known[numbers], places - self._first_of[numbers]], axis=1).tobytes())
        for number in np.unique(numbers):
            digest.update(self._digests[number])
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_windows"}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        vars(self).update(state)
        self._windows = _windows_of(self._stored, self.context.num_frames)


def frame_samples(
    corpus: Corpus,
    utterances: Sequence[Utterance],
    *,
    context: Context,
    name: str,
    unlabelled: frozenset[str] = frozenset(),
    versions: Sequence[Sequence[Utterance]] = (),
) -> Samples:
    """Return every frame of some utterances as a sample: its window, and its HMM state as the label.

    The id of a frame is that of its utterance (the place of its name among all of the corpus) times 2^20, plus the
    frame's number: the same whichever part it stands in. Frames of version v have v times 2^40 added.

    Args:
        corpus: all utterances, which number the ids, and the states.
        utterances: those to take; frames come in their order.
        context: of each window.
        name: of the samples.
        unlabelled: names of utterances whose frames get no label; so do those without an alignment.
        versions: further versions of utterances of the corpus, under their names, whose frames follow.
    Raises:
        DataError: no utterances, or one of more than 2^20 frames.
    """
    if not utterances:
        raise DataError(f"{name} has no utterances.", expected="at least one")
    numbers = {one: place for place, one in enumerate(sorted(each.name for each in corpus.utterances))}
    ids, labels = [], []
    numbered = [(v, one) for v, version in enumerate((utterances, *versions)) for one in version]
    for version, one in numbered:
        if one.num_frames > 1 << FRAME_BITS:
            raise DataError(
                f"Utterance {one.name} is too long.", received=f"{one.num_frames} frames",
                expected=f"at most {1 << FRAME_BITS}", remedy="cut it at a pause",
            )  # fmt: skip
        first = (version << VERSION_BITS) + (numbers[one.name] << FRAME_BITS)
        ids.append(first + torch.arange(one.num_frames))
        known = one.alignment if one.name not in unlabelled else None
        labels.append(torch.full((one.num_frames,), UNLABELLED) if known is None else torch.from_numpy(known))
    windows = FrameWindows([one for _, one in numbered], context)
    return Samples(name, torch.cat(ids), windows, torch.cat(labels), corpus.lexicon.state_names)


def same_moments(samples: Samples, few: Samples) -> Samples:
    """Return those frames that show the same moments as a few of them, in every version of their utterances.

    A moment is as far along the utterance in every version: of each, the nearest frame is taken, once.

    Args:
        samples: as ``frame_samples`` made them; whole utterances, in all versions.
        few: some frames of the first version.
    Returns:
        In order of their ids, so that ``few`` come first.
    """
    own, frames = few.ids >> FRAME_BITS, few.ids & ((1 << FRAME_BITS) - 1)
    groups, lengths = torch.unique(samples.ids >> FRAME_BITS, return_counts=True)  # utterances, version by version
    last: Tensor = lengths - 1
    chosen = []
    for version in range(int(samples.ids.max() >> VERSION_BITS) + 1):
        there = own + (version << (VERSION_BITS - FRAME_BITS))
        length, own_length = (last[torch.searchsorted(groups, one)] for one in (there, own))
        chosen.append((there << FRAME_BITS) + (frames * length / own_length.clamp(min=1)).round().long())
    return samples.take(samples.positions_of(torch.unique(torch.cat(chosen))))


def by_utterance(values: Values, utterances: Sequence[Utterance]) -> dict[str, Values]:
    """Return rows that belong to the frames of utterances, one after the other, cut up by name.

    Example:
        >>> one = Utterance("a", "s", (), np.zeros((2, 1), np.float32))
        >>> by_utterance(torch.arange(2), [one])
        {'a': tensor([0, 1])}
    """
    bounds = np.concatenate([[0], np.cumsum([one.num_frames for one in utterances])])
    return {one.name: values[bounds[k] : bounds[k + 1]] for k, one in enumerate(utterances)}


def _windows_of(stored: Tensor, num_frames: int) -> Tensor:
    """Return every stretch of so many frames as a row, without a copy: shape (stretches, frames * coefficients)."""
    width = stored.shape[1]
    return stored.as_strided((len(stored) - num_frames + 1, num_frames * width), (width, 1))


def _digest(utterance: Utterance) -> bytes:
    features = np.ascontiguousarray(utterance.features)
    return hashlib.sha256(repr(features.shape).encode() + features.tobytes()).digest()
