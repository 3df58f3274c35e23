"""Evaluating networks: everything that a record holds of one."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn

from limbeck.data import Samples, Views
from limbeck.distillation.costs import measure_costs
from limbeck.distillation.reading import mistakes, read_split
from limbeck.distillation.trained import TrainedNetwork
from limbeck.metrics import count_parameters
from limbeck.metrics.tasks import Measured
from limbeck.models.sharding import sharded_copy
from limbeck.records import Measurement, NetworkRecord
from limbeck.training import Runtime, evaluate

VALIDATION_UNITS = {"errors": "count", "accuracy": "fraction", "nll": "nats"}


def evaluate_network(
    network: TrainedNetwork,
    *,
    test: Samples,
    validation: Samples | None,
    views: Views,
    runtime: Runtime,
    teacher_logits: Tensor | None = None,
) -> tuple[NetworkRecord, list[Measurement]]:
    """Return a network's record and every measurement of it: test, validation, machine.

    Args:
        network: with its history, or given.
        test: read here; what needs labels is measured on its labelled samples.
        validation: of a network that was not trained here it is measured now.
        views: only the normalisation is used.
        runtime: device and precision.
        teacher_logits: shape (test samples, classes) at T = 1; None where the teacher cannot run.
    """
    follows = None if network.role.startswith("teacher") else teacher_logits
    with _on_device(network, runtime) as module:
        read = partial(read_split, module, test, views, runtime=runtime, teacher_logits=follows)
        selected = read()
        by_weights = {"selected": selected}
        if network.last_weights is not None:
            by_weights["last"] = read(weights=network.last_weights)
        elif network.history:
            by_weights["last"] = selected
    measurements: list[Measurement] = []
    for weights, one in by_weights.items():
        measurements += as_measurements(network, "test", one.measured, weights=weights)
    measurements += _of_validation(network, validation, views, runtime)
    if runtime.ranks.is_first:  # while the others wait
        measurements += as_measurements(network, "machine", measure_costs(network.module, test, views))
    record = NetworkRecord(
        role=network.role,
        name=network.name,
        seed=network.seed,
        origin=network.origin,
        num_parameters=count_parameters(network.module),
        selected_epoch=network.selected_epoch,
        elapsed_seconds=network.elapsed_seconds,
        history=network.history,
        **mistakes(selected.rows, test.class_names),
    )
    return record, measurements


@contextlib.contextmanager
def _on_device(network: TrainedNetwork, runtime: Runtime) -> Iterator[nn.Module]:
    """Yield what is evaluated of a network: itself, or a copy that is sharded over all ranks."""
    if not network.is_sharded:
        yield network.module
        return
    yield sharded_copy(network.module, ranks=runtime.ranks, device=runtime.device)
    gc.collect()  # shards hold each other; the device has room for the next network's


def as_measurements(
    network: TrainedNetwork | NetworkRecord, split: str, measured: Measured, *, weights: str = "selected"
) -> list[Measurement]:
    """Return named values with their units as measurements of a network on a split."""
    return [
        Measurement(network.role, network.seed, split, weights, name, float(value), unit)
        for name, (value, unit) in measured.items()
    ]


def _of_validation(
    network: TrainedNetwork, validation: Samples | None, views: Views, runtime: Runtime
) -> list[Measurement]:
    """Return validation results as training measured them; of a network that was not trained here, measured now."""
    if validation is None or len(validation.labelled_positions()) == 0:
        return []
    if network.history:
        epochs = {record.epoch: record.validation for record in network.history}
        chosen = {"selected": network.selected_epoch or 0, "last": network.history[-1].epoch}
        by_weights = {weights: epochs[epoch] for weights, epoch in chosen.items()}
    else:
        by_weights = {"selected": evaluate(network.module, validation, views, runtime=runtime)}
    return [
        measurement
        for weights, values in by_weights.items()
        for measurement in as_measurements(
            network,
            "validation",
            {name: (values[name], unit) for name, unit in VALIDATION_UNITS.items()},
            weights=weights,
        )
    ]
