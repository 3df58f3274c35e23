"""One utterance drawn: features, what teacher and student say of every state over time, alignment, decoded words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from limbeck.data import by_utterance
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.recipes.speech_words import WordScorer
from limbeck.reports import DrawnWord, UtterancePicture, save_utterance_picture
from limbeck.speech import DecodingScales, energies_from_cepstra
from limbeck.speech.an4 import NUM_CEPSTRA

PICTURE = "utterance.png"
MOST_STATES = 30  # rows of the pictures of posteriors: those with the most mass


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
    mass = np.sum([each.sum(axis=1) for each in posteriors.values()], axis=0)
    mass[one.alignment] += one.num_frames  # those of the alignment first
    likeliest = np.sort(np.argsort(mass)[::-1][:MOST_STATES])
    save_utterance_picture(
        path,
        UtterancePicture(
            name=one.name,
            text=" ".join(one.words),
            features=(energies_from_cepstra(one.features) if one.features.shape[1] == NUM_CEPSTRA else one.features).T,
            posteriors={name: each[likeliest] for name, each in posteriors.items()},
            state_names=[task.corpus.lexicon.state_names[state] for state in likeliest],
            alignment=[int(np.searchsorted(likeliest, state)) if state in likeliest else -1 for state in one.alignment],
            words=words,
            temperature=temperature,
            frames_per_second=task.corpus.frames_per_second,
        ),
    )
    experiment.results.note(f"One test utterance, with what each system says of every state over time: {PICTURE}.")
