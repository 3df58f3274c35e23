"""``distill_self``: a network with exits that learns from its own deepest one, beside itself without any of that.

The data's way: splits -> for each seed, from the same initial weights: the plain network, the network whose exits
learn from the labels alone (deep supervision), the self-distilled one -> a confidence threshold, by validation -> one
reading of the test set, with every exit -> record -> report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.data import Samples
from limbeck.distillation.arguments import SelfJob, job
from limbeck.distillation.measure import TrainedNetwork
from limbeck.distillation.result import RunResult
from limbeck.distillation.sources import Network, network_from
from limbeck.distillation.splits import job_data
from limbeck.distillation.workbench import Workbench
from limbeck.metrics import ExitCost, accuracy, choose_threshold, early_exit_curve, exit_costs, measure_predictions
from limbeck.models import EveryExit, ExitNetwork, add_exits
from limbeck.objectives import HardLabels, Objective, SelfDistillation
from limbeck.pooling import arithmetic_mean
from limbeck.records import Comparison, EarlyExitPoint, EarlyExitRecord, Measurement, NetworkRecord
from limbeck.training import predict

PLAIN, SUPERVISED, DISTILLED = "baseline", "deep supervision", "distilled"
WAYS = (PLAIN, SUPERVISED, DISTILLED)
DEEP_SUPERVISION = SelfDistillation(hard_weight=1.0, soft_weight=0.0, hint_weight=0.0)
ALL_EXITS = "all exits"
THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)


@job(SelfJob)
def distill_self(settings: SelfJob) -> RunResult:
    r"""Distil a network into its own shallower exits, beside its two ablations, over several seeds.

    .. math:: L = \overline{CE(y, q^C)} + \sum_{i < C} \left( w_{hard}\, \overline{CE(y, q^i)} +
        w_{soft}\, T^2\, \overline{KL(q^C \| q^i)} + w_{hint}\, \overline{\| F_i - F_C \|^2 / D} \right)

    The ablations always stand beside it: the plain network ("baseline"), and the same network with the same exits that
    learn from the labels alone ("deep supervision"). All three start from the same weights and take the same steps.
    Validation chooses each network's epoch, by its own head, and the confidence at which an exit may answer: the
    cheapest threshold that costs at most ``tolerance`` of the head's accuracy.

    Returns:
        The self-distilled network that validation chose, *stripped of its exits*, which costs what the plain one costs,
        and the record. With its exits it is saved under ``exits/`` of the folder.
    Raises:
        UnknownName: no module at a path; near ones are listed.
        InvalidValue: no exits, or a number outside its range.
        LimbeckError: as in ``distill``; nothing has been trained then.
        TrainingDiverged: a loss became NaN or infinite.
    References:
        Zhang et al. 2019, "Be Your Own Teacher", arXiv:1905.08094.
    """
    data = job_data(settings.train, settings)
    plain = network_from(settings.student)
    with_exits = _with_exits(plain, settings)
    data.build(with_exits, seed=settings.seed_numbers[0])
    names = {"data": data.name, "student": plain.name}
    bench = Workbench.open(data, settings, names=names, function="distill_self")
    notes = list(data.notes)
    if len(data.labelled) < len(data.train):
        notes.append(
            f"{len(data.labelled)} of {len(data.train)} training samples have labels. The ablations see these alone, "
            "for as many steps as the self-distilled network, whose exits also learn from the unlabelled ones."
        )
    if plain.shares_start:
        notes.append("The student was given as a module: every seed starts from its weights.")
    ways: list[tuple[str, Network, Samples, Objective]] = [
        (PLAIN, plain, data.labelled, HardLabels()),
        (SUPERVISED, with_exits, data.labelled, DEEP_SUPERVISION),
        (DISTILLED, with_exits, data.train, settings.objective()),
    ]
    trained = [
        bench.train_network(
            network,
            role=role,
            seed=seed,
            samples=samples,
            objective=objective,
            recipe=settings.recipe,
            augmentations=settings.augmentations,
            num_views=settings.num_views,
            view_seed=settings.view_seed,
        )
        for seed in settings.seed_numbers
        for role, network, samples, objective in ways
    ]
    return _finish(bench, trained, settings, notes)


def _with_exits(plain: Network, settings: SelfJob) -> Network:
    """Return how to make the network with its exits; the network in it starts as the plain one of the same seed."""

    def make(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        network = plain.make(input_shape, num_classes)
        return add_exits(
            network, settings.exits, input_shape=input_shape, num_classes=num_classes, deepest=settings.deepest
        )

    return Network(plain.name, make, plain.shares_start)


def _finish(bench: Workbench, trained: list[TrainedNetwork], settings: SelfJob, notes: list[str]) -> RunResult:
    """Choose the threshold on validation, read the test set once with every exit, and write the record."""
    chosen = bench.chosen([network for network in trained if network.role == DISTILLED])
    bench.save_network(chosen, "exits")
    with_exits = {network: network.module for network in trained if isinstance(network.module, ExitNetwork)}
    costs = {network: exit_costs(module, bench.data.train.input_shape) for network, module in with_exits.items()}
    thresholds = {
        network: _choose(bench, module, costs[network], settings.tolerance) for network, module in with_exits.items()
    }
    heads = [_stripped(network) for network in trained]
    networks, measurements = bench.examine(heads, teacher_logits=None)
    curves = []
    for network, module in with_exits.items():
        logits = predict(EveryExit(module), bench.data.test, bench.clean_views(), runtime=bench.runtime)
        records, measured = _exit_rows(bench, network, module, costs[network], logits)
        networks += records
        measurements += measured
        curves.append(_curve(network, module, _points(logits, bench.data.test, costs[network]), thresholds[network]))
    if thresholds and all(threshold is None for threshold in thresholds.values()):
        notes.append("There is no validation split: no confidence threshold was chosen.")
    networks.sort(key=lambda record: WAYS.index(record.role.partition(",")[0]))
    exits = [*next(iter(with_exits.values())).paths, ALL_EXITS]
    return bench.finish(
        "self",
        [head for head in heads if head.role == DISTILLED],
        seeds=settings.seed_numbers,
        networks=networks,
        measurements=measurements,
        dark=[],
        notes=notes,
        comparisons=[
            Comparison(PLAIN, DISTILLED, "self-distillation"),
            Comparison(SUPERVISED, DISTILLED, "the deepest exit's soft targets and features"),
            Comparison(PLAIN, SUPERVISED, "exits that learn from labels"),
            *(Comparison(f"{SUPERVISED}, {name}", f"{DISTILLED}, {name}", f"soft targets at {name}") for name in exits),
        ],
        early_exits=curves,
    )


def _stripped(network: TrainedNetwork) -> TrainedNetwork:
    """Return a trained network without its exits: the plain one, with the weights that it learned beside them."""
    if not isinstance(network.module, ExitNetwork):
        return network
    prefix = "network."

    def own(weights: Any) -> dict[str, Tensor] | None:
        if weights is None:
            return None
        return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}

    return replace(
        network,
        module=network.module.network,
        selected_weights=own(network.selected_weights),
        last_weights=own(network.last_weights),
    )


def _choose(bench: Workbench, module: ExitNetwork, costs: Sequence[ExitCost], tolerance: float) -> float | None:
    """Return the cheapest threshold whose validation accuracy is near enough to the head's; None without validation."""
    validation = bench.data.validation
    if validation is None:
        return None
    validation = validation.take(validation.labelled_positions())
    logits = predict(EveryExit(module), validation, bench.clean_views(), runtime=bench.runtime)
    head = accuracy(logits[:, -1], validation.labels.cpu())
    point = choose_threshold(_points(logits, validation, costs), least_accuracy=max(head - tolerance, 0.0))
    return point.threshold if point is not None else 1.0


