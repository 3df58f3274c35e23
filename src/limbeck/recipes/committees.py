"""Generalists with specialists in a recipe: the plan, the specialists as jobs, what they say together."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import torch
from torch import Tensor, nn

from limbeck.data import Samples, Views
from limbeck.distillation import TrainedSpecialist, train_specialists
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.distillation.trained import TrainedNetwork
from limbeck.errors import InvalidValue, unknown_name
from limbeck.jobs import WorkAndSpan, work_and_span
from limbeck.models import fingerprint
from limbeck.pooling import combine_specialists
from limbeck.recipes.evaluation import predict
from limbeck.reports import save_class_sets_picture
from limbeck.specialists import SpecialistPlan, plan_specialists, prediction_covariance, require_set_sizes
from limbeck.teachers import SpecialistsTeacher
from limbeck.training import TrainConfig

UNLABELLED_METHODS = ("kmeans", "spectral")


@dataclass(frozen=True)
class PlanSpec:
    """How classes are cut into sets, as a text of settings.

    Example:
        >>> PlanSpec.parse("kmeans:10x30")
        PlanSpec(method='kmeans', num_specialists=10, size=30)
    """

    method: str
    num_specialists: int
    size: int

    @staticmethod
    def parse(text: str) -> PlanSpec:
        """Read METHOD:COUNTxSIZE.

        Raises:
            InvalidValue: another form.
            UnknownName: another method, or one that needs labels.
        """
        found = re.fullmatch(r"(\w+):(\d+)x(\d+)", text)
        if found is None:
            raise InvalidValue("A plan is METHOD:COUNTxSIZE.", received=text, expected="kmeans:10x30, or the like")
        if found[1] not in UNLABELLED_METHODS:
            raise unknown_name("way to cluster classes", found[1], UNLABELLED_METHODS)
        return PlanSpec(found[1], int(found[2]), int(found[3]))

    @staticmethod
    def require(texts: Sequence[str], *, num_classes: int | None = None) -> None:
        """Raise InvalidValue or UnknownName unless each can be read, and cut so many classes where that is known."""
        for spec in map(PlanSpec.parse, texts):
            if num_classes is not None:
                require_set_sizes(num_classes, spec.num_specialists, size=spec.size, max_size=None, overlap=0)


class TrainingFurther(TypedDict):
    """What all that go on from the generalist learn, and how."""

    samples: Samples
    recipe: TrainConfig
    views: Views  # normalisation and augmentation


@dataclass(frozen=True, eq=False)
class Committee:
    """A generalist and its specialists."""

    generalist: TrainedNetwork
    specialists: list[TrainedSpecialist]
    class_sets: list[list[int]]

    @property
    def cost(self) -> WorkAndSpan:
        """The time of the specialists' trainings: of all, and of the longest; the generalist's comes before both."""
        return work_and_span([one.elapsed_seconds for one in self.specialists])

    def teacher(self, *, num_top_classes: int) -> SpecialistsTeacher:
        """Return generalist and specialists as one teacher; see ``SpecialistsTeacher``."""
        return SpecialistsTeacher(
            self.generalist.module,
            [one.module for one in self.specialists],
            class_sets=self.class_sets,
            dustbin_offsets=[one.dustbin_offset for one in self.specialists],
            num_top_classes=num_top_classes,
        )

    def predictions(
        self, experiment: Experiment, samples: Samples, *, views: Views, nums_top_classes: Sequence[int]
    ) -> dict[int, Predictions]:
        """Return what all say together of labelled samples, not the test set's, for each n; all are asked once."""
        general = predict(experiment, self.generalist, samples, views=views)
        special: list[Tensor] = []
        for one in self.specialists:
            logits = predict(experiment, one.module, samples, views=views).logits.float().clone()
            logits[:, -1] += one.dustbin_offset
            special.append(logits)
        together = {
            number: combine_specialists(general.logits, special, self.class_sets, num_top_classes=number)
            for number in nums_top_classes
        }
        return {number: Predictions(log_q, general.labels, general.class_names) for number, log_q in together.items()}


