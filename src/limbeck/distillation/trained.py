"""Networks whose training is over, and pools of them as one module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.distillation.task import TrainingTask
from limbeck.errors import ModelError
from limbeck.inputs import Inputs, num_rows
from limbeck.metrics import count_parameters
from limbeck.models import ExitNetwork
from limbeck.records import EpochRecord
from limbeck.reproduction import NetworkFacts
from limbeck.teachers import EnsembleTeacher, ModuleTeacher, Teacher
from limbeck.training import FitResult


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network whose training is over, before the test set is read. ``module`` holds the selected weights."""

    role: str
    name: str  # spec
    seed: int | None
    origin: str
    module: nn.Module
    last_weights: Mapping[str, Tensor] | None = None  # of the last epoch; None where these are the selected ones
    selected_epoch: int | None = None  # None: nothing was trained
    history: list[EpochRecord] = field(default_factory=list)
    elapsed_seconds: float = 0.0  # of training
    folder: Path | None = None  # in a cache of networks
    was_cached: bool = False  # trained by an earlier command
    environment: dict[str, Any] = field(default_factory=dict)  # of its training
    is_sharded: bool = False  # it is evaluated sharded over all ranks, and whole in host memory

    @staticmethod
    def in_memory(task: TrainingTask, fitted: FitResult) -> TrainedNetwork:
        """Return a network that no cache keeps."""
        return TrainedNetwork(
            role=task.name,
            name=task.spec,
            seed=task.seed,
            origin="trained",
            module=fitted.student,
            last_weights=last_weights_of(fitted),
            selected_epoch=fitted.selected_epoch,
            history=fitted.history,
            elapsed_seconds=fitted.elapsed_seconds,
        )

    def facts(self, *, name: str | None = None, spec: str | None = None) -> NetworkFacts:
        """Return what a record tells of a network from a cache; name and spec are its own where not given."""
        assert self.folder is not None, "it is in a cache"
        assert self.seed is not None, "it was trained from a seed"
        return NetworkFacts(
            name=name or self.role,
            spec=spec or self.name,
            seed=self.seed,
            folder=self.folder.name,
            num_parameters=count_parameters(self.module),
            num_epochs=len(self.history),
            training_seconds=self.elapsed_seconds,
            was_cached=self.was_cached,
            environment=self.environment,
        )


def last_weights_of(fitted: FitResult) -> Mapping[str, Tensor] | None:
    """Return the last epoch's weights, or None where they were selected."""
    return None if fitted.selected_epoch == fitted.history[-1].epoch else fitted.last_weights


class PooledNetwork(nn.Module):
    """An ensemble or a committee as one module, so that it can be predicted with, counted and timed like any network.

    Args:
        teacher: reads any view; its modules are the members.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.members = nn.ModuleList(teacher.modules)
        self._teacher = teacher
        self.eval()

    def forward(self, *parts: Inputs, **named: Inputs) -> Tensor:
        """Return logits (batch, classes) whose softmax is the pooled distribution at T = 1."""
        inputs: Inputs = named or (parts[0] if len(parts) == 1 else parts)
        ids = torch.zeros(num_rows(inputs), dtype=torch.int64)
        return self._teacher(ids, inputs).logits_at(1.0)


def pooled_teacher(
    networks: Teacher | TrainedNetwork | Sequence[TrainedNetwork], *, pooling: str = "arithmetic"
) -> Teacher:
    """Return trained networks as one teacher that runs in every step; several are pooled."""
    if isinstance(networks, Teacher):
        return networks
    if isinstance(networks, TrainedNetwork):
        return ModuleTeacher(networks.module, name=networks.role)
    return EnsembleTeacher([ModuleTeacher(network.module, name=network.role) for network in networks], pooling=pooling)


def exits_of(network: TrainedNetwork) -> ExitNetwork:
    """Return a trained network with exits.

    Raises:
        ModelError: it has none.
    """
    if not isinstance(network.module, ExitNetwork):
        raise ModelError(
            f"{network.role} has no exits.",
            received=type(network.module).__name__,
            remedy="train one of limbeck.models.exit_network",
        )
    return network.module
