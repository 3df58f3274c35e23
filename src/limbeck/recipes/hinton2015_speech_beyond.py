"""Hinton 2015 in speech, beyond section 4: frames without an alignment, and a small student that waits less.

A third of the training utterances lose their alignment (section 2: the transfer set may be unlabelled). Nets of the
other two thirds are averaged; students of one shape learn from the aligned frames alone, from all frames, and from
soft targets alone on the frames that nobody aligned, each in as many steps. None sees versions of the recordings as in
``hinton2015-speech``: the question is what recordings without an alignment add.

The streaming student sees 12 frames instead of 26, of which 2 lie in the future instead of 5, and has a quarter of the
units. It learns from the same ensemble that the full context taught, and, beside it, from labels alone.

About twenty minutes on one CPU core in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import pooled_teacher
from limbeck.objectives import Distillation, HardLabels
from limbeck.recipes import hinton2015_speech as section4
from limbeck.recipes.comparing import observe_gain
from limbeck.recipes.speech_data import CorpusSettings, open_speech, unaligned_part
from limbeck.recipes.speech_nets import Networks, mixed, train_members
from limbeck.recipes.speech_streaming import note_real_time, streaming_network
from limbeck.recipes.speech_tables import choose_all_scales, observe_words, read_test
from limbeck.reproduction import Claim, Figure, Series
from limbeck.training import TrainConfig

PAPER = "Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531, sections 2 and 4"
GAIN = "test_accuracy_gained"
Points = partial(Claim, unit="points")
CLAIMS = [
    Points("with_unaligned", f"{GAIN}_low_end", "Soft targets on frames that nobody aligned help: the interval of what "
           "they add to the student of the aligned frames lies at 0 or above.", at_least=0),
    Points("unaligned_alone", GAIN, "Soft targets alone, on the unaligned third alone, against soft targets and labels "
           "on the other two."),
    Points("streaming", f"{GAIN}_low_end", "The streaming student learns more from the ensemble than from labels: the "
           "interval lies at 0 or above.", at_least=0),
]  # fmt: skip
DEPARTURES = [
    "The paper has neither experiment in speech: section 2 says that the transfer set may be unlabelled.",
    "The alignment of the aligned frames comes from models of all training utterances.",
    *section4.DEPARTURES[:-1],  # no versions of the recordings
]


@dataclass(frozen=True)
class Settings(CorpusSettings):
    """What a run is made of; see ``hinton2015_speech.Settings``."""

    num_teachers: int = 10  # as there; of the streaming student
    num_part_teachers: int = 5  # ours; of the aligned two thirds
    unaligned_every: int = 3  # ours; every so many-th training utterance has no alignment
    student_recipe: TrainConfig = section4.STUDENT_RECIPE  # as there
    temperature: float = 2.0  # paper
    soft_weight: float = 1.0  # paper
    hard_weight: float = 0.5  # paper
    num_mixtures: int = 0  # as there; not for the streaming student, which is too small to learn the frames by heart
    streaming_widths: tuple[int, ...] = (64, 64, 64)  # ours; a quarter of the units
    streaming_before: int = 9  # ours
    streaming_after: int = 2  # ours
    language: str = "bigram"  # as there
    acoustic_scales: tuple[float, ...] = section4.Settings.acoustic_scales  # as there
    insertion_penalties: tuple[float, ...] = section4.Settings.insertion_penalties  # as there
    seeds: tuple[int, ...] = (0, 1, 2)  # of the students


SMOKE = Settings(
    network="mlp:widths=48x48",
    num_teachers=3,
    num_part_teachers=2,
    recipe=section4.SMOKE.recipe,
    student_recipe=section4.SMOKE.student_recipe,
    num_mixtures=1,
    streaming_widths=(24,),
    acoustic_scales=(0.4,),
    insertion_penalties=(-2.0,),
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train teachers of all frames and of the aligned ones, and students of every kind; read the test set."""
    task = open_speech(settings, experiment)
    part, whole, rest = unaligned_part(task, every=settings.unaligned_every)
    members = train_members(experiment, task, settings.network, recipe=settings.recipe, count=settings.num_teachers)
    part_members = train_members(
        experiment, task, settings.network, recipe=settings.recipe, count=settings.num_part_teachers,
        name="single-of-part", shown=mixed(part, 0, recipe=settings.recipe),
    )  # fmt: skip
    both = Distillation(settings.temperature, settings.hard_weight, settings.soft_weight)
    soft = replace(both, hard_weight=0.0)
    taught = pooled_teacher(part_members)
    networks: Networks = {"single_of_part": part_members}
    for name, samples, objective in (
        ("aligned_part", part, both),
        ("with_unaligned", whole, both),
        ("unaligned_alone", rest, soft),
    ):
        networks[name] = experiment.train_stacked(
            name.replace("_", "-"), settings.network, objectives=[objective] * len(settings.seeds),
            seeds=settings.seeds, recipe=settings.student_recipe, teacher=taught, validation=task.development,
            **mixed(samples, settings.num_mixtures, recipe=settings.student_recipe, num_counted=len(part)),
        )  # fmt: skip
    small = streaming_network(
        settings.streaming_widths, task.context, before=settings.streaming_before, after=settings.streaming_after
    )
    networks["streaming_labels"] = [
        experiment.train(
            "streaming-labels", small, samples=task.train, objective=HardLabels(), seed=seed,
            recipe=settings.student_recipe, validation=task.development,
        )
        for seed in settings.seeds
    ]  # fmt: skip
    networks["streaming"] = experiment.train_stacked(  # in one pass, which asks the ten once for each frame
        "streaming", small, objectives=[both] * len(settings.seeds), seeds=settings.seeds, samples=task.train,
        recipe=settings.student_recipe, teacher=pooled_teacher(members), validation=task.development,
    )  # fmt: skip
    systems = {name: networks[name] for name in ("aligned_part", "with_unaligned", "streaming_labels", "streaming")}
    scales = choose_all_scales(
        experiment, task, {name: nets[:1] for name, nets in systems.items()},
        acoustic=settings.acoustic_scales, insertion_penalties=settings.insertion_penalties,
    )  # fmt: skip
    predictions = read_test(experiment, networks, {"ensemble": members, "ensemble_of_part": part_members})
    observe_gain(
        experiment, "with_unaligned", "aligned_part", what="Accuracy of students of all frames, less the aligned"
    )
    observe_gain(
        experiment, "unaligned_alone", "aligned_part", what="Accuracy of soft targets on the rest alone, less the same"
    )
    observe_gain(
        experiment, "streaming", "streaming_labels", what="Accuracy of the streaming student, less that of labels alone"
    )
    observe_words(
        experiment, task, dict.fromkeys(systems, settings.seeds), scales, predictions,
        main_language=settings.language, compared={"with_unaligned": "aligned_part", "streaming": "streaming_labels"},
    )  # fmt: skip
    note_real_time(experiment, task, networks["streaming"][0], settings.language)
    names = ["ensemble_of_part", "aligned_part", "with_unaligned", "unaligned_alone", "ensemble", *list(systems)[2:]]
    experiment.results.draw(
        Figure(
            kind="points",
            title="Frame accuracy",
            how_to_read="The first four know the alignment of two thirds of the training frames at most.",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} frames",
            places=[name.replace("_", "\n") for name in names],
            series=[Series("one run", names)],
        )
    )