@dataclass(frozen=True, eq=False)
class Covariance:
    """The covariance of a generalist's predictions, and whose it is."""

    matrix: Tensor  # float64, (classes, classes)
    class_names: tuple[str, ...]
    generalist_fingerprint: str

    @staticmethod
    def of(experiment: Experiment, generalist: TrainedNetwork, samples: Samples, *, views: Views) -> Covariance:
        """Ask a generalist about samples; their labels do not matter."""
        logits = predict(experiment, generalist, samples, views=views).logits
        matrix = prediction_covariance(torch.softmax(part.double(), dim=1) for part in torch.split(logits, 4096))
        return Covariance(matrix, samples.class_names, fingerprint(generalist.module))

    def plan(self, text: str) -> SpecialistPlan:
        """Return the plan that a text of :class:`PlanSpec` asks for: sets of exactly its size."""
        spec = PlanSpec.parse(text)
        return plan_specialists(
            self.matrix,
            class_names=list(self.class_names),
            num_specialists=spec.num_specialists,
            size=spec.size,
            method=spec.method,
            generalist_fingerprint=self.generalist_fingerprint,
        )


def to_train_further(network: TrainedNetwork) -> nn.Module:
    """Return a copy of a trained network that is not frozen, as a teacher is."""
    return copy.deepcopy(network.module).requires_grad_(True)


def show_plan(experiment: Experiment, covariance: Covariance, plan: SpecialistPlan) -> None:
    """Write plan.yaml and plan.png beside the record, and note how many specialists know a class."""
    text, picture = experiment.results.beside("plan.yaml"), experiment.results.beside("plan.png")
    if text is not None and picture is not None:
        plan.save(text)
        save_class_sets_picture(
            picture, covariance.matrix.numpy(), plan.class_numbers(), class_names=list(covariance.class_names)
        )
    counts = sorted(Counter(plan.coverage().values()).items())
    told = ", ".join(f"{count} in {times}" for times, count in counts)
    experiment.results.note(
        f"Classes by the number of specialists that learn them: {told}. The sets: plan.yaml, plan.png."
    )


def trained_committee(
    experiment: Experiment,
    generalist: TrainedNetwork,
    plan: SpecialistPlan,
    *,
    samples: Samples,
    recipe: TrainConfig,
    views: Views,
    seed: int,
    jobs: str,
    variant: Literal["dustbin", "full_softmax"] = "dustbin",
    temperature: float = 2.0,
    soft_weight: float = 1.0,
) -> Committee:
    """Return a generalist's committee; specialists that are not there are trained, each a job of its own.

    They stand among the experiment's networks, named by the hash of everything that decides them, and in its record.

    Args:
        experiment: where they are trained; its validation samples choose each one's epoch.
        generalist: whose weights they start from.
        plan: of this generalist.
        samples: what they learn from.
        recipe: of each.
        views: normalisation and augmentation.
        seed: of order and dropout.
        jobs: "serial", "processes:2", "ray", ...; see ``limbeck.jobs.runner_from``.
        variant: "dustbin", or "full_softmax" with the generalist's soft targets.
        temperature: of these.
        soft_weight: of these.
    Raises:
        LimbeckError: what ``train_specialists`` refuses.
    """
    assert not experiment.is_evaluated, "everything is trained before the test set is read"
    specialists = train_specialists(
        generalist.module,
        plan,
        samples,
        recipe=recipe,
        validation=experiment.validation,
        views=views,
        variant=variant,
        temperature=temperature,
        soft_weight=soft_weight,
        seed=seed,
        generalist_spec=generalist.name,
        out=experiment.cache.folder,
        jobs=jobs,
        runtime=experiment.runtime,
        progress=experiment.progress,
    )
    name = "specialist" if variant == "dustbin" else "specialist, full softmax"
    for one in specialists:
        facts = one.network.facts(name=name, spec=f"{generalist.name}, {len(one.class_set)} classes")
        experiment.facts.setdefault(facts.folder, facts)
    return Committee(generalist, specialists, plan.class_numbers())


def choose_num_top_classes(
    experiment: Experiment,
    committees: Mapping[int, Committee],
    name: str,
    *,
    candidates: Sequence[int],
    views: Views,
) -> int:
    """Return the n of the highest mean validation accuracy over seeds, the lowest of equal ones.

    Each is recorded as "NAME_top_N", the choice as the "num_top_classes" of NAME.

    Args:
        experiment: whose validation samples choose.
        committees: by seed.
        name: begins the conditions.
        candidates: numbers of top classes that wake specialists.
        views: for their normalisation.
    """
    totals = dict.fromkeys(sorted(candidates), 0.0)
    for seed, committee in committees.items():
        predictions = committee.predictions(experiment, experiment.validation, views=views, nums_top_classes=candidates)
        for number, found in predictions.items():
            experiment.results.observe(f"{name}_top_{number}", seed, "validation_accuracy", found.accuracy, "fraction")
            totals[number] += found.accuracy
    chosen = max(totals, key=lambda number: totals[number])
    experiment.results.observe(name, None, "num_top_classes", chosen, "count")
    return chosen
