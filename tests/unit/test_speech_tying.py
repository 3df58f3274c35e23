"""Tied states: a cluster has one phone and one place, words become its states, and decoding searches as before."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from speech_data import corpus

from limbeck.distillation.experiment import Experiment
from limbeck.errors import InvalidValue
from limbeck.recipes.speech_data import CorpusSettings, TransferSettings, open_speech, transfer_frames
from limbeck.speech import (
    SILENCE,
    Aligned,
    Corpus,
    Lexicon,
    Utterance,
    best_path,
    language_model,
    loop_graph,
    realign,
    tie_states,
    write_kaldi,
)
from limbeck.speech.features import with_differences
from limbeck.speech.lexicon import in_word
from limbeck.training import Runtime, SilentProgress

# X sounds in one way after A, in another after B and C; "DX" is never said.
LEXICON = Lexicon({"AX": [("A", "X")], "BX": [("B", "X")], "CX": [("C", "X")], "DX": [("D", "X")], "XD": [("X", "D")]})
SAID = ("AX", "BX", "CX", "XD")
SOUNDS = {"A": 0.0, "B": 1.0, "C": 2.0, "D": 3.0, SILENCE: -4.0}
SOUNDS_OF_X = {"A": 8.0, "B": -8.0, "C": -8.5, "": 5.0}


def said(word, number, *, frames_per_state=8):
    """Return an utterance of one word, with the true states."""
    random = np.random.default_rng(number)
    states, features = [], []
    for before, phone, _ in [("", SILENCE, ""), *in_word(LEXICON.pronunciations[word][0]), ("", SILENCE, "")]:
        for place, state in enumerate(LEXICON.states([phone])):
            level = SOUNDS_OF_X[before] if phone == "X" else SOUNDS[phone]
            mean = np.array([level, place, level * place])
            features.append(mean + 0.1 * random.normal(size=(frames_per_state, 3)))
            states += [state] * frames_per_state
    name = f"{word}{number}"
    return Utterance(name, f"s{number % 3}", (word,), np.concatenate(features).astype(np.float32)), np.array(states)


@pytest.fixture(scope="module")
def spoken():
    pairs = [said(word, number) for number, word in enumerate(SAID * 4)]
    corpus = Corpus("tied", tuple(one for one, _ in pairs), (), LEXICON)
    return corpus, Aligned.of(corpus, {one.name: states for one, states in pairs})


def test_phones_that_sound_alike_are_tied_and_others_not(spoken):
    tied, _ = tie_states(*spoken, num_states=LEXICON.num_states + 6, fewest_frames=1)
    states = tied.lexicon.tied
    assert states["B", "X", ""] == states["C", "X", ""]
    assert len({states["A", "X", ""], states["B", "X", ""], states["", "X", "D"]}) == 3
    assert tied.lexicon.num_states == LEXICON.num_states + 6


def test_a_tied_state_has_one_phone_and_one_place(spoken):
    tied, aligned = tie_states(*spoken, num_states=26, fewest_frames=1)
    owners = {}
    for (_, phone, _), states in tied.lexicon.tied.items():
        for place, state in enumerate(states):
            owners.setdefault(state, set()).add((phone, place))
    assert sorted(owners) == list(range(26))
    assert all(len(found) == 1 for found in owners.values())
    kinds = tied.lexicon.context_independent()
    said_words, before = spoken
    for one in said_words.train:  # nothing but the numbers of the states changes
        assert (kinds[aligned.alignments[one.name]] == before.alignments[one.name]).all()
    names = tied.lexicon.state_names
    assert len(set(names)) == len(names) == 26
    assert {name.rpartition("-")[0] for name in names} == set(LEXICON.state_names)
    assert len(aligned.stay) == len(aligned.log_priors) == 26


def test_words_become_tied_states(spoken):
    lexicon = tie_states(*spoken, num_states=24, fewest_frames=1)[0].lexicon
    states = lexicon.tied
    assert lexicon.states(("A", "X")).tolist() == [*states["", "A", "X"], *states["A", "X", ""]]
    assert lexicon.states([SILENCE]).tolist() == [0, 1, 2]
    assert lexicon.least_frames(["AX", "XD"]) == 12


def test_what_nobody_says_has_the_states_of_what_shares_its_neighbours(spoken):
    states = tie_states(*spoken, num_states=26, fewest_frames=1)[0].lexicon.tied
    said_before_nothing = {states[before, "X", ""][2] for before in "ABC"}
    assert states["D", "X", ""][2] in said_before_nothing  # the last state goes by what follows
    assert states["", "D", "X"] == states["X", "D", ""]  # D is said once


def test_as_few_states_as_there_are_without_neighbours_are_those(spoken):
    said_words, before = spoken
    tied, aligned = tie_states(said_words, before, num_states=LEXICON.num_states)
    assert all((aligned.alignments[name] == states).all() for name, states in before.alignments.items())
    assert tied.fingerprint != said_words.fingerprint
    with pytest.raises(InvalidValue, match="fewer tied states"):
        tie_states(said_words, before, num_states=LEXICON.num_states - 1)


def test_rare_phones_are_merged_and_the_same_comes_out_each_time(spoken):
    said_words, before = spoken
    first, again = (tie_states(said_words, before, num_states=1000, fewest_frames=40)[0] for _ in range(2))
    assert first.lexicon.tied == again.lexicon.tied
    counts = np.bincount(np.concatenate([one.alignment for one in first.train]), minlength=first.lexicon.num_states)
    kinds = first.lexicon.context_independent()
    several = np.bincount(kinds)[kinds] > 1
    assert several.any()
    assert counts[several].min() >= 40
    free = tie_states(said_words, before, num_states=1000, fewest_frames=1)[0].lexicon
    assert free.num_states > first.lexicon.num_states


def test_the_cheapest_merger_is_the_one_that_costs_the_least_likelihood(spoken):
    said_words, before = spoken
    most = tie_states(said_words, before, num_states=1000, fewest_frames=1)[0]
    fewer = tie_states(said_words, before, num_states=most.lexicon.num_states - 1, fewest_frames=1)[0]

    def likelihood(names):
        """Of all frames under one Gaussian for each name of a state, written out."""
        frames = np.concatenate([with_differences(one.features) for one in said_words.train]).astype(np.float64)
        return sum(
            -0.5 * (names == name).sum() * np.log(np.maximum(frames[names == name].var(axis=0), 0.01)).sum()
            for name in np.unique(names)
        )

    states, kinds = np.concatenate([one.alignment for one in most.train]), most.lexicon.context_independent()
    shown = np.unique(states)
    losses = [
        likelihood(states) - likelihood(np.where(states == b, a, states))
        for a, b in itertools.combinations(shown, 2)
        if kinds[a] == kinds[b]
    ]
    reached = likelihood(states) - likelihood(np.concatenate([one.alignment for one in fewer.train]))
    assert reached == pytest.approx(min(losses), abs=1e-6)


def test_a_recipe_opens_its_corpus_in_tied_states(tmp_path):
    toy, _ = corpus(num_speakers=26)
    for part, utterances in (("train", toy.train), ("test", toy.test)):
        write_kaldi(tmp_path / "toy" / part, utterances)
    (tmp_path / "toy" / "lexicon.txt").write_text("GO G OW\nNO N OW\nOH OW\nOH AO\n")
    plain = CorpusSettings(data=str(tmp_path / "toy"), num_development=2, mixtures=(1, 1), num_realignments=0)
    experiment = Experiment.of_recipe(tmp_path / "networks", Runtime.resolve("cpu", "fp32"), SilentProgress())
    kinds = open_speech(plain, experiment)
    tied = open_speech(replace(plain, num_states=16), experiment)
    assert kinds.corpus.lexicon.num_states == 15
    assert tied.corpus.lexicon.num_states == 16
    assert tied.train.class_names == tied.corpus.lexicon.state_names
    assert (tied.corpus.lexicon.context_independent()[tied.train.labels] == kinds.train.labels.numpy()).all()
    shown = transfer_frames(TransferSettings(**vars(plain), num_versions=1), experiment, tied)
    assert (shown.ids >> 40).unique().tolist() == [0, 1]
    assert shown.class_names == tied.train.class_names
    assert shown.labels.unique().tolist() == tied.train.labels.unique().tolist()


def test_decoding_in_tied_states_finds_the_best_of_all_texts():
    """Against every sequence of at most two words, in every share of seven frames among its states."""
    pronunciations = {"AX": [("A", "X")], "X": [("X",)], "A": [("A",)]}
    tied = {
        ("", SILENCE, ""): (0, 1, 2),
        ("", "A", "X"): (3, 4, 5),
        ("A", "X", ""): (6, 7, 8),
        ("", "X", ""): (9, 7, 10),
        ("", "A", ""): (3, 11, 5),
    }
    lexicon = Lexicon(pronunciations, tied)
    random = np.random.default_rng(0)
    stay = np.log(random.uniform(0.2, 0.8, lexicon.num_states))
    go = np.log1p(-np.exp(stay))
    model = language_model("bigram", lexicon.words, [("A", "X"), ("AX",)])
    for _ in range(5):
        scores = random.normal(size=(7, lexicon.num_states)) * 3
        best = (-np.inf, ())
        for words in [(), *itertools.product(lexicon.words, repeat=1), *itertools.product(lexicon.words, repeat=2)]:
            histories = [0, *(1 + lexicon.words.index(word) for word in words)]
            language = sum(model.transitions[a, b - 1] for a, b in itertools.pairwise(histories))
            language += model.ends[histories[-1]]
            for silences in itertools.product([False, True], repeat=len(words) + 1):
                chain = [0, 1, 2] if silences[0] else []
                for word, silent in zip(words, silences[1:], strict=True):
                    phones = lexicon.pronunciations[word][0]
                    chain += [state for one in in_word(phones) for state in lexicon.tied[one]]
                    chain += [0, 1, 2] if silent else []
                for cuts in itertools.combinations(range(1, 7), len(chain) - 1) if chain else ():
                    bounds = [0, *cuts, 7]
                    score = language + sum(
                        scores[a:b, state].sum() + (b - a - 1) * stay[state] + go[state]
                        for state, (a, b) in zip(chain, itertools.pairwise(bounds), strict=True)
                    )
                    best = max(best, (score, words))
        found = best_path(loop_graph(lexicon, model.transitions, model.ends, stay), scores)
        assert found.score == pytest.approx(best[0])
        assert found.text == best[1]


def test_a_network_of_tied_states_realigns(spoken):
    tied, aligned = tie_states(*spoken, num_states=24, fewest_frames=1)

    def log_posteriors(one):
        return np.where(np.arange(24) == aligned.alignments[one.name][:, None], 0.0, -20.0)

    again = realign(tied, aligned, log_posteriors)
    assert all((again.alignments[name] == states).all() for name, states in aligned.alignments.items())
