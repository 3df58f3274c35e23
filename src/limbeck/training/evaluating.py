"""Predictions over a split and what they measure; the network's modes are left as they were found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from limbeck.data import Samples, Views, iterate_batches
from limbeck.errors import DataError
from limbeck.inputs import move
from limbeck.metrics import RowMeasures
from limbeck.metrics.tasks import has_class_labels, measure_task
from limbeck.models import evaluating
from limbeck.models.calling import logits_with_weights, network_logits
from limbeck.models.sharding import holding, is_sharded
from limbeck.teachers.positions import padded_positions
from limbeck.training.runtime import Runtime

EVALUATION_BATCH_SIZE = 512
BLOCK_NUMBERS = 1 << 24  # logits of a block, where there are many


def predict(
    model: nn.Module,
    samples: Samples,
    views: Views,
    *,
    runtime: Runtime,
    weights: Mapping[str, Tensor] | None = None,
    batch_size: int = EVALUATION_BATCH_SIZE,
) -> Tensor:
    """Return the logits of the clean view of every sample, in the samples' order.

    Ranks share out whole batches, and each returns the logits of all. Where the network is sharded over them, all
    make the same number of forward passes: those without a batch for the last one take the first again, in vain.

    Args:
        model: maps inputs to logits (batch, classes) or (batch, time, classes); its modes are restored.
        samples: what to predict.
        views: only the normalisation is used.
        runtime: device and precision.
        weights: a state dict to use in place of the model's own, which is not touched.
        batch_size: of the forward passes.
    Returns:
        float32 on the CPU, shape (samples, classes); (samples, time, classes) where labels are of positions.
    """
    positions, ranks = torch.arange(len(samples)), runtime.ranks
    batches = torch.split(positions, batch_size)
    is_dealt = len(batches) >= ranks.size > 1
    own = torch.cat(batches[ranks.number :: ranks.size]) if is_dealt else positions
    is_sharded_model = is_sharded(model)
    in_vain = is_dealt and is_sharded_model and 0 < len(batches) % ranks.size <= ranks.number
    passes = torch.cat([own, batches[0]]) if in_vain else own
    held: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if is_sharded_model:
        held, weights = holding(model, weights), None
    with held:
        rows = _rows(model, samples, views, passes, runtime=runtime, weights=weights, batch_size=batch_size)
    found = torch.cat(rows)[: len(own)]
    if is_dealt:
        found = ranks.add_up(
            found.new_zeros(len(samples), *found.shape[1:]).index_copy_(0, own.to(found.device), found)
        )
    return found.cpu()


def _rows(
    model: nn.Module,
    samples: Samples,
    views: Views,
    positions: Tensor,
    *,
    runtime: Runtime,
    weights: Mapping[str, Tensor] | None,
    batch_size: int,
) -> list[Tensor]:
    """Return the logits of some samples, batch by batch."""
    rows = []
    with evaluating(model), torch.no_grad(), runtime.autocast():
        for batch in iterate_batches(
            samples, views, positions, batch_size=batch_size, view=None, bound_for=runtime.device
        ):
            inputs = move(batch.inputs, runtime.device, non_blocking=True)
            logits = network_logits(model, inputs) if weights is None else logits_with_weights(model, weights, inputs)
            rows.append(padded_positions(logits.float(), samples, batch.labels))
    return rows


def predict_in_blocks(
    model: nn.Module,
    samples: Samples,
    views: Views,
    *,
    runtime: Runtime,
    weights: Mapping[str, Tensor] | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the logits of some samples at a time, with their place; of all at once where they are not many.

    With many classes the logits of a whole split would take gigabytes. See :func:`predict` for the arguments.
    """
    size = max(1, BLOCK_NUMBERS // max(1, samples.num_classes))
    if size >= EVALUATION_BATCH_SIZE:
        size -= size % EVALUATION_BATCH_SIZE  # the same batches as without blocks
    batch_size = min(size, EVALUATION_BATCH_SIZE)
    for start in range(0, len(samples), size):
        place = slice(start, min(start + size, len(samples)))
        whole = size >= len(samples)
        block = samples if whole else samples.take(torch.arange(place.start, place.stop))
        yield place, predict(model, block, views, runtime=runtime, weights=weights, batch_size=batch_size)


def evaluate(
    model: nn.Module,
    samples: Samples,
    views: Views,
    *,
    runtime: Runtime,
    weights: Mapping[str, Tensor] | None = None,
) -> dict[str, float]:
    """Return errors, accuracy, NLL and more of a network on the labelled samples of a split, by their kind of labels.

    Args:
        model: maps inputs to logits; its modes are restored.
        samples: a split.
        views: only the normalisation is used.
        runtime: device and precision.
        weights: a state dict to use in place of the model's own, which is not touched.
    Raises:
        DataError: no sample has a label.
    """
    labelled = samples.labelled_positions()
    if len(labelled) == 0:
        raise DataError(f"{samples.name} has no labels to evaluate on.", received="0 labelled samples")
    if len(labelled) < len(samples):
        samples = samples.take(labelled)
    if has_class_labels(samples.labels, samples.task):
        labels = samples.labels.cpu()
        blocks = predict_in_blocks(model, samples, views, runtime=runtime, weights=weights)
        measured = RowMeasures.joined([RowMeasures.of(logits, labels[place]) for place, logits in blocks]).measured()
    else:
        logits = predict(model, samples, views, runtime=runtime, weights=weights)
        measured = measure_task(logits, samples.labels.cpu(), task=samples.task)
    return {name: value for name, (value, _) in measured.items()}
