"""Hinton 2015, section 4: ten acoustic models in one, and section 6 as the paper ran it, on AN4.

A network classifies a frame of speech, seen with 20 frames before it and 5 after, as one of 102 states of hidden Markov
models. One student learns from the mean of ten that differ in their random start alone. Then the words: log posterior
less log prior through a loop of AN4's words, weighted by a bigram of the training texts.

The states come from a flat start, realigned with Gaussian mixtures, then with a network. Development speakers choose
each network's epoch and the scales of decoding. Three per cent of the frames, drawn at random, are section 6.

The ten nets know their training frames by heart. So students, and a net on labels alone, also see versions of every
utterance that no teacher has learned: frequencies warped as by another vocal tract, spoken faster or slower. Half an
hour on one CPU core in bfloat16 (``--threads 1 --precision bf16``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import pooled_teacher
from limbeck.objectives import Distillation
from limbeck.recipes.speech_data import RECIPE, TransferSettings, open_speech, transfer_frames
from limbeck.recipes.speech_nets import mixed, train_members, train_on_few, train_students
from limbeck.recipes.speech_page import draw_utterance
from limbeck.recipes.speech_tables import choose_all_scales, draw_speech, observe_frames, observe_words, read_test
from limbeck.recipes.speech_words import RATE, WordScorer
from limbeck.reproduction import Claim
from limbeck.training import TrainConfig

PAPER = "Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531, sections 4 and 6"
Share, Points = partial(Claim, unit="fraction"), partial(Claim, unit="points")
ACCURACY, KEPT, GAP = "test_accuracy", "test_accuracy_kept", "test_accuracy_gap"
CLAIMS = [
    Share("single", ACCURACY, "One net classifies 58.9 % of the frames.", paper=0.589),
    Share("ensemble", ACCURACY, "Ten averaged: 61.1 %.", paper=0.611),
    Share("distilled", ACCURACY, "One net distilled from the ten: 60.8 %.", paper=0.608),
    Share("labels_alone", ACCURACY, "One net on labels alone, by the student's recipe, of the same frames, as long."),
    Share("distilled", "gain_kept", "So it keeps 86 % of what the ensemble gains.", paper=0.86, at_least=0.90),
    Share("distilled", "gain_kept_low_end", "Shown: the interval over seeds lies above 75 %.", at_least=0.75),
    Share("single", f"test_{RATE}", "Word error rate of one net: 10.9 %.", paper=0.109),
    Share("ensemble", f"test_{RATE}", "Of ten averaged: 10.7 %.", paper=0.107),
    Share("distilled", f"test_{RATE}", "Of the distilled net: 10.7 %.", paper=0.107),
    Points("distilled", "test_rate_less_single_high_end", "The distilled net makes fewer word errors than one net: the "
           "95 % interval of the difference lies below 0.", at_most=0),
    Points("distilled", "test_rate_less_ensemble_low_end", "And no more than the ensemble: the interval of that "
           "difference reaches down to 0.", at_most=0),
    Share("soft_few", KEPT, "Soft targets of 3 % of the frames keep 57.0 of the 58.9.", paper=0.570 / 0.589,
          at_least=0.97),
    Share("hard_few_early", KEPT, "Hard labels of 3 %, stopped early, keep 44.5.", paper=0.445 / 0.589),
    Points("hard_few", GAP, "They overfit: training is ahead of test by 22.8 points.", paper=22.8),
    Points("hard_few_early", GAP, "Stopped early, too."),
    Points("soft_few", GAP, "With soft targets by 8.4, not stopped.", paper=8.4),
    Points("single", GAP, "With hard labels of all frames by 4.5.", paper=4.5),
]  # fmt: skip
DEPARTURES = [
    "AN4 (42 minutes of training speech, 99 words) instead of 2,000 hours of voice search: baselines overfit here.",
    "13 mel cepstra a frame instead of 40 filterbank energies: AN4 comes as cepstra, and 40 smoothed energies "
    "(setting features) are a linear function of them.",
    "102 states of context-independent phones instead of 14,000; three hidden layers instead of eight of 2,560 units.",
    "Mixtures are scikit-learn's. Decoding is an exact Viterbi search of ours over the word loop, without pruning.",
    "Frame accuracy is against the alignment of a network on the texts, of test utterances too.",
    "Students, and the net on labels alone as long, also see labelled versions of the frames, which the ten do not; "
    "soft targets of few frames are those of their versions and of mixtures, too.",
]
WORDS = ("single", "labels_alone", "distilled")  # whose word errors are counted, beside the ensembles'
TEMPERATURES = (1.0, 2.0, 5.0, 10.0)
STUDENT_RECIPE = replace(RECIPE, num_epochs=12, weight_decay=0.0)
FEW_RECIPE = replace(RECIPE, num_epochs=100, batch_size=64)


@dataclass(frozen=True)
class Settings(TransferSettings):
    """What a run is made of. A network's architecture is text of the zoo."""

    network: str = "mlp:widths=384x384x384"  # ours; of the aligner too; paper: 8 layers of 2,560 ReLU
    num_teachers: int = 10  # paper
    num_ensembles: int = 1  # ours; 2 for another ten, which say how much ensembles differ
    student_recipe: TrainConfig = STUDENT_RECIPE  # ours
    temperature: float = 2.0  # paper
    temperatures: tuple[float, ...] = TEMPERATURES  # paper; that the sweep tries
    soft_weight: float = 1.0  # paper
    hard_weight: float = 0.5  # paper; relative to the soft targets'
    num_mixtures: int = 0  # ours; of each frame of the transfer set with others, without labels
    fraction: float = 0.03  # paper; of the frames
    num_few_mixtures: int = 4  # ours; of each of that fraction and of their versions, for soft targets
    few_recipe: TrainConfig = FEW_RECIPE  # ours; on that fraction
    language: str = "bigram"  # ours; of the training texts, beside AN4's unigram
    acoustic_scales: tuple[float, ...] = (0.15, 0.2, 0.3)  # ours; to choose from
    insertion_penalties: tuple[float, ...] = (-4.0, -2.0)  # ours; likewise
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # of the students
    few_seeds: tuple[int, ...] = (0, 1)  # ours; of nets and draws of the few frames, and of labels alone
    sweep_seeds: tuple[int, ...] = (0,)  # ours; of those at the other temperatures


