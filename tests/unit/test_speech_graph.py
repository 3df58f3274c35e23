"""The best path is the best of all paths: against enumeration of every path by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from limbeck.errors import DataError
from limbeck.speech import SILENCE, Lexicon, alignment_graph, best_path, language_model, loop_graph

LEXICON = Lexicon({"A": [("X",)], "B": [("Y",), ("Y", "X")]})
STAY = np.log(np.random.default_rng(0).uniform(0.2, 0.8, LEXICON.num_states))
GO = np.log1p(-np.exp(STAY))


def score_of_chain(chain, log_likelihoods):
    """Best score of passing a chain of states once, over all ways of sharing the frames out; by enumeration."""
    num_frames, best = len(log_likelihoods), -np.inf
    if not len(chain):
        return best
    for cuts in itertools.combinations(range(1, num_frames), len(chain) - 1):
        bounds = [0, *cuts, num_frames]
        score = 0.0
        for place, state in enumerate(chain):
            start, end = bounds[place], bounds[place + 1]
            score += log_likelihoods[start:end, state].sum() + (end - start - 1) * STAY[state] + GO[state]
        best = max(best, score)
    return best


def ways_to_say(words):
    """Every sequence of phones of a text: in every pronunciation, with and without silence at every seam."""
    for ways in itertools.product(*(LEXICON.pronunciations[word] for word in words)):
        for silences in itertools.product([False, True], repeat=len(words) + 1):
            phones = [SILENCE] if silences[0] else []
            for way, silence in zip(ways, silences[1:], strict=True):
                phones += [*way, *([SILENCE] if silence else [])]
            yield phones


def brute_force_alignment(words, log_likelihoods):
    return max(score_of_chain(LEXICON.states(phones), log_likelihoods) for phones in ways_to_say(words))


def random_scores(num_frames, seed):
    return np.random.default_rng(seed).normal(size=(num_frames, LEXICON.num_states)) * 3


@pytest.mark.parametrize("words", [("A",), ("B",), ("A", "B"), ("B", "B")])
@pytest.mark.parametrize("seed", range(4))
def test_an_alignment_is_the_best_of_all(words, seed):
    scores = random_scores(10, seed)
    found = best_path(alignment_graph(words, LEXICON, STAY), scores)
    assert found.score == pytest.approx(brute_force_alignment(words, scores))
    assert found.text == words


@pytest.mark.parametrize("name", ["unigram", "bigram"])
@pytest.mark.parametrize("seed", range(6))
def test_decoding_finds_the_best_of_all_texts(name, seed):
    model = language_model(name, LEXICON.words, [("A", "B"), ("B",), ("B", "A")])
    scores = random_scores(9, seed)
    transitions, ends = model.scaled(insertion_penalty=-0.7)
    expected = {}
    for length in range(4):
        for words in itertools.product(LEXICON.words, repeat=length):
            score, history = brute_force_alignment(words, scores), 0
            for word in words:
                score += transitions[history, LEXICON.words.index(word)]
                history = LEXICON.words.index(word) + 1
            expected[words] = score + ends[history]
    best = max(expected, key=expected.__getitem__)
    found = best_path(loop_graph(LEXICON, transitions, ends, STAY), scores)
    assert found.score == pytest.approx(expected[best])
    assert found.text == best


@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_that_of_the_states_and_words_follow_each_other(seed):
    scores = random_scores(14, seed)
    found = best_path(alignment_graph(("A", "B"), LEXICON, STAY), scores)
    total = scores[np.arange(14), found.states].sum()
    for now, then in itertools.pairwise(found.states):
        total += STAY[now] if now == then else GO[now]
    assert found.score == pytest.approx(total + GO[found.states[-1]])
    assert [spoken.word for spoken in found.words] == ["A", "B"]
    for spoken in found.words:
        phones = [way for ways in [LEXICON.pronunciations[spoken.word]] for way in ways]
        chains = [LEXICON.states(way).tolist() for way in phones]
        passed = [state for state, _ in itertools.groupby(found.states[spoken.start : spoken.end].tolist())]
        assert passed in chains


def test_bigrams_are_probabilities():
    model = language_model("bigram", LEXICON.words, [("A", "B"), ("B",)])
    total = np.exp(model.transitions).sum(axis=1) + np.exp(model.ends)
    assert total == pytest.approx(np.ones(3))
    assert model.transitions[1, 1] > model.transitions[1, 0]  # A is followed by B, never by A


def test_too_few_frames_are_told():
    with pytest.raises(DataError, match="No path through the words of utterance u1"):
        best_path(alignment_graph(("A", "B"), LEXICON, STAY), random_scores(5, 0), where="utterance u1")
