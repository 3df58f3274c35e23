"""``distill_self``: a network with exits that learns from its own deepest one, beside itself without any of that.

The data's way: splits -> for each seed, from the same initial weights: the plain network, the network whose exits
learn from the labels alone (deep supervision), the self-distilled one -> a confidence threshold, by validation -> one
reading of the test set, with every exit -> record -> report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from limbeck.data import Normalise, Samples
from limbeck.distillation.costs import costs_of_exit, first_inputs
from limbeck.distillation.evaluation import as_measurements, exit_predictions_of
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.result import RunResult
from limbeck.distillation.runs import chosen_of, evaluate_all, finish_run, open_run, trainer
from limbeck.distillation.settings import SelfSettings, seed_numbers
from limbeck.distillation.sources import Network, NetworkSource, network_from
from limbeck.distillation.splits import job_data
from limbeck.distillation.trained import TrainedNetwork, exits_of
from limbeck.metrics import ExitCost, choose_threshold, early_exit_curve, exit_costs
from limbeck.models import ExitNetwork, add_exits
from limbeck.objectives import HardLabels, Objective, SelfDistillation
from limbeck.records import Comparison, EarlyExitPoint, EarlyExitRecord, NetworkRecord
from limbeck.training import Progress, Recipe

PLAIN, SUPERVISED, DISTILLED = "baseline", "deep supervision", "distilled"
WAYS = (PLAIN, SUPERVISED, DISTILLED)
DEEP_SUPERVISION = SelfDistillation(hard_weight=1.0, soft_weight=0.0, hint_weight=0.0)
ALL_EXITS = "all exits"
THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)


def distill_self(
    student: NetworkSource,
    train: Any,
    *,
    exits: Sequence[str],
    deepest: str | None = None,
    test: Any = None,
    validation: Any = None,
    temperature: float = 3.0,
    hard_weight: float = 0.7,
    soft_weight: float = 0.3,
    hint_weight: float = 0.03,
    tolerance: float = 0.005,
    recipe: Recipe | None = None,
    augmentations: Sequence[str] = (),
    num_views: int | None = None,
    view_seed: int = 0,
    normalise: Normalise | None = None,
    seeds: int | Sequence[int] = 3,
    num_labelled: int | None = None,
    validation_fraction: float = 0.1,
    split_seed: int = 0,
    class_names: Sequence[str] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | str = "auto",
    command: str = "limbeck.distill_self(...)",
    config: dict[str, Any] | None = None,
) -> RunResult:
    r"""Distil a network into its own shallower exits, beside its two ablations, over several seeds.

    .. math:: L = \overline{CE(y, q^C)} + \sum_{i < C} \left( w_{hard}\, \overline{CE(y, q^i)} +
        w_{soft}\, T^2\, \overline{KL(q^C \| q^i)} + w_{hint}\, \overline{\| F_i - F_C \|^2 / D} \right)

    The ablations always stand beside it: the plain network ("baseline"), and the same network with the same exits that
    learn from the labels alone ("deep supervision"). All three start from the same weights and take the same steps.
    Validation chooses each network's epoch, by its own head, and the confidence at which an exit may answer: the
    cheapest threshold that costs at most ``tolerance`` of the head's accuracy.

    Args:
        student: source of the network, as ``distill`` takes it.
        train: training set, as in ``distill``.
        exits: paths of the modules whose outputs get an exit ("layer1"); see ``limbeck.models.add_exits``.
        deepest: path of the features that the exits' bottlenecks imitate; the last feature map where not given.
        test: test set, as in ``distill``.
        validation: likewise.
        temperature: T > 0.
        hard_weight: >= 0, of the labels at each exit but the last.
        soft_weight: >= 0, of the divergence from the last exit.
        hint_weight: >= 0, of the features, a mean over their elements.
        tolerance: in [0, 1], accuracy on validation that answers on the way may cost.
        recipe: of all networks.
        augmentations: of all networks' inputs.
        num_views: augmented views shown in turn; new ones in every pass where not given.
        view_seed: of views that are shown in turn.
        normalise: of the inputs.
        seeds: how many runs, or which.
        num_labelled: labels kept; the unlabelled rest counts in divergences and hints.
        validation_fraction: held out of train where no validation set is given.
        split_seed: of what is held out, and of the labels kept.
        class_names: in the order of the labels.
        out: folder to write into, which a stopped job goes on from.
        overwrite: remove a run that is in the folder already.
        device: "auto", "cpu", "cuda", "mps".
        precision: "auto", "fp32", "bf16", "fp16".
        progress: "auto", "bar", "plain", "silent", or a Progress.
        command: kept in the record.
        config: kept in the record and in ``config.yaml``; made from the arguments where not given.
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
    settings = SelfSettings(
        exits=tuple(exits),
        deepest=deepest,
        temperature=temperature,
        hard_weight=hard_weight,
        soft_weight=soft_weight,
        hint_weight=hint_weight,
        tolerance=tolerance,
        recipe=recipe or Recipe(),
        augmentations=tuple(augmentations),
        num_views=num_views,
        view_seed=view_seed,
        seeds=seed_numbers(seeds),
        num_labelled=num_labelled,
        validation_fraction=validation_fraction,
        split_seed=split_seed,
    )
    data = job_data(train, validation=validation, test=test, class_names=class_names, settings=settings)
    plain = network_from(student)
    with_exits = _with_exits(plain, settings)
    data.build(with_exits, seed=settings.seeds[0])
    config = config or {
        "data": data.name,
        "student": plain.name,
        **settings.describe(),
        "normalise": asdict(normalise) if normalise else None,
    }
    experiment = open_run(
        data,
        normalise=normalise,
        config=config,
        device=device,
        precision=precision,
        progress=progress,
        out=out,
        overwrite=overwrite,
        command=command,
    )
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
        for seed in settings.seeds
        for role, network, samples, objective in ways
    ]
    return _finish(experiment, trained, settings)


def _with_exits(plain: Network, settings: SelfSettings) -> Network:
    """Return how to make the network with its exits; the network in it starts as the plain one of the same seed."""

    def make(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        network = plain.make(input_shape, num_classes)
        return add_exits(
            network, settings.exits, input_shape=input_shape, num_classes=num_classes, deepest=settings.deepest
        )

    return Network(plain.name, make, plain.shares_start)


def _finish(experiment: Experiment, trained: list[TrainedNetwork], settings: SelfSettings) -> RunResult:
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
        seeds=settings.seeds,
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
