"""From state posteriors to words: log posterior less log prior, scaled, through a loop of words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from limbeck.speech.corpus import Utterance
from limbeck.speech.graph import BestPath, Doubles, best_path, loop_graph
from limbeck.speech.language import LanguageModel
from limbeck.speech.lexicon import Lexicon
from limbeck.speech.scoring import WordErrors, word_errors

Scores = Mapping[str, npt.NDArray[np.floating]]
ACOUSTIC_SCALES = (0.1, 0.15, 0.2, 0.3)
INSERTION_PENALTIES = (-4.0, -2.0, 0.0)


@dataclass(frozen=True)
class DecodingScales:
    """How acoustics and words are weighed, chosen on development speakers.

    Args:
        acoustic: factor of the acoustic log likelihoods.
        insertion_penalty: log score added for every word.
    """

    acoustic: float = 0.5
    insertion_penalty: float = 0.0


@dataclass(frozen=True, eq=False)
class Decoder:
    """Finds the best words.

    Args:
        lexicon: how words are spoken.
        language: what may be said.
        stay: log probability of staying in each state.
        scales: see :class:`DecodingScales`.
    """

    lexicon: Lexicon
    language: LanguageModel
    stay: Doubles
    scales: DecodingScales = DecodingScales()

    def decode(self, log_likelihoods: Scores) -> dict[str, BestPath]:
        """Return the best path of each utterance.

        Args:
            log_likelihoods: by name; of every state at each frame, shape (frames, states), up to a constant a frame.
        """
        graph = loop_graph(
            self.lexicon, *self.language.scaled(insertion_penalty=self.scales.insertion_penalty), self.stay
        )
        return {
            name: best_path(graph, self.scales.acoustic * scores, where=f"utterance {name}")
            for name, scores in log_likelihoods.items()
        }


def as_log_likelihoods(log_posteriors: Scores, log_priors: Doubles) -> dict[str, npt.NDArray[np.floating]]:
    """Return log posteriors less log priors, by name: log likelihoods up to a constant a frame."""
    return {name: found - log_priors for name, found in log_posteriors.items()}


def choose_scales(
    decoder: Decoder,
    log_likelihoods: Scores,
    utterances: Sequence[Utterance],
    *,
    acoustic: Sequence[float] = ACOUSTIC_SCALES,
    insertion_penalties: Sequence[float] = INSERTION_PENALTIES,
) -> tuple[DecodingScales, WordErrors]:
    """Return the scales of the fewest word errors on development speakers, and these errors.

    Args:
        decoder: whose scales are replaced.
        log_likelihoods: of the utterances, by name.
        utterances: of the development speakers.
        acoustic: factors to try.
        insertion_penalties: penalties to try.
    """
    best: tuple[DecodingScales, WordErrors] | None = None
    for scale, penalty in itertools.product(acoustic, insertion_penalties):
        scales = DecodingScales(scale, penalty)
        tried = Decoder(decoder.lexicon, decoder.language, decoder.stay, scales)
        errors = word_errors(utterances, {name: path.text for name, path in tried.decode(log_likelihoods).items()})
        if best is None or errors.total < best[1].total:
            best = scales, errors
    assert best is not None, "at least one of each is tried"
    return best