SMOKE = Settings(
    network="mlp:widths=48x48",
    num_teachers=3,
    num_ensembles=2,
    recipe=replace(RECIPE, num_epochs=2),
    student_recipe=replace(RECIPE, num_epochs=2),
    temperatures=(2.0, 5.0),
    num_versions=1,
    num_mixtures=1,
    fraction=0.2,
    num_few_mixtures=1,
    few_recipe=replace(RECIPE, num_epochs=3, batch_size=64),
    acoustic_scales=(0.4,),
    insertion_penalties=(-2.0, 0.0),
    seeds=(0, 1),
    few_seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Align, train ensembles and their students, then read the test set: frames, then words."""
    task = open_speech(settings, experiment)
    objective = partial(Distillation, soft_weight=settings.soft_weight, hard_weight=settings.hard_weight)
    count, network = settings.num_teachers, settings.network
    members = train_members(
        experiment, task, network, recipe=settings.recipe, count=count, num_ensembles=settings.num_ensembles
    )
    conditions = {settings.temperature: "distilled"}
    conditions |= {T: f"distilled_t{T:g}" for T in settings.temperatures if settings.temperature != T}
    transfer = transfer_frames(settings, experiment, task)
    show = partial(mixed, transfer, recipe=settings.student_recipe, num_counted=len(task.train))
    students = train_students(
        experiment, task, network, recipe=settings.student_recipe, teacher=pooled_teacher(members[:count]),
        objective=objective, conditions=conditions, seeds=settings.seeds, sweep_seeds=settings.sweep_seeds,
        shown=show(settings.num_mixtures),
    )  # fmt: skip
    few = train_on_few(
        experiment, task, network, recipe=settings.few_recipe, teachers=members[:count], fraction=settings.fraction,
        objective=objective(settings.temperature), seeds=settings.few_seeds, transfer=transfer,
        num_mixtures=settings.num_few_mixtures,
    )  # fmt: skip
    as_long = train_members(
        experiment, task, network, recipe=settings.student_recipe, count=len(settings.few_seeds), name="labels-alone",
        shown=show(0),
    )  # fmt: skip
    networks = {"single": members, "labels_alone": as_long, **students, **few}
    ensembles = {"ensemble": members[:count]} | ({"second_ensemble": members[count:]} if members[count:] else {})
    scales = choose_all_scales(
        experiment, task, {**{name: nets[:1] for name, nets in networks.items() if name in WORDS}, **ensembles},
        acoustic=settings.acoustic_scales, insertion_penalties=settings.insertion_penalties,
    )  # fmt: skip
    predictions = read_test(experiment, networks, ensembles)
    observe_frames(experiment, task, networks, ensembles, predictions, fraction=settings.fraction)
    systems = {name: tuple(net.seed for net in networks[name][:count]) for name in WORDS} | dict.fromkeys(
        ensembles, (None,)
    )
    observe_words(experiment, task, systems, scales, predictions, main_language=settings.language)
    shown = {"ensemble": None, "distilled": settings.seeds[0], "single": 0}
    draw_utterance(
        experiment, WordScorer(task, settings.language),
        {name: predictions[name][seed] for name, seed in shown.items()},
        {name: scales[settings.language, name] for name in shown}, temperature=settings.temperature,
    )  # fmt: skip
    draw_speech(experiment, temperatures=dict(sorted(conditions.items())))
