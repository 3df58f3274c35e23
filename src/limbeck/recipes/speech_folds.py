"""Folds of speakers: frames and words of all folds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork, pooled_teacher
from limbeck.recipes.comparing import observe_share
from limbeck.recipes.evaluation import predict
from limbeck.recipes.speech_data import SpeechTask
from limbeck.recipes.speech_words import WordScorer, observe_rate_difference, observe_word_errors
from limbeck.speech import WordErrors
from limbeck.teachers import Teacher

PREFIX = "fold"  # of quantities: all folds' test speakers together


@dataclass(frozen=True, eq=False)
class Fold:
    """A fold's task, the members of its ensemble, and its students."""

    task: SpeechTask
    members: list[TrainedNetwork]
    students: list[TrainedNetwork]


def observe_folds(
    experiment: Experiment,
    folds: Sequence[Fold],
    *,
    language: str,
    acoustic: Sequence[float],
    insertion_penalties: Sequence[float],
) -> None:
    """Test every fold on its own speakers; observe frame accuracy and word errors of all folds together.

    Scales are chosen for each fold and system on the fold's development speakers.

    Args:
        experiment: where they are recorded; nothing is trained afterwards.
        folds: with as many members and students each.
        language: "unigram" or "bigram".
        acoustic: factors to try.
        insertion_penalties: penalties to try.
    """
    experiment.is_evaluated = True
    right: dict[tuple[str, int | None], int] = {}
    words: dict[tuple[str, int | None], list[WordErrors]] = {}
    num_frames = sum(len(fold.task.test) for fold in folds)
    for fold in folds:
        scorer, task = WordScorer(fold.task, language), fold.task
        systems: dict[str, dict[int | None, TrainedNetwork | Teacher]] = {
            "single": {one.seed: one for one in fold.members},
            "distilled": {one.seed: one for one in fold.students},
            "ensemble": {None: pooled_teacher(fold.members)},
        }
        for name, nets in systems.items():
            first = next(iter(nets.values()))
            chosen = scorer.choose(
                [predict(experiment, first, task.development).logits],
                acoustic=acoustic, insertion_penalties=insertion_penalties,
            )  # fmt: skip
            for seed, network in nets.items():
                found = predict(experiment, network, task.test)
                right[name, seed] = right.get((name, seed), 0) + int(
                    (torch.as_tensor(found.logits).argmax(dim=1) == found.labels).sum()
                )
                words.setdefault((name, seed), []).append(scorer.errors(found.logits, task.corpus.test, chosen))
    accuracy: dict[str, dict[int | None, float]] = {}
    for (name, seed), count in right.items():
        accuracy.setdefault(name, {})[seed] = count / num_frames
        experiment.results.observe(name, seed, f"{PREFIX}_accuracy", count / num_frames, "fraction")
    alone, gain = fmean(accuracy["single"].values()), accuracy["ensemble"][None] - fmean(accuracy["single"].values())
    kept = {seed or 0: (value - alone) / gain for seed, value in accuracy["distilled"].items()}
    observe_share(experiment, "distilled", "gain_kept", kept, what="Share of the ensemble's gain kept")
    _observe_words(experiment, words)


def _observe_words(experiment: Experiment, words: dict[tuple[str, int | None], list[WordErrors]]) -> None:
    by_system: dict[str, dict[int | None, WordErrors]] = {}
    for (name, seed), parts in words.items():
        by_system.setdefault(name, {})[seed] = _joined(parts)
    means = {name: observe_word_errors(experiment, name, errors, prefix=PREFIX) for name, errors in by_system.items()}
    told = means["single"]
    experiment.results.note(
        f"All folds together: {len(set(told.speakers))} speakers, {len(told.speakers):,} utterances, "
        f"{told.num_words:,.0f} words, each tested once."
    )
    for other in ("single", "ensemble"):
        observe_rate_difference(
            experiment, "distilled", f"rate_less_{other}", means[other], means["distilled"], prefix=PREFIX,
            what=f"Word error rate of the distilled nets less that of the {other}, all folds",
        )  # fmt: skip


def _joined(parts: Sequence[WordErrors]) -> WordErrors:
    """Return the errors of several folds' utterances as one."""
    return WordErrors(tuple(one for part in parts for one in part.speakers), np.concatenate([p.counts for p in parts]))
