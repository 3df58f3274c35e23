"""``distill_self``: a network with exits that learns from its own deepest one, beside itself without any of that.

The data's way: splits -> for each seed, from the same initial weights: the plain network, the network whose exits
learn from the labels alone (deep supervision), the self-distilled one -> a confidence threshold, by validation -> one
reading of the test set, with every exit -> record -> report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from limbeck.data import Samples
from limbeck.distillation.arguments import SelfJob, job
from limbeck.distillation.costs import costs_of_exit, first_inputs
from limbeck.distillation.dry_run import dry_run
from limbeck.distillation.evaluation import as_measurements
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import exit_predictions_of
from limbeck.distillation.result import RunResult
from limbeck.distillation.runs import chosen_of, evaluate_all, finish_run, open_run, trainer
from limbeck.distillation.sources import Network, Shapes, network_from
from limbeck.distillation.splits import job_data
from limbeck.distillation.trained import TrainedNetwork, exits_of
from limbeck.metrics import ExitCost, choose_threshold, early_exit_curve, exit_costs
from limbeck.models import ExitNetwork, add_exits
from limbeck.objectives import HardLabels, Objective, SelfDistillation
from limbeck.records import Comparison, EarlyExitPoint, EarlyExitRecord, NetworkRecord

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
    Validation chooses each network's epoch, by its own head, and the confidence at which an exit may stop: the
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
    start = data.build(with_exits, seed=settings.seed_numbers[0])
    names = {"data": data.name, "student": plain.name}
    experiment = open_run(data, settings, names=names, function="distill_self")
    dry_run(experiment, {"student": start})
    experiment.directory.begin()
    if len(data.labelled) < len(data.train):
        experiment.results.note(
            f"{len(data.labelled)} of {len(data.train)} training samples have labels. The ablations see these alone, "
            "for as many steps as the self-distilled network, whose exits also learn from the unlabelled ones."
        )
    if plain.shares_start:
        experiment.results.note("The student was given as a module: every seed starts from its weights.")
    ways: list[tuple[str, Network, Samples, Objective]] = [
        (PLAIN, plain, data.labelled, HardLabels()),
        (SUPERVISED, with_exits, data.labelled, DEEP_SUPERVISION),
        (DISTILLED, with_exits, data.train, settings.objective()),
    ]
    train_one = trainer(experiment, settings)
    trained = [
        train_one(network, role=role, seed=seed, samples=samples, objective=objective)
        for seed in settings.seed_numbers
        for role, network, samples, objective in ways
    ]
    return _finish(experiment, trained, settings)


def _with_exits(plain: Network, settings: SelfJob) -> Network:
    """Return how to make the network with its exits; the network in it starts as the plain one of the same seed."""

    def make(shapes: Shapes, num_classes: int) -> nn.Module:
        network, input_shape = plain.make(shapes, num_classes), next(iter(shapes.values()))
        return add_exits(
            network, settings.exits, input_shape=input_shape, num_classes=num_classes, deepest=settings.deepest
        )

    return Network(plain.name, make, plain.shares_start)


def _finish(experiment: Experiment, trained: list[TrainedNetwork], settings: SelfJob) -> RunResult:
    """Choose the threshold on validation, read the test set once with every exit, and write the record."""
    chosen = chosen_of([network for network in trained if network.role == DISTILLED])
    experiment.save_network(chosen, "exits")
    data, views, runtime = experiment.data, experiment.clean_views(), experiment.runtime
    one_sample = first_inputs(data.train, views, count=1)
    with_exits = [network for network in trained if network.role != PLAIN]
    costs = [exit_costs(exits_of(network), one_sample) for network in with_exits]
    thresholds = [
        _choose(experiment, network, cost, settings.tolerance) for network, cost in zip(with_exits, costs, strict=True)
    ]
    heads = [_stripped(network) for network in trained]
    networks, measurements = evaluate_all(experiment, heads)
    curves = []
    for network, cost, threshold in zip(with_exits, costs, thresholds, strict=True):
        found = exit_predictions_of(network, data.test, views, runtime=runtime)
        alone = exit_costs(exits_of(network), one_sample, alone=True)
        for name, own, predictions in [
            *((one.name, one, found.of(k)) for k, one in enumerate(alone[:-1])),
            (ALL_EXITS, cost[-1], found.ensemble),
        ]:
            record = _exit_record(network, name, own)
            networks.append(record)
            measurements += as_measurements(record, "test", predictions.measured())
            measurements += as_measurements(record, "machine", costs_of_exit(own))
        points = _points(found.logits, data.test, cost)
        assert network.seed is not None, "it was trained here, from a seed"
        at = next((point for point in points if point.threshold == threshold), None)
        curves.append(EarlyExitRecord(network.role, network.seed, list(found.exit_names), points, at))
    if all(threshold is None for threshold in thresholds):
        experiment.results.note("There is no validation split: no confidence threshold was chosen.")
    networks.sort(key=lambda record: WAYS.index(record.role.partition(",")[0]))
    exits = [*exits_of(chosen).paths, ALL_EXITS]
    return finish_run(
        experiment,
        "self",
        [head for head in heads if head.role == DISTILLED],
        seeds=settings.seed_numbers,
        networks=networks,
        measurements=measurements,
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
    prefix, last = "network.", network.last_weights
    if last is not None:
        last = {name.removeprefix(prefix): value for name, value in last.items() if name.startswith(prefix)}
    return replace(network, module=network.module.network, last_weights=last)


def _choose(
    experiment: Experiment, network: TrainedNetwork, costs: Sequence[ExitCost], tolerance: float
) -> float | None:
    """Return the cheapest threshold whose validation accuracy is near enough to the head's; None without validation."""
    validation = experiment.data.choosing
    if validation is None:
        return None
    validation = validation.take(validation.labelled_positions())
    found = exit_predictions_of(network, validation, experiment.clean_views(), runtime=experiment.runtime)
    least = max(found.of(-1).accuracy - tolerance, 0.0)
    point = choose_threshold(_points(found.logits, validation, costs), least_accuracy=least)
    return point.threshold if point is not None else 1.0


def _points(logits: Tensor, samples: Samples, costs: Sequence[ExitCost]) -> list[EarlyExitPoint]:
    return early_exit_curve(logits, samples.labels.cpu(), costs=[cost.flops for cost in costs], thresholds=THRESHOLDS)


def _exit_record(network: TrainedNetwork, exit_name: str, cost: ExitCost) -> NetworkRecord:
    return NetworkRecord(
        role=f"{network.role}, {exit_name}",
        name=network.name,
        seed=network.seed,
        origin=f"exits of {network.role}",
        num_parameters=cost.num_parameters,
        selected_epoch=network.selected_epoch,
    )