def _points(logits: Tensor, samples: Samples, costs: Sequence[ExitCost]) -> list[EarlyExitPoint]:
    return early_exit_curve(logits, samples.labels.cpu(), costs=[cost.flops for cost in costs], thresholds=THRESHOLDS)


def _curve(
    network: TrainedNetwork, module: ExitNetwork, points: list[EarlyExitPoint], threshold: float | None
) -> EarlyExitRecord:
    chosen = next((point for point in points if point.threshold == threshold), None)
    assert network.seed is not None, "it was trained here, from a seed"
    return EarlyExitRecord(network.role, network.seed, list(module.exit_names), points, chosen)


def _exit_rows(
    bench: Workbench, network: TrainedNetwork, module: ExitNetwork, costs: Sequence[ExitCost], logits: Tensor
) -> tuple[list[NetworkRecord], list[Measurement]]:
    """Return a row for each exit before the head, and one for all together: the mean of their distributions."""
    alone, together = exit_costs(module, bench.data.train.input_shape, alone=True), costs[-1]
    answers = [*zip(alone[:-1], logits.unbind(dim=1)[:-1], strict=True)]
    pooled = arithmetic_mean(torch.log_softmax(logits, dim=2).transpose(0, 1))
    answers.append((replace(together, name=ALL_EXITS), pooled))
    records, measurements = [], []
    for cost, own in answers:
        role = f"{network.role}, {cost.name}"
        records.append(
            NetworkRecord(
                role=role,
                name=network.name,
                seed=network.seed,
                origin=f"exits of {network.role}",
                num_parameters=cost.num_parameters,
                selected_epoch=network.selected_epoch,
            )
        )
        measurements += _measured(role, network.seed, own, bench.data.test, cost)
    return records, measurements


def _measured(role: str, seed: int | None, logits: Tensor, test: Samples, cost: ExitCost) -> list[Measurement]:
    of_test = measure_predictions(logits, test.labels.cpu())
    of_machine = {
        "parameters": (float(cost.num_parameters), "count"),
        "flops": (float(cost.flops), "FLOP per sample"),
        "latency_batch1": (cost.seconds, "seconds per sample"),
    }
    return [
        *(Measurement(role, seed, "test", "selected", name, value, unit) for name, (value, unit) in of_test.items()),
        *(
            Measurement(role, seed, "machine", "selected", name, value, unit)
            for name, (value, unit) in of_machine.items()
        ),
    ]
