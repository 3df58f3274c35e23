"""Word graphs of HMM chains, and the best path through one: alignment and decoding are the same search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from limbeck.errors import DataError
from limbeck.speech.corpus import Integers
from limbeck.speech.lexicon import SILENCE, Lexicon

Doubles = npt.NDArray[np.float64]
NEVER = -np.inf


@dataclass(frozen=True, eq=False)
class WordGraph:
    """Words in sequence, each a left-to-right chain of states, with optional silence before, between and after.

    A *history* is what was said last: 0 is the start, w + 1 is word w. Each history has a silence of its own, so that
    a bigram is not forgotten in a pause. All scores are natural logarithms.

    Args:
        chains: states of each pronunciation, int64; those of one word follow each other.
        chain_words: the word of each chain, ascending from 0 without a gap.
        silence: states of silence.
        transitions: score of word w after history h, shape (words + 1, words); -inf where it cannot follow.
        ends: score of the end after history h, shape (words + 1,).
        word_names: what each word is called; a name may occur twice.
        stay: log probability of staying, by state, shape (states,); that of going on is its complement's.
    """

    chains: Sequence[Integers]
    chain_words: Integers
    silence: Integers
    transitions: Doubles
    ends: Doubles
    word_names: Sequence[str]
    stay: Doubles

    @property
    def num_words(self) -> int:
        """Number of words."""
        return len(self.word_names)

    @cached_property
    def layout(self) -> _Layout:
        """The chains laid out in one row: those of words, then the silences of the histories."""
        all_chains = [*self.chains, *([self.silence] * (self.num_words + 1))]
        lengths = np.array([len(chain) for chain in all_chains])
        first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        states = np.concatenate(all_chains)
        stay = self.stay[states]
        return _Layout(
            states=states,
            first=first,
            last=first + lengths - 1,
            chain_of=np.repeat(np.arange(len(all_chains)), lengths),
            stay=stay,
            go=np.log1p(-np.exp(stay)),
            starts_of_words=np.searchsorted(self.chain_words, np.arange(self.num_words)),
            num_word_chains=len(self.chains),
        )


@dataclass(frozen=True, eq=False)
class _Layout:
    states: Integers
    first: Integers  # of each chain
    last: Integers
    chain_of: Integers
    stay: Doubles
    go: Doubles
    starts_of_words: Integers  # first chain of each word
    num_word_chains: int


@dataclass(frozen=True)
class SpokenWord:
    """A word on a path, with its frames: from ``start`` up to ``end``."""

    word: str
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class BestPath:
    """The best path: its score, the state of each frame (int64), and the words."""

    score: float
    states: Integers
    words: tuple[SpokenWord, ...]

    @property
    def text(self) -> tuple[str, ...]:
        """The words without their times."""
        return tuple(spoken.word for spoken in self.words)


def alignment_graph(words: Sequence[str], lexicon: Lexicon, stay: Doubles) -> WordGraph:
    """Return the graph of one text: its words in their order, in any pronunciation, with optional silence.

    Args:
        words: of the text, in order.
        lexicon: their pronunciations.
        stay: log probability of staying in each state, shape (states,).
    """
    chains, chain_words = _chains(words, lexicon)
    transitions = np.full((len(words) + 1, len(words)), NEVER)
    transitions[np.arange(len(words)), np.arange(len(words))] = 0.0
    ends = np.full(len(words) + 1, NEVER)
    ends[-1] = 0.0
    return WordGraph(chains, chain_words, lexicon.states([SILENCE]), transitions, ends, tuple(words), stay)


def loop_graph(lexicon: Lexicon, transitions: Doubles, ends: Doubles, stay: Doubles) -> WordGraph:
    """Return the graph of any sequence of the lexicon's words, weighted by a language model.

    Args:
        lexicon: words and their pronunciations.
        transitions: log probability of each word (column) after each history (row), shape (words + 1, words).
        ends: log probability of the end after each history, shape (words + 1,).
        stay: log probability of staying in each state, shape (states,).
    """
    chains, chain_words = _chains(lexicon.words, lexicon)
    return WordGraph(chains, chain_words, lexicon.states([SILENCE]), transitions, ends, lexicon.words, stay)


def best_path(graph: WordGraph, log_likelihoods: npt.NDArray[np.floating], *, where: str = "an utterance") -> BestPath:
    r"""Return the best path through a graph (Viterbi).

    .. math:: \alpha_t(s) = \max(\alpha_{t-1}(s) + stay(s), \max_r \alpha_{t-1}(r) + go(r, s)) + \log p(x_t | s)

    Exact: nothing is pruned. Only the scores are kept, float64 of shape (frames, places); the way back chooses again.

    Args:
        graph: where to go.
        log_likelihoods: of every state at every frame, shape (frames, states), scaled as the scores of the graph are.
        where: how messages call the utterance.
    Raises:
        DataError: no path of that many frames.
    """
    layout = graph.layout
    num_frames, num_words = len(log_likelihoods), graph.num_words
    observed = np.asarray(log_likelihoods, dtype=np.float64)[:, layout.states]
    scores = np.empty_like(observed)
    after_word = np.full((num_frames + 1, num_words + 1), NEVER)  # best score of each history right after its word
    after = np.full((num_frames + 1, num_words + 1), NEVER)  # ... or after its silence
    after_word[0, 0] = after[0, 0] = 0.0
    entering = np.empty(len(layout.first))
    count = layout.num_word_chains
    last_go, words_of_chains = layout.go[layout.last], graph.chain_words
    current = np.full(len(layout.states), NEVER)
    advanced = np.empty_like(current)
    for frame in range(num_frames):
        into_word = (after[frame][:, None] + graph.transitions).max(axis=0) if num_words else np.empty(0)
        entering[:count] = into_word[words_of_chains]
        entering[count:] = after_word[frame]
        np.add(current[:-1], layout.go[:-1], out=advanced[1:])
        advanced[layout.first] = entering
        current = np.maximum(current + layout.stay, advanced)
        current += observed[frame]
        scores[frame] = current
        leaving = current[layout.last] + last_go
        if num_words:
            after_word[frame + 1, 1:] = np.maximum.reduceat(leaving[:count], layout.starts_of_words)
        np.maximum(after_word[frame + 1], leaving[count:], out=after[frame + 1])
    final = after[num_frames] + graph.ends
    if not np.isfinite(final.max()):
        raise DataError(
            f"No path through the words of {where} has its length.",
            received=f"{num_frames} frames",
            expected="one frame for each state at least",
            remedy="check whether the file is truncated, or the transcript another's",
        )
    return _way_back(graph, scores, after_word, after)


def _way_back(graph: WordGraph, scores: Doubles, after_word: Doubles, after: Doubles) -> BestPath:
    layout, num_frames = graph.layout, len(scores)
    final = after[num_frames] + graph.ends
    history = int(final.argmax())
    path = np.empty(num_frames, dtype=np.int64)
    words: list[SpokenWord] = []
    frame = num_frames  # the next frame to fill is frame - 1
    in_silence = after_word[frame, history] < after[frame, history]
    while frame > 0 or history > 0:
        chain, end = _chain_left(graph, scores, frame, history, in_silence), frame
        place = int(layout.last[chain])
        while True:
            frame -= 1
            path[frame] = layout.states[place]
            entered = _entering(graph, after_word, after, chain, frame)
            stay = scores[frame - 1, place] + layout.stay[place] if frame else NEVER
            if place == layout.first[chain]:
                if entered >= stay:
                    break
            elif scores[frame - 1, place - 1] + layout.go[place - 1] > stay:
                place -= 1
        if in_silence:
            in_silence = False
            continue
        word = history - 1
        words.append(SpokenWord(graph.word_names[word], frame, end))
        history = int((after[frame] + graph.transitions[:, word]).argmax())
        in_silence = after_word[frame, history] < after[frame, history]
    return BestPath(float(final.max()), path, tuple(reversed(words)))


def _chain_left(graph: WordGraph, scores: Doubles, frame: int, history: int, in_silence: bool) -> int:
    layout = graph.layout
    if in_silence:
        return layout.num_word_chains + history
    of_word = np.flatnonzero(graph.chain_words == history - 1)
    last = layout.last[of_word]
    return int(of_word[(scores[frame - 1, last] + layout.go[last]).argmax()])


def _entering(graph: WordGraph, after_word: Doubles, after: Doubles, chain: int, frame: int) -> float:
    count = graph.layout.num_word_chains
    if chain >= count:
        return float(after_word[frame, chain - count])
    return float((after[frame] + graph.transitions[:, graph.chain_words[chain]]).max())


def _chains(words: Sequence[str], lexicon: Lexicon) -> tuple[list[Integers], Integers]:
    chains, chain_words = [], []
    for number, word in enumerate(words):
        for phones in lexicon.pronunciations[word]:
            chains.append(lexicon.states(phones))
            chain_words.append(number)
    return chains, np.array(chain_words, dtype=np.int64)
