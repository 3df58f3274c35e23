"""What many networks see in a step: inputs once for each group of networks that share an order, and soft targets."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.data import UNLABELLED, Batch, Samples, Views, epoch_order, iterate_batches
from limbeck.errors import InvalidValue
from limbeck.inputs import describe
from limbeck.objectives import Counts, count_valid
from limbeck.targets import DenseTargets, SoftTargets
from limbeck.teachers import Teacher
from limbeck.training.checks import part_bounds
from limbeck.training.runtime import Runtime

TABLE_LIMIT_BYTES = 2 << 30  # a teacher's outputs for all samples are kept up to this size
TEACHER_BATCH_SIZE = 512


@dataclass(frozen=True, eq=False)
class StackedBatch:
    """One step of all networks.

    Args:
        inputs: shape (groups, batch, ...).
        labels: of shape (networks, batch), as are mixup's partner labels and weights; its own inputs and ids are those
            of the groups, one group after the other.
        teacher_logits: shape (networks with a teacher, batch, classes); None where there are none.
    """

    inputs: Tensor
    labels: Batch
    teacher_logits: Tensor | None

    def split(self, num_parts: int) -> Iterator[StackedBatch]:
        """Yield the examples of every network in so many parts."""
        if num_parts == 1:
            yield self
            return
        for start, end in part_bounds(self.inputs.shape[1], num_parts):
            yield self._part(slice(start, end))

    def _part(self, examples: slice) -> StackedBatch:
        labels = self.labels
        return StackedBatch(
            self.inputs[:, examples],
            dataclasses.replace(
                labels,
                labels=labels.labels[:, examples],
                partner_labels=_columns(labels.partner_labels, examples),
                partner_weight=_columns(labels.partner_weight, examples),
            ),
            _columns(self.teacher_logits, examples),
        )

    def count(self, *, all_labelled: bool, label_smoothing: float) -> Counts:
        """Return how many examples the means run over, for each network."""
        return count_valid(self.labels, all_labelled=all_labelled, label_smoothing=label_smoothing, is_stacked=True)


class TeacherOutputs:
    """What the teacher says to each network, at the network's temperature.

    Args:
        teacher: asked once for all networks.
        temperatures: of the networks that it serves.
        runtime: device and precision.
    """

    def __init__(self, teacher: Teacher, temperatures: Sequence[float], *, runtime: Runtime) -> None:
        self._teacher, self._runtime = teacher, runtime
        self._distinct = sorted(set(temperatures))
        self._which = torch.tensor([self._distinct.index(temperature) for temperature in temperatures])
        self._table: Tensor | None = None  # (answers, samples, classes)

    def collect(self, samples: Samples, views: Views) -> None:
        """Ask for all samples now, where one answer holds for every epoch and all of them fit into memory."""
        if not views.is_constant:
            return
        parts: list[Tensor] = []
        for batch in iterate_batches(
            samples, views, torch.arange(len(samples)), batch_size=TEACHER_BATCH_SIZE, view=None
        ):
            batch = batch.to(self._runtime.device, non_blocking=True)
            parts.append(self._teacher_logits(batch))
            if parts[0].nbytes / parts[0].shape[1] * len(samples) > TABLE_LIMIT_BYTES:
                return
        self._table = torch.cat(parts, dim=1)

    @property
    def are_ready(self) -> bool:
        """Whether all samples were asked for."""
        return self._table is not None

    def logits_for(self, batch: Batch, rows: Tensor) -> Tensor:
        """Return logits, shape (networks, batch, classes).

        Args:
            batch: of all groups.
            rows: what each network sees, shape (networks, batch): positions of samples where the outputs are ready,
                otherwise rows of the batch.
        """
        teacher_outputs = self._teacher_logits(batch) if self._table is None else self._table
        num_outputs, num_rows, num_classes = teacher_outputs.shape
        if num_outputs > 1:
            rows = rows + num_rows * self._which.unsqueeze(1)
        chosen = teacher_outputs.view(-1, num_classes).index_select(0, rows.to(teacher_outputs.device).reshape(-1))
        return chosen.view(*rows.shape, num_classes)

    def _teacher_logits(self, batch: Batch) -> Tensor:
        """Return logits, shape (answers, batch, classes): one answer for each temperature, or one for all."""
        with self._runtime.autocast():
            targets: SoftTargets = self._teacher(batch.ids, tensor_of(batch), view=batch.view)
            if isinstance(targets, DenseTargets):
                return targets.logits.unsqueeze(0)
            return torch.stack([targets.logits_at(temperature) for temperature in self._distinct])


class StackedBatches:
    """The batches of K networks, each in the order and in the views of its own seeds.

    Networks of one seed and one augmentation form a group, whose inputs are made once. ``order`` lists the networks
    group by group, which is how everything here numbers them. Where the groups differ in size, each network is a group.

    Args:
        samples: the training set.
        views: one for each network, alike but for their seeds.
        seeds: of the order, one for each network.
        batch_size: samples per network and step.
        device: where the batches go.
    Raises:
        InvalidValue: views that differ in more than the seed.
    """

    def __init__(
        self,
        samples: Samples,
        views: Sequence[Views],
        seeds: Sequence[int],
        *,
        batch_size: int,
        device: torch.device,
    ) -> None:
        if len({dataclasses.replace(view, seed=0).fingerprint for view in views}) > 1:
            raise InvalidValue(
                "The views of networks that train in one pass differ in more than the seed.",
                expected="one normalisation and the same augmentations for all",
                remedy="train them in two passes",
            )
        self.samples = views[0].prepared(samples)
        self.all_labelled = bool((samples.labels != UNLABELLED).all())
        self._batch_size, self._device = batch_size, device
        self.views = views[0]
        keys = [(view.fingerprint, seed) for view, seed in zip(views, seeds, strict=True)]
        fingerprints = [fingerprint for fingerprint, _ in keys]
        distinct = sorted(dict.fromkeys(keys), key=lambda key: fingerprints.index(key[0]))
        self.order = sorted(range(len(keys)), key=lambda k: distinct.index(keys[k]))
        sizes = {keys.count(key) for key in distinct}
        groups = distinct if len(sizes) == 1 else [keys[k] for k in self.order]
        self.num_groups = len(groups)
        by_fingerprint = {view.fingerprint: view for view in views}
        self._parts = [
            (by_fingerprint[fingerprint], [seed for _, seed in members])
            for fingerprint, members in itertools.groupby(groups, key=lambda key: key[0])
        ]
        self._networks_per_group = len(keys) // self.num_groups

    def iterate(
        self, teacher_outputs: TeacherOutputs | None, soft_networks: Tensor, *, batches_per_pass: int
    ) -> Iterator[StackedBatch]:
        """Yield the batches, pass after pass, without an end.

        Args:
            teacher_outputs: the teacher's; None where no network needs any.
            soft_networks: which networks need them, shape (soft networks,).
            batches_per_pass: steps of one pass; what lies beyond is left out.
        """
        chosen = None if len(soft_networks) == len(self.order) else soft_networks.cpu()
        for index in itertools.count():
            for batch, positions in self._pass(index, batches_per_pass * self._batch_size):
                yield self._stacked(batch, positions, teacher_outputs, chosen)

    def _stacked(
        self, batch: Batch, positions: Tensor, teacher_outputs: TeacherOutputs | None, soft_networks: Tensor | None
    ) -> StackedBatch:
        if self._device.type != "cpu":
            batch = batch.to(self._device, non_blocking=True)
        logits = None
        if teacher_outputs is not None:
            rows = self._of_networks(positions if teacher_outputs.are_ready else torch.arange(len(batch)))
            logits = teacher_outputs.logits_for(
                batch, rows if soft_networks is None else rows.index_select(0, soft_networks)
            )
        labels = dataclasses.replace(
            batch,
            labels=self._of_networks(batch.labels),
            partner_labels=None if batch.partner_labels is None else self._of_networks(batch.partner_labels),
            partner_weight=None if batch.partner_weight is None else self._of_networks(batch.partner_weight),
        )
        size = len(batch) // self.num_groups
        inputs = tensor_of(batch)
        return StackedBatch(inputs.view(self.num_groups, size, *inputs.shape[1:]), labels, logits)

    def _of_networks(self, values: Tensor) -> Tensor:
        """Return what each network sees, shape (networks, batch), of values of all groups, one after the other."""
        each = values.view(self.num_groups, 1, -1).expand(-1, self._networks_per_group, -1)
        return each.reshape(len(self.order), -1)

    def _pass(self, index: int, num_samples: int) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the batches of one pass over the data, all groups one after the other in each, and the positions."""
        orders: dict[int, Tensor] = {}
        for seed in {seed for _, seeds in self._parts for seed in seeds}:
            orders[seed] = epoch_order(self.samples.ids, seed=seed, epoch=index)[:num_samples].cpu()
        steps, iterators = [], []
        for views, seeds in self._parts:
            order = _interleaved([orders[seed] for seed in seeds], self._batch_size)
            size = len(seeds) * self._batch_size
            steps.append(torch.split(order, size))
            iterators.append(iterate_batches(self.samples, views, order, batch_size=size, view=index))
        for positions, batches in zip(zip(*steps, strict=True), zip(*iterators, strict=True), strict=True):
            yield _joined(batches), torch.cat(positions) if len(positions) > 1 else positions[0]


def _interleaved(orders: Sequence[Tensor], batch_size: int) -> Tensor:
    """Return one order in which every batch holds the first order's batch, then the second's, and so on."""
    if len(orders) == 1:
        return orders[0]
    together = torch.stack(list(orders))  # (orders, samples)
    return torch.cat([batch.flatten() for batch in torch.split(together, batch_size, dim=1)])


def _joined(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    joined: dict[str, Any] = {
        name: torch.cat([vars(batch)[name] for batch in batches]) if isinstance(value, Tensor) else value
        for name, value in vars(batches[0]).items()
    }
    return Batch(**joined)


def _columns(values: Tensor | None, examples: slice) -> Tensor | None:
    return None if values is None else values[:, examples]


def tensor_of(batch: Batch) -> Tensor:
    """Return the inputs; those of a stack are one tensor.

    Raises:
        InvalidValue: a mapping or a tuple of tensors.
    """
    if isinstance(batch.inputs, Tensor):
        return batch.inputs
    raise InvalidValue(
        "Networks that train in one pass take one tensor as input.",
        received=describe(batch.inputs),
        expected="a tensor (batch, ...)",
        remedy="train each network with fit",
    )
