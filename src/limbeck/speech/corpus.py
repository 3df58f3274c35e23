"""A speech corpus: utterances with their speakers, words and features, in parts that share no speaker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from limbeck.errors import DataError, InvalidValue
from limbeck.speech.lexicon import Lexicon

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Utterance:
    """One recording.

    Args:
        name: unique in its corpus.
        speaker: who speaks.
        words: what is said.
        features: float32, shape (frames, coefficients).
        alignment: the HMM state of each frame, int64, shape (frames,); None where it is not known.
    """

    name: str
    speaker: str
    words: tuple[str, ...]
    features: Floats = field(repr=False)
    alignment: Integers | None = field(default=None, repr=False)

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.features)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Utterances in parts by speaker, and the words they are made of.

    Args:
        name: for messages.
        train: what is learned from.
        test: what is read once, at the end; of other speakers. May be empty.
        lexicon: how words are spoken.
        development: what chooses, of other speakers again. May be empty.
        frames_per_second: of the features.
        notes: plain sentences on what was decided while reading.
    Raises:
        DataError: no utterance to learn from, a name that occurs twice, features of different widths or that are not
            finite, a word outside the lexicon, an utterance too short for its words, or an alignment of another length.
    """

    name: str
    train: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    lexicon: Lexicon
    development: tuple[Utterance, ...] = ()
    frames_per_second: float = 100.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in ("train", "test", "development"):
            object.__setattr__(self, part, tuple(getattr(self, part)))
        if not self.train:
            raise DataError(f"{self.name} has no utterance to learn from.", expected="at least one")
        names: set[str] = set()
        for utterance in self.utterances:
            if utterance.name in names:
                raise DataError(f"{self.name} has two utterances of one name.", received=utterance.name)
            names.add(utterance.name)
            _check(utterance, self)

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """All utterances: train, development, test."""
        return (*self.train, *self.development, *self.test)

    @property
    def num_coefficients(self) -> int:
        """Width of the features."""
        return int(self.train[0].features.shape[1])

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that decides an alignment: names, words, features, lexicon."""
        digest = hashlib.sha256(repr(sorted(self.lexicon.pronunciations.items())).encode())
        if self.lexicon.tied is not None:
            digest.update(repr(sorted(self.lexicon.tied.items())).encode())
        for utterance in self.utterances:
            digest.update(f"{utterance.name}\0{utterance.speaker}\0{' '.join(utterance.words)}\n".encode())
            digest.update(np.ascontiguousarray(utterance.features).data)
        return digest.hexdigest()

    def with_development(self, num_speakers: int) -> Corpus:
        """Return the corpus with every n-th training speaker, in order of name, kept apart to choose by.

        Raises:
            InvalidValue: fewer than 1, or so many that no speaker is left to learn from.
        """
        speakers = sorted({utterance.speaker for utterance in self.train})
        if not 1 <= num_speakers < len(speakers):
            raise InvalidValue(
                "Development speakers are some of the training speakers.",
                received=num_speakers,
                expected=f"1 to {len(speakers) - 1}: {self.name} has {len(speakers)} training speakers",
            )
        chosen = {speakers[(place * len(speakers)) // num_speakers] for place in range(num_speakers)}
        return replace(
            self,
            train=tuple(one for one in self.train if one.speaker not in chosen),
            development=(*self.development, *(one for one in self.train if one.speaker in chosen)),
        )

    def regrouped(self, *, test_speakers: Iterable[str], num_development: int) -> Corpus:
        """Return the same utterances with other test speakers and development speakers, as for a cross-validation."""
        held = set(test_speakers)
        whole = replace(
            self,
            train=tuple(one for one in self.utterances if one.speaker not in held),
            development=(),
            test=tuple(one for one in self.utterances if one.speaker in held),
        )
        return whole.with_development(num_development)

    def with_features(self, features: dict[str, Floats]) -> Corpus:
        """Return the corpus with other features, by name of the utterance."""
        return self._mapped(lambda one: replace(one, features=features[one.name]))

    def with_alignments(self, alignments: dict[str, Integers]) -> Corpus:
        """Return the corpus with the state of every frame, by name of the utterance."""
        return self._mapped(lambda one: replace(one, alignment=alignments[one.name]))

    def _mapped(self, function: Callable[[Utterance], Utterance]) -> Corpus:
        return replace(
            self,
            train=tuple(map(function, self.train)),
            development=tuple(map(function, self.development)),
            test=tuple(map(function, self.test)),
        )


def speakers_of(utterances: Sequence[Utterance]) -> list[str]:
    """Return the speakers in order of name."""
    return sorted({utterance.speaker for utterance in utterances})


def _check(utterance: Utterance, corpus: Corpus) -> None:
    features, where = utterance.features, f"utterance {utterance.name} of {corpus.name}"
    if features.ndim != 2 or features.dtype != np.float32 or len(features) == 0:
        raise DataError(
            f"The features of {where} are empty or no matrix.",
            received=f"{features.dtype} of shape {features.shape}",
            expected="float32 of shape (frames, coefficients), at least one frame",
        )
    if features.shape[1] != corpus.num_coefficients:
        raise DataError(
            f"The features of {where} are of another width.",
            received=f"{features.shape[1]} coefficients",
            expected=f"{corpus.num_coefficients}, as in {corpus.train[0].name}",
        )
    if not np.isfinite(features).all():
        raise DataError(f"The features of {where} are not finite.", received="NaN or infinity", remedy="leave it out")
    corpus.lexicon.check(utterance.words, where)
    least = corpus.lexicon.least_frames(utterance.words)
    if utterance.alignment is None and utterance.num_frames < least:
        raise DataError(
            f"{where[:1].upper()}{where[1:]} is shorter than its words.",
            received=f"{utterance.num_frames} frames for {' '.join(utterance.words)!r}",
            expected=f"at least {least} frames, one for each state",
            remedy="check whether the file is truncated, or the transcript another's",
        )
    if utterance.alignment is not None:
        check_alignment(utterance.alignment, utterance, num_states=corpus.lexicon.num_states, where=where)


def check_alignment(alignment: Integers, utterance: Utterance, *, num_states: int, where: str) -> None:
    """Raise DataError unless an alignment has one state for each frame."""
    if alignment.shape != (utterance.num_frames,):
        raise DataError(
            f"The alignment of {where} is of the wrong length.",
            received=f"{len(alignment)} states",
            expected=f"{utterance.num_frames}, one for each frame",
        )
    if int(alignment.min()) < 0 or int(alignment.max()) >= num_states:
        raise DataError(
            f"The alignment of {where} names a state that there is not.",
            received=f"states {int(alignment.min())} to {int(alignment.max())}",
            expected=f"0 to {num_states - 1}",
        )
