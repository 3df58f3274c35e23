"""One utterance drawn: features, what teacher and student say of every state over time, alignment, decoded words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from limbeck.data import by_utterance
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.recipes.speech_words import WordScorer
from limbeck.reports import DrawnWord, UtterancePicture, save_utterance_picture
from limbeck.speech import DecodingScales, energies_from_cepstra
from limbeck.speech.an4 import NUM_CEPSTRA

PICTURE = "utterance.png"
MOST_STATES = 40  # rows of the pictures of posteriors
FEWEST_OTHERS = 6  # rows of states that the alignment has not, those with the most mass


def draw_utterance(
    experiment: Experiment,
    scorer: WordScorer,
    predictions: Mapping[str, Predictions],
    scales: Mapping[str, DecodingScales],
    *,
    temperature: float,
) -> None:
    """Write a picture of one test utterance beside the record: that of the median length.

    Args:
        experiment: whose record it stands beside.
        scorer: decodes.
        predictions: of the test frames, by what the picture calls each.
        scales: of each one's decoding.
        temperature: of the posteriors that are drawn.
    """
    path = experiment.results.beside(PICTURE)
    if path is None:
        return
    task = scorer.task
    utterances = task.corpus.test
    one = sorted(utterances, key=lambda each: (each.num_frames, each.name))[len(utterances) // 2]
    posteriors, words = {}, {}
    for name, found in predictions.items():
        logits = by_utterance(found.logits, utterances)[one.name]
        posteriors[name] = torch.softmax(logits / temperature, dim=1).numpy().T
        words[name] = [
            DrawnWord(spoken.word, spoken.start, spoken.end)
            for spoken in scorer.paths(logits, [one], scales[name])[one.name].words
        ]
    assert one.alignment is not None, "a task is aligned"
    rows = rows_to_draw(np.sum([each.sum(axis=1) for each in posteriors.values()], axis=0), one.alignment)
    place = {state: row for row, state in enumerate(rows)}
    save_utterance_picture(
        path,
        UtterancePicture(
            name=one.name,
            text=" ".join(one.words),
            features=(energies_from_cepstra(one.features) if one.features.shape[1] == NUM_CEPSTRA else one.features).T,
            posteriors={name: each[rows] for name, each in posteriors.items()},
            state_names=[task.corpus.lexicon.state_names[state] for state in rows],
            alignment=[place.get(int(state), -1) for state in one.alignment],
            words=words,
            temperature=temperature,
            frames_per_second=task.corpus.frames_per_second,
        ),
    )
    heard = "; ".join(f"{name}: {' '.join(each.word for each in found)}" for name, found in words.items())
    experiment.results.note(
        f"One test utterance, with what each system says of every state over time: {PICTURE}. The text is "
        f"{' '.join(one.words)}; decoded with the {scorer.language}, {heard}."
    )


def rows_to_draw(mass: npt.NDArray[np.floating], alignment: npt.NDArray[np.int64]) -> list[int]:
    """Return the states to draw: the aligned ones in the order in which they are spoken, then the likeliest others."""
    spoken = [int(state) for state in dict.fromkeys(alignment.tolist())][:MOST_STATES]
    others = [int(state) for state in np.argsort(-mass, kind="stable") if state not in set(alignment.tolist())]
    return spoken + sorted(others[: max(FEWEST_OTHERS, MOST_STATES - len(spoken))])
