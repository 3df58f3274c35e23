"""What may be said: a unigram of equal words, and a bigram of training texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.errors import unknown_name
from limbeck.speech.graph import Doubles

LANGUAGE_MODELS = ("unigram", "bigram")


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """Log probabilities of words, natural logarithms.

    Args:
        transitions: of word w after history h, shape (words + 1, words); history 0 is the start, h + 1 word h.
        ends: of the end after history h, shape (words + 1,).
    """

    transitions: Doubles
    ends: Doubles

    def scaled(self, *, insertion_penalty: float) -> tuple[Doubles, Doubles]:
        """Return transitions and ends with a penalty, a log score, added for every word."""
        return self.transitions + insertion_penalty, self.ends


def language_model(name: str, words: Sequence[str], texts: Iterable[Sequence[str]]) -> LanguageModel:
    """Return a language model by name: "unigram" (every word, and the end, alike) or "bigram" of the texts.

    Args:
        name: "unigram" or "bigram".
        words: of the lexicon, in its order.
        texts: the words of each, to count pairs in.
    Raises:
        UnknownName: another name.
    """
    if name == "unigram":
        even = -float(np.log(len(words) + 1))
        return LanguageModel(np.full((len(words) + 1, len(words)), even), np.full(len(words) + 1, even))
    if name == "bigram":
        return _bigram(words, texts)
    raise unknown_name("language model", name, LANGUAGE_MODELS)


def _bigram(words: Sequence[str], texts: Iterable[Sequence[str]]) -> LanguageModel:
    r"""Witten-Bell: p(w|h) = (c(h, w) + t(h) p(w)) / (c(h) + t(h)), t(h) the number of different words after h.

    p(w) is the unigram, smoothed towards equal words in the same way.
    """
    number = {word: place for place, word in enumerate(words)}
    end = len(words)
    counts = np.zeros((len(words) + 1, len(words) + 1))
    for text in texts:
        history = 0
        for word in text:
            counts[history, number[word]] += 1
            history = number[word] + 1
        counts[history, end] += 1
    unigram = _smoothed(counts.sum(axis=0)[None], np.full((1, len(words) + 1), 1 / (len(words) + 1)))
    together = np.log(_smoothed(counts, unigram))
    return LanguageModel(np.ascontiguousarray(together[:, :end]), together[:, end].copy())


def _smoothed(counts: Doubles, below: Doubles) -> Doubles:
    different = np.maximum(1.0, (counts > 0).sum(axis=1, keepdims=True))
    smoothed: Doubles = (counts + different * below) / (counts.sum(axis=1, keepdims=True) + different)
    return smoothed
