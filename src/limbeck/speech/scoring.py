"""Word errors, their kinds, and intervals over speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from limbeck.errors import InvalidValue, MissingPackage
from limbeck.speech.corpus import Utterance

NUM_RESAMPLES = 10_000


@dataclass(frozen=True, eq=False)
class WordErrors:
    """Word errors of each utterance.

    Args:
        speakers: of each utterance.
        counts: substitutions, deletions, insertions and words said, int64, shape (utterances, 4).
    """

    speakers: tuple[str, ...]
    counts: npt.NDArray[np.float64]

    @property
    def substitutions(self) -> float:
        """Words taken for others."""
        return float(self.counts[:, 0].sum())

    @property
    def deletions(self) -> float:
        """Words left out."""
        return float(self.counts[:, 1].sum())

    @property
    def insertions(self) -> float:
        """Words that nobody said."""
        return float(self.counts[:, 2].sum())

    @property
    def num_words(self) -> float:
        """Words said."""
        return float(self.counts[:, 3].sum())

    @property
    def total(self) -> float:
        """All errors."""
        return float(self.counts[:, :3].sum())

    @property
    def rate(self) -> float:
        """Errors over words said."""
        return self.total / max(1.0, self.num_words)


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float


def word_errors(utterances: Sequence[Utterance], decoded: Mapping[str, Sequence[str]]) -> WordErrors:
    """Return the errors of decoded words (jiwer's alignment of least errors).

    Args:
        utterances: what was said.
        decoded: the words found, by name.
    Raises:
        MissingPackage: jiwer.
    """
    try:
        import jiwer
    except ImportError as error:
        raise MissingPackage("Word errors need jiwer.", remedy="pip install 'limbeck[speech]'") from error
    rows = []
    for one in utterances:
        found = list(decoded[one.name])
        if not one.words:
            rows.append((0, 0, len(found), 0))
            continue
        measured = jiwer.process_words(" ".join(one.words), " ".join(found))
        rows.append((measured.substitutions, measured.deletions, measured.insertions, len(one.words)))
    counts = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return WordErrors(tuple(one.speaker for one in utterances), counts)


def mean_errors(runs: Sequence[WordErrors]) -> WordErrors:
    """Return the mean of each utterance's errors over several runs of one system."""
    return WordErrors(runs[0].speakers, np.mean([one.counts for one in runs], axis=0))


def rate_interval(errors: WordErrors, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the word error rate with a bootstrap interval over speakers, each drawn with all its utterances.

    Args:
        errors: of one system.
        confidence: of the interval, in (0, 1).
        seed: of the draws of speakers.
    """
    resampled = _rates(errors, _draws(errors.speakers, seed))
    return _interval(errors.rate, resampled, confidence)


def rate_difference(first: WordErrors, second: WordErrors, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the rate of ``second`` less that of ``first``, with an interval paired over speakers.

    Args:
        first: errors of one system.
        second: errors of another one, on the same utterances.
        confidence: of the interval, in (0, 1).
        seed: of the draws of speakers.
    Raises:
        InvalidValue: not the same utterances.
    """
    if first.speakers != second.speakers:
        raise InvalidValue("Rates of other utterances cannot be paired.", received="other speakers or another order")
    draws = _draws(first.speakers, seed)
    return _interval(second.rate - first.rate, _rates(second, draws) - _rates(first, draws), confidence)


def _draws(speakers: Sequence[str], seed: int) -> npt.NDArray[np.float64]:
    """How often each speaker is drawn, shape (resamples, speakers), speakers in order of name."""
    count = len(set(speakers))
    random = np.random.default_rng(seed)
    return random.multinomial(count, np.full(count, 1 / count), size=NUM_RESAMPLES).astype(np.float64)


def _rates(errors: WordErrors, draws: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    names = sorted(set(errors.speakers))
    members = np.array([names.index(speaker) for speaker in errors.speakers])
    made, said = np.zeros(len(names)), np.zeros(len(names))
    np.add.at(made, members, errors.counts[:, :3].sum(axis=1))
    np.add.at(said, members, errors.counts[:, 3])
    rates: npt.NDArray[np.float64] = (draws @ made) / np.maximum(1.0, draws @ said)
    return rates


def _interval(value: float, resampled: npt.NDArray[np.float64], confidence: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))
