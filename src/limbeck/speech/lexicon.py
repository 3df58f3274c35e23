"""How words are spoken: pronunciations as sequences of phones, each phone a chain of HMM states."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from limbeck.errors import DataError, InvalidValue, near_names

SILENCE = "SIL"
STATES_PER_PHONE = 3
PhoneInWord = tuple[str, str, str]  # the phone before it, the phone, the phone after it; "" at the word's ends
_VARIANT = re.compile(r"\(\d+\)$")


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words, their pronunciations, and the states that these are made of.

    Phone p has the states 3 p, 3 p + 1, 3 p + 2, passed from left to right; silence is a phone. With ``tied`` the
    states of a phone depend on its neighbours in the word; see ``tie_states``.

    Args:
        pronunciations: for each word one or more sequences of phones.
        tied: the three states of each phone beside its neighbours; None where these do not matter.
    Raises:
        DataError: no word, or one without a phone.
    Example:
        >>> lexicon = Lexicon({"B": [("B", "IY")], "E": [("IY",)]})
        >>> lexicon.phones, lexicon.num_states
        (('SIL', 'B', 'IY'), 9)
        >>> lexicon.states(("B", "IY")).tolist()
        [3, 4, 5, 6, 7, 8]
    """

    pronunciations: Mapping[str, Sequence[tuple[str, ...]]]
    tied: Mapping[PhoneInWord, tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        empty = [word for word, ways in self.pronunciations.items() if not ways or not all(ways)]
        if not self.pronunciations or empty:
            raise DataError(
                "The lexicon has a word without a phone." if empty else "The lexicon has no word.",
                received=empty[0] if empty else None,
                expected="WORD PHONE PHONE ...",
            )

    @cached_property
    def words(self) -> tuple[str, ...]:
        """In alphabetical order; their places are the numbers of the words."""
        return tuple(sorted(self.pronunciations))

    @cached_property
    def phones(self) -> tuple[str, ...]:
        """Silence, then the others in alphabetical order."""
        found = {phone for ways in self.pronunciations.values() for way in ways for phone in way}
        return (SILENCE, *sorted(found - {SILENCE}))

    @cached_property
    def phones_in_words(self) -> tuple[PhoneInWord, ...]:
        """Every phone with its neighbours in a word, each once: those of silence, of the second phone, and so on."""
        found = {one for ways in self.pronunciations.values() for way in ways for one in in_word(way)}
        return tuple(sorted(found | set(in_word([SILENCE])), key=lambda one: (self._phone_numbers[one[1]], one)))

    @cached_property
    def num_states(self) -> int:
        """Number of states: three a phone, unless they are tied."""
        if self.tied is not None:
            return 1 + max(state for states in self.tied.values() for state in states)
        return STATES_PER_PHONE * len(self.phones)

    @cached_property
    def state_names(self) -> tuple[str, ...]:
        """Name of each state: the phone and 1, 2 or 3; where the neighbours matter, a number after a hyphen."""
        plain = tuple(f"{phone}.{place + 1}" for phone in self.phones for place in range(STATES_PER_PHONE))
        if self.tied is None:
            return plain
        kind = self.context_independent()
        seen: dict[int, int] = {}
        names = []
        for number in kind.tolist():
            seen[number] = seen.get(number, 0) + 1
            names.append(f"{plain[number]}-{seen[number]}")
        return tuple(names)

    def context_independent(self) -> npt.NDArray[np.int64]:
        """Return for each state the one that it would be if neighbours did not matter, int64, shape (states,).

        A state that no phone in a word has is -1.
        """
        if self.tied is None:
            return np.arange(self.num_states)
        kinds = np.full(self.num_states, -1)
        for (_, phone, _), states in self.tied.items():
            kinds[list(states)] = STATES_PER_PHONE * self._phone_numbers[phone] + np.arange(STATES_PER_PHONE)
        return kinds

    @cached_property
    def _phone_numbers(self) -> dict[str, int]:
        return {phone: number for number, phone in enumerate(self.phones)}

    def states(self, phones: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the states of the phones of one word, int64, shape (3 * phones,)."""
        if self.tied is not None:
            return np.array([state for one in in_word(phones) for state in self.tied[one]], dtype=np.int64)
        firsts = np.array([STATES_PER_PHONE * self._phone_numbers[phone] for phone in phones], dtype=np.int64)
        return (firsts[:, None] + np.arange(STATES_PER_PHONE)).reshape(-1)

    def least_frames(self, words: Sequence[str]) -> int:
        """Return how many frames an utterance has at least: one for each state of its shortest pronunciations."""
        return sum(STATES_PER_PHONE * min(map(len, self.pronunciations[word])) for word in words) or STATES_PER_PHONE

    def check(self, words: Iterable[str], where: str) -> None:
        """Raise DataError at a word that the lexicon has not."""
        for word in words:
            if word not in self.pronunciations:
                near = near_names(word, self.words)
                raise DataError(
                    f"The transcript of {where} has a word that the lexicon has not.",
                    received=repr(word),
                    expected="words of the lexicon",
                    remedy=(f"did you mean {near[0]}? Otherwise " if near else "") + "add its pronunciation",
                )

    @staticmethod
    def read(path: Path) -> Lexicon:
        """Read a dictionary: a word and its phones on each line, variants as further lines or as WORD(2).

        Raises:
            DataError: a file that cannot be read, or a line without a phone.
        """
        found: dict[str, list[tuple[str, ...]]] = {}
        for number, line in enumerate(read_lines(path), start=1):
            word, *phones = line.split()
            if not phones:
                raise DataError(
                    f"{path.name} has a word without a phone.", received=f"line {number}: {line!r:.80}",
                    expected="WORD PHONE PHONE ...",
                )  # fmt: skip
            ways = found.setdefault(_VARIANT.sub("", word), [])
            if tuple(phones) not in ways:
                ways.append(tuple(phones))
        return Lexicon(found)

    @staticmethod
    def of_whole_words(words: Iterable[str], *, phones_per_word: int = 4) -> Lexicon:
        """Return a lexicon in which every word is spoken in phones of its own: a whole-word model.

        Args:
            words: each once or more.
            phones_per_word: each of three states, so 4 make a model of 12 states.
        Raises:
            InvalidValue: fewer than 1.
            DataError: no words.
        """
        if phones_per_word < 1:
            raise InvalidValue("phones_per_word must be at least 1.", received=phones_per_word)
        return Lexicon(
            {word: [tuple(f"{word}#{place + 1}" for place in range(phones_per_word))] for word in set(words)}
        )


def in_word(phones: Sequence[str]) -> list[PhoneInWord]:
    """Return the phones of a word, each with the one before it and the one after it.

    Example:
        >>> in_word(("G", "OW"))
        [('', 'G', 'OW'), ('G', 'OW', '')]
    """
    return list(zip(("", *phones[:-1]), phones, (*phones[1:], ""), strict=True))


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that hold anything.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path}.", received=str(error), expected="a text file in UTF-8") from error
