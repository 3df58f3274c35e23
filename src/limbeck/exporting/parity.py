"""How far a file's outputs lie from its network's, on every sample of a split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.data import Normalise, Samples
from limbeck.data.normalise import to_float
from limbeck.inputs import Inputs
from limbeck.metrics.tasks import MULTI_LABEL, counting_rows, measure_task
from limbeck.models.calling import network_logits


@dataclass(frozen=True)
class Parity:
    """What is measured of a file against its network.

    Args:
        num_samples: that both were run on.
        max_difference: largest |logit of the file - logit of the network|.
        mean_difference: the mean of it.
        num_changed: predictions that differ: the class of the largest logit, of independent labels the signs.
        accuracy: of the file's predictions on the labelled samples; None without labels.
        network_accuracy: of the network's.
    """

    num_samples: int
    max_difference: float
    mean_difference: float
    num_changed: int
    accuracy: float | None
    network_accuracy: float | None

    @property
    def lost(self) -> float:
        """Accuracy lost, a fraction; below 0 where the file is better, 0 without labels."""
        if self.accuracy is None or self.network_accuracy is None:
            return 0.0
        return self.network_accuracy - self.accuracy


Run = Callable[[Inputs], Tensor]


def raw_batches(samples: Samples, *, batch_size: int) -> Iterator[tuple[Tensor, Inputs]]:
    """Yield positions and raw inputs of all samples, in order; the last batch may be of one sample."""
    for positions in torch.split(torch.arange(len(samples)), batch_size):
        yield positions, samples.fetch(positions)


def logits_of_network(network: nn.Module, normalise: Normalise | None) -> Run:
    """Return what runs a trained network on raw inputs as training and evaluation do."""

    def run(raw: Inputs) -> Tensor:
        with torch.inference_mode():
            return network_logits(network, to_float(raw, normalise)).float()

    return run


def measure_parity(reference: Run, exported: Run, samples: Samples, *, batch_size: int) -> Parity:
    """Run both on every sample, batch by batch, and compare.

    Args:
        reference: raw inputs to logits (batch, classes), of the network.
        exported: the same, of the file.
        samples: the split.
        batch_size: of the passes.
    """
    pairs = [
        (reference(raw).cpu(), exported(raw).float().cpu()) for _, raw in raw_batches(samples, batch_size=batch_size)
    ]
    labels = samples.labels.cpu()
    expected, rows = counting_rows(torch.cat([pair[0] for pair in pairs]), labels)
    found, _ = counting_rows(torch.cat([pair[1] for pair in pairs]), labels)
    difference = (found - expected).abs()
    is_finite = bool(torch.isfinite(difference).all())
    return Parity(
        num_samples=len(samples),
        max_difference=float(difference.max()) if is_finite else math.inf,
        mean_difference=float(difference.double().mean()) if is_finite else math.inf,
        num_changed=int(_differs(expected, found, samples.task).sum()),
        accuracy=_accuracy(found, rows, samples.task),
        network_accuracy=_accuracy(expected, rows, samples.task),
    )


def _accuracy(logits: Tensor, labels: Tensor, task: str) -> float | None:
    measured = measure_task(logits, labels, task=task)
    return measured["accuracy"][0] if measured else None


def _differs(expected: Tensor, found: Tensor, task: str) -> Tensor:
    if task == MULTI_LABEL:
        return ((expected > 0) != (found > 0)).any(dim=-1)
    return expected.argmax(dim=-1) != found.argmax(dim=-1)
