"""Hinton 2015, section 4, cross-validated: every utterance of AN4's 84 speakers is tested once.

AN4's test part has 773 words, too few to tell a tenth of a per cent. Here the speakers, of training and test alike, are
dealt into folds; for each fold an ensemble and its student are trained on the other folds' speakers, of whom some
choose the epoch and the scales of decoding. Word errors of all folds are counted together, and the intervals run over
84 speakers. Networks are smaller than in ``hinton2015-speech``, and ensembles of five; students see versions of the
recordings as there.

About a quarter of an hour on one CPU core in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import pooled_teacher
from limbeck.objectives import Distillation
from limbeck.recipes import hinton2015_speech as section4
from limbeck.recipes.speech_data import (
    SpeechTask,
    TransferSettings,
    open_speech,
    regrouped_task,
    transfer_frames,
)
from limbeck.recipes.speech_folds import Fold, observe_folds
from limbeck.recipes.speech_nets import mixed, train_members, train_students
from limbeck.recipes.speech_words import RATE
from limbeck.reproduction import Claim, Figure, Series
from limbeck.speech import speakers_of
from limbeck.training import TrainConfig

PAPER = "Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531, section 4"
Share, Points = partial(Claim, unit="fraction"), partial(Claim, unit="points")
CLAIMS = [
    Share("distilled", "gain_kept", "The distilled net keeps 86 % of the ensemble's gain in frame accuracy.",
          paper=0.86, at_least=0.90),
    Share("single", f"fold_{RATE}", "Word error rate of one net: 10.9 %.", paper=0.109),
    Share("ensemble", f"fold_{RATE}", "Of the ensemble: 10.7 %.", paper=0.107),
    Share("distilled", f"fold_{RATE}", "Of the distilled net: 10.7 %.", paper=0.107),
    Points("distilled", "fold_rate_less_single_high_end", "The distilled net makes fewer word errors than one net: the "
           "95 % interval of the difference lies below 0.", at_most=0),
    Points("distilled", "fold_rate_less_ensemble_low_end", "And no more than the ensemble: the interval of that "
           "difference reaches down to 0.", at_most=0),
]  # fmt: skip
DEPARTURES = [
    "Ensembles of five nets of 256 units a layer.",
    "Alignments of all utterances come from the models of AN4's own training part, once: a fold's training frames are "
    "labelled by models that may have heard its test speakers. No network of a fold learns from them.",
    *section4.DEPARTURES,
]


@dataclass(frozen=True)
class Settings(TransferSettings):
    """What a run is made of; see ``hinton2015_speech.Settings``."""

    num_folds: int = 4  # ours
    num_teachers: int = 5  # ours; paper: 10
    student_recipe: TrainConfig = section4.STUDENT_RECIPE  # as there
    temperature: float = 2.0  # paper
    soft_weight: float = 1.0  # paper
    hard_weight: float = 0.5  # paper
    num_mixtures: int = 0  # as there
    language: str = "bigram"  # as there
    acoustic_scales: tuple[float, ...] = section4.Settings.acoustic_scales  # as there
    insertion_penalties: tuple[float, ...] = section4.Settings.insertion_penalties  # as there
    seeds: tuple[int, ...] = (0, 1)  # of each fold's students


SMOKE = Settings(
    network="mlp:widths=48x48",
    num_development=2,
    num_folds=2,
    num_teachers=2,
    recipe=section4.SMOKE.recipe,
    student_recipe=section4.SMOKE.student_recipe,
    num_versions=1,
    num_mixtures=1,
    acoustic_scales=(0.4,),
    insertion_penalties=(-2.0,),
    seeds=(0,),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train every fold's ensemble and students, then test each on its own speakers."""
    task = open_speech(settings, experiment)
    folds = [train_fold(settings, experiment, one) for one in tasks_of_folds(settings, task)]
    observe_folds(
        experiment, folds, language=settings.language, acoustic=settings.acoustic_scales,
        insertion_penalties=settings.insertion_penalties,
    )  # fmt: skip
    experiment.results.draw(
        Figure(
            kind="points",
            title="Word errors, every utterance tested once",
            how_to_read=f"{settings.num_folds} folds of speakers, counted together; one point a net or student.",
            quantity=f"fold_{RATE}",
            value_label="word error rate (%)",
            places=["one net", "averaged", "distilled"],
            series=[Series("one run", ["single", "ensemble", "distilled"])],
        )
    )


def tasks_of_folds(settings: Settings, task: SpeechTask) -> list[SpeechTask]:
    """Return a task for each fold: its speakers test, some of the others choose, the rest are learned from."""
    speakers = speakers_of(task.corpus.utterances)
    number_of = settings.num_folds
    return [
        regrouped_task(task, test_speakers=speakers[k::number_of], num_development=settings.num_development)
        for k in range(number_of)
    ]


def train_fold(settings: Settings, experiment: Experiment, task: SpeechTask) -> Fold:
    """Train a fold's ensemble and its students."""
    objective = partial(Distillation, soft_weight=settings.soft_weight, hard_weight=settings.hard_weight)
    members = train_members(experiment, task, settings.network, recipe=settings.recipe, count=settings.num_teachers)
    shown = mixed(
        transfer_frames(settings, experiment, task), settings.num_mixtures, recipe=settings.student_recipe,
        num_counted=len(task.train),
    )  # fmt: skip
    students = train_students(
        experiment, task, settings.network, recipe=settings.student_recipe,
        teacher=pooled_teacher(members), objective=objective, conditions={settings.temperature: "distilled"},
        seeds=settings.seeds, sweep_seeds=settings.seeds, shown=shown,
    )["distilled"]  # fmt: skip
    return Fold(task, members, students)
