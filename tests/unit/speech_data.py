"""Small made-up corpora for the tests of speech."""

from __future__ import annotations

import numpy as np

from limbeck.speech import Corpus, Lexicon, Utterance

WORDS = ("GO", "NO", "OH")
LEXICON = Lexicon({"GO": [("G", "OW")], "NO": [("N", "OW")], "OH": [("OW",), ("AO",)]})


def utterance(name: str, speaker: str, words: tuple[str, ...], *, frames_per_state: int = 3, noise: float = 0.3):
    """Return an utterance whose frames are noisy copies of a vector of each state, with silence at both ends."""
    random = np.random.default_rng(sum(map(ord, name)))
    means = np.random.default_rng(7).normal(size=(LEXICON.num_states, 5)) * 2
    phones = ["SIL", *(phone for word in words for phone in LEXICON.pronunciations[word][0]), "SIL"]
    states = np.repeat(LEXICON.states(phones), frames_per_state)
    features = means[states] + noise * random.normal(size=(len(states), 5))
    return Utterance(name, speaker, words, features.astype(np.float32)), states


def corpus(num_speakers: int = 6) -> tuple[Corpus, dict[str, np.ndarray]]:
    """Return a corpus of four utterances a speaker, the last speaker's in the test part, and the true states."""
    texts = [("GO", "NO"), ("OH",), ("NO", "OH", "GO"), ("GO", "GO")]
    made = [
        utterance(f"u{speaker}{number}", f"s{speaker}", words)
        for speaker in range(num_speakers)
        for number, words in enumerate(texts)
    ]
    utterances = [one for one, _ in made]
    truth = {one.name: states for one, states in made}
    last = f"s{num_speakers - 1}"
    return (
        Corpus(
            "toy",
            tuple(one for one in utterances if one.speaker != last),
            tuple(one for one in utterances if one.speaker == last),
            LEXICON,
        ),
        truth,
    )
