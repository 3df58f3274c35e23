"""Word errors, their intervals over speakers, and the choice of scales."""

from __future__ import annotations

import numpy as np
import pytest
from speech_data import LEXICON, corpus

from limbeck.errors import InvalidValue
from limbeck.speech import (
    Aligned,
    Decoder,
    DecodingScales,
    WordErrors,
    choose_scales,
    language_model,
    mean_errors,
    rate_difference,
    rate_interval,
    word_errors,
)

pytest.importorskip("jiwer")


def errors_of(counts, speakers):
    return WordErrors(tuple(speakers), np.array(counts, dtype=float))


def test_kinds_of_errors_are_counted_by_hand():
    toy, _ = corpus()
    said = {one.name: list(one.words) for one in toy.test}
    said["u50"] = ["GO", "OH"]  # GO NO: one substitution
    said["u51"] = []  # OH: one deletion
    said["u52"] = ["NO", "OH", "GO", "GO"]  # NO OH GO: one insertion
    found = word_errors(toy.test, said)
    assert (found.substitutions, found.deletions, found.insertions, found.num_words) == (1, 1, 1, 8)
    assert found.rate == pytest.approx(3 / 8)


def test_an_interval_of_speakers_who_are_alike_is_a_point():
    alike = errors_of([[1, 0, 0, 10]] * 4, "abcd")
    found = rate_interval(alike)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_two_speakers_give_the_interval_of_the_binomial():
    # A draw of two speakers has 0, 1 or 2 of the bad one: 0, 50 or 100 %, with 1/4, 1/2 and 1/4.
    found = rate_interval(errors_of([[0, 0, 0, 10], [10, 0, 0, 10]], "ab"))
    assert (found.low, found.value, found.high) == (0.0, 0.5, 1.0)


def test_a_paired_difference_is_sharper_than_the_rates():
    random = np.random.default_rng(0)
    base = random.integers(0, 9, 30)
    first = errors_of([[one + 1, 0, 0, 10] for one in base], map(str, range(30)))
    second = errors_of([[one, 0, 0, 10] for one in base], map(str, range(30)))
    found = rate_difference(first, second)
    assert found.value == pytest.approx(-0.1)
    assert (found.low, found.high) == pytest.approx((-0.1, -0.1))
    rate = rate_interval(first)
    assert rate.high - rate.low > 0.1
    with pytest.raises(InvalidValue, match="cannot be paired"):
        rate_difference(first, errors_of([[0, 0, 0, 1]], "a"))


def test_the_mean_over_runs_is_that_of_each_utterance():
    both = mean_errors([errors_of([[2, 0, 0, 4]], "a"), errors_of([[0, 1, 0, 4]], "a")])
    assert both.counts.tolist() == [[1.0, 0.5, 0.0, 4.0]]


def test_scales_of_the_fewest_errors_are_chosen():
    toy, truth = corpus()
    aligned = Aligned.of(toy, truth)
    decoder = Decoder(LEXICON, language_model("unigram", LEXICON.words, []), aligned.stay)
    random = np.random.default_rng(1)
    scores = {}
    for one in toy.train:
        clean = np.full((one.num_frames, LEXICON.num_states), -4.0)
        clean[np.arange(one.num_frames), truth[one.name]] = 0
        scores[one.name] = clean + random.normal(size=clean.shape)
    chosen, errors = choose_scales(decoder, scores, toy.train, acoustic=(0.001, 1.0), insertion_penalties=(0.0, -500.0))
    assert chosen == DecodingScales(1.0, 0.0)
    assert errors.total == 0
