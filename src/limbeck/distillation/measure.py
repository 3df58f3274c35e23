"""From trained networks to a record's networks and measurements. The test set is read here, once, at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from limbeck.data import Samples, Views
from limbeck.metrics import (
    confusion_matrix,
    count_bytes,
    count_flops,
    count_parameters,
    latency,
    mean_kl,
    measure_predictions,
    most_confused,
    reliability_bins,
    top1_agreement,
)
from limbeck.records import EpochRecord, Measurement, NetworkRecord
from limbeck.teachers import Teacher
from limbeck.training import Runtime, evaluate, predict

LATENCY_BATCH_SIZES = (1, 256)
VALIDATION_UNITS = {"errors": "count", "accuracy": "fraction", "nll": "nats"}
NUM_MOST_CONFUSED = 10


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network whose training is over, before the test set is read."""

    role: str
    name: str
    seed: int | None
    origin: str
    module: nn.Module
    selected_weights: Mapping[str, Tensor] | None = None  # None: the module's own
    last_weights: Mapping[str, Tensor] | None = None  # None: nothing was trained
    selected_epoch: int | None = None
    history: list[EpochRecord] = field(default_factory=list)
    elapsed_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Examination:
    """What networks are measured on, and against."""

    test: Samples
    validation: Samples | None
    views: Views
    runtime: Runtime
    teacher_logits: Tensor | None  # (test samples, classes) at T = 1; None where the teacher cannot answer

    def measure(self, network: TrainedNetwork) -> tuple[NetworkRecord, list[Measurement]]:
        """Return a network's record and every measurement of it: test, validation, machine."""
        logits = self._predict(network, network.selected_weights)
        labels = self.test.labels.cpu()
        measurements = self._of_predictions(network, logits, weights="selected")
        if network.last_weights is not None:
            last_logits = self._predict(network, network.last_weights)
            measurements += self._of_predictions(network, last_logits, weights="last")
        measurements += self._of_validation(network)
        measurements += self._of_machine(network)
        confusion = confusion_matrix(logits, labels)
        record = NetworkRecord(
            role=network.role,
            name=network.name,
            seed=network.seed,
            origin=network.origin,
            num_parameters=count_parameters(network.module),
            selected_epoch=network.selected_epoch,
            elapsed_seconds=network.elapsed_seconds,
            history=network.history,
            confusion=confusion.tolist(),
            reliability=reliability_bins(logits, labels),
            most_confused=most_confused(confusion, self.test.class_names, count=NUM_MOST_CONFUSED),
        )
        return record, measurements

    def _predict(self, network: TrainedNetwork, weights: Mapping[str, Tensor] | None) -> Tensor:
        return predict(network.module, self.test, self.views, runtime=self.runtime, weights=weights)

    def _of_predictions(self, network: TrainedNetwork, logits: Tensor, *, weights: str) -> list[Measurement]:
        measured = measure_predictions(logits, self.test.labels.cpu())
        if self.teacher_logits is not None and not network.role.startswith("teacher"):
            measured["agreement"] = (top1_agreement(logits, self.teacher_logits), "fraction")
            measured["kl_to_teacher"] = (mean_kl(self.teacher_logits, logits), "nats")
        return [
            Measurement(network.role, network.seed, "test", weights, name, value, unit)
            for name, (value, unit) in measured.items()
        ]

    def _of_validation(self, network: TrainedNetwork) -> list[Measurement]:
        """Return validation results as training measured them; of a network that was not trained here, measured now."""
        if self.validation is None:
            return []
        if network.history:
            epochs = {record.epoch: record.validation for record in network.history}
            chosen = {"selected": network.selected_epoch or 0, "last": network.history[-1].epoch}
            measured = {weights: epochs[epoch] for weights, epoch in chosen.items()}
        else:
            measured = {"selected": evaluate(network.module, self.validation, self.views, runtime=self.runtime)}
        return [
            Measurement(network.role, network.seed, "validation", weights, name, values[name], unit)
            for weights, values in measured.items()
            for name, unit in VALIDATION_UNITS.items()
        ]

    def _of_machine(self, network: TrainedNetwork) -> list[Measurement]:
        module, shape = network.module, self.test.input_shape
        measured: dict[str, tuple[float, str]] = {
            "parameters": (count_parameters(module), "count"),
            "bytes": (count_bytes(module), "bytes"),
            "flops": (count_flops(module, shape), "FLOP per sample"),
        }
        for size in LATENCY_BATCH_SIZES:
            measured[f"latency_batch{size}"] = (latency(module, shape, batch_size=size), "seconds per sample")
        return [
            Measurement(network.role, network.seed, "machine", "selected", name, float(value), unit)
            for name, (value, unit) in measured.items()
        ]


class PooledNetwork(nn.Module):
    """An ensemble or a committee as one module, so that it can be predicted with, counted and timed like any network.

    Args:
        teacher: answers any view; its modules are the members.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.members = nn.ModuleList(teacher.modules)
        self._teacher = teacher
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (batch, classes) whose softmax is the pooled distribution at T = 1."""
        ids = torch.zeros(len(inputs), dtype=torch.int64)
        return self._teacher(ids, inputs).logits_at(1.0)
