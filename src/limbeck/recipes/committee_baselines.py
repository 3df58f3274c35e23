"""What specialists are compared with: as many generalists, a mixture of experts, and section 6.1's soft targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from limbeck.data import Samples, Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.task import Training
from limbeck.distillation.trained import TrainedNetwork, pooled_teacher
from limbeck.models import mixture_of_experts
from limbeck.objectives import HardLabels
from limbeck.recipes.committees import Committee, to_train_further
from limbeck.recipes.comparing import observe_difference
from limbeck.reproduction import Figure, Series
from limbeck.specialists import SpecialistPlan
from limbeck.teachers import Teacher
from limbeck.training import TrainConfig, count_batches

SEEDS_APART = 1000  # between the seeds of two ensembles of generalists
WITH, WITHOUT = "with_soft_targets", "without_soft_targets"  # conditions


def generalists_trained_further(
    experiment: Experiment,
    generalist: TrainedNetwork,
    plan: SpecialistPlan,
    *,
    samples: Samples,
    recipe: TrainConfig,
    views: Views,
    seeds: Sequence[int],
    jobs: str,
) -> dict[int, Teacher]:
    """Return ensembles, by seed, of as many networks as a plan has specialists, trained further from the generalist.

    They learn all classes. Their recipe, their number of steps and what chooses their epoch are those of a specialist
    of the plan's mean size, whose batches are half special. They differ in the samples that they see and in their
    order: what their mean gains is what several networks' mean gives by itself.

    Args:
        experiment: where they are trained.
        generalist: whose weights they start from.
        plan: of the specialists.
        samples: what all learn from.
        recipe: of the specialists.
        views: normalisation and augmentation.
        seeds: of the ensembles.
        jobs: where networks run; see ``limbeck.jobs.runner_from``.
    """
    mean_size = sum(map(len, plan.class_sets)) / len(plan.class_sets)
    steps = count_batches(round(2 * mean_size / samples.num_classes * len(samples)), recipe.batch_size)

    def wanted(seed: int) -> tuple[str, nn.Module, Training]:
        return "generalist-further", to_train_further(generalist), {
            "samples": samples, "recipe": recipe, "views": views, "validation": experiment.validation,
            "steps_per_epoch": steps, "objective": HardLabels(), "seed": seed,
        }  # fmt: skip

    numbers = range(len(plan.class_sets))
    return {
        seed: pooled_teacher(
            experiment.train_all([wanted(seed * SEEDS_APART + number) for number in numbers], jobs=jobs)
        )
        for seed in seeds
    }


def mixture_trained_further(
    experiment: Experiment,
    generalist: TrainedNetwork,
    *,
    num_experts: int,
    gate: str,
    samples: Samples,
    recipe: TrainConfig,
    views: Views,
) -> list[TrainedNetwork]:
    """Return section 7's mixture: experts that start as the generalist, and a gate; nothing where there is no gate.

    Args:
        experiment: where it is trained; its validation samples choose the epoch.
        generalist: gives shape and weights of every expert, and the seed.
        num_experts: in the mixture.
        gate: spec; empty for no mixture.
        samples: what it learns from.
        recipe: of gate and experts, together.
        views: normalisation and augmentation.
    """
    if not gate:
        return []
    experts = mixture_of_experts(generalist.name, num_experts=num_experts, gate=gate, start=generalist.module)
    return [
        experiment.train(
            "mixture",
            experts,
            samples=samples,
            objective=HardLabels(),
            recipe=recipe,
            seed=generalist.seed or 0,
            views=views,
            validation=experiment.validation,
        )
    ]


def measure_overfitting(
    experiment: Experiment,
    trained: Callable[..., Committee],
    plan: SpecialistPlan,
    *,
    num_sets: int,
    recipe: TrainConfig,
) -> None:
    """Train specialists with a full softmax, with and without the generalist's soft targets: who overfits (6.1)?

    Both learn which samples are special, and which of the special classes; with soft targets also what the generalist
    says of the rest. "overfitting" is a specialist's validation NLL after the last epoch, less its loss of the labels
    in that epoch; "nll_after_best" the validation NLL after the last epoch, less the lowest of all epochs: what early
    stopping would save. Each specialist is one run, and the two kinds are paired by it.

    Args:
        experiment: where it is recorded and drawn.
        trained: ``trained_committee``, bound to all but plan, recipe and the weight of the soft targets.
        plan: of the committee.
        num_sets: so many of its class sets, the first ones.
        recipe: long enough to overfit.
    """
    some = replace(plan, class_sets=plan.class_sets[:num_sets])
    quantities = ("overfitting", "nll_after_best")
    found: dict[str, dict[str, dict[int, float]]] = {quantity: {} for quantity in quantities}
    for condition, soft_weight in ((WITH, 1.0), (WITHOUT, 0.0)):
        for number, one in enumerate(trained(some, recipe=recipe, soft_weight=soft_weight).specialists):
            last, nlls = one.history[-1], [epoch.validation["nll"] for epoch in one.history]
            for quantity, value in zip(quantities, (nlls[-1] - last.train["hard"], nlls[-1] - min(nlls)), strict=True):
                experiment.results.observe(condition, number, quantity, value, "nats")
                found[quantity].setdefault(condition, {})[number] = value
    for quantity, name in zip(quantities, ("overfitting_less", "saved_without_stopping"), strict=True):
        what = f"Specialists of a full softmax, {quantity.replace('_', ' ')} without soft targets less that with them"
        observe_difference(
            experiment, WITH, name, found[quantity][WITH], found[quantity][WITHOUT], what=what, unit="nats"
        )
    experiment.results.draw(
        Figure(
            kind="points",
            title="Section 6.1: how far specialists with a full softmax overfit",
            how_to_read=f"Validation NLL less training loss of the labels, after {recipe.num_epochs} epochs; one mark "
            "is one specialist.",
            quantity="overfitting",
            value_label="nats",
            places=["with soft targets\nfor the rest", "labels alone"],
            series=[Series("one specialist", [WITH, WITHOUT])],
        )
    )
