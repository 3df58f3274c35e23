"""What has to be written beside any training loop to know whether the teacher helped.

The epoch is chosen on validation, each student has a twin without the teacher, several seeds make an interval, and the
test set is read once.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Iterable

import torch
from job import Part
from scipy.stats import t as student_t
from torch import nn
from torch.nn import functional as F


class BestEpoch:
    """Keeps the weights of the epoch with the fewest validation errors, then the lower loss."""

    def __init__(self, validation: Part) -> None:
        self._images, self._labels = validation
        self._best: tuple[float, float] = (math.inf, math.inf)
        self._weights: dict[str, torch.Tensor] = {}

    def look(self, network: nn.Module) -> None:
        """Take the network as it is after an epoch."""
        network.eval()
        with torch.no_grad():
            logits = network(self._images)
        found = count_errors(logits, self._labels), F.cross_entropy(logits, self._labels).item()
        if found < self._best:
            self._best, self._weights = found, copy.deepcopy(network.state_dict())

    def restore(self, network: nn.Module) -> nn.Module:
        """Return the network with the weights of its best epoch."""
        network.load_state_dict(self._weights)
        return network.eval()


def did_it_help(train: Callable[[int, bool], nn.Module], seeds: Iterable[int], test: Part) -> str:
    """Return the change of test errors with the teacher, and its 95 % interval.

    Args:
        train: takes a seed and whether there is a teacher; returns the trained network.
        seeds: at least two.
        test: images and labels, read once.
    """
    pairs = [(train(seed, False), train(seed, True)) for seed in seeds]
    images, labels = test
    with torch.no_grad():
        errors = [[count_errors(network(images), labels) for network in pair] for pair in pairs]
    changes = [with_teacher - alone for alone, with_teacher in errors]
    mean, n = statistics.fmean(changes), len(changes)
    half = float(student_t.ppf(0.975, n - 1)) * statistics.stdev(changes) / math.sqrt(n)
    alone, distilled = (statistics.fmean(column) for column in zip(*errors, strict=True))
    interval = f"{mean - half:.1f} to {mean + half:.1f}"
    return f"{alone:.1f} errors alone, {distilled:.1f} with the teacher: {mean:+.1f} ({interval})"


def count_errors(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return how many samples are classed wrongly."""
    return float((logits.argmax(dim=1) != labels).sum())
