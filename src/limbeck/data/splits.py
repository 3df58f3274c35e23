"""Parts of a data set: stratified, seeded, and chosen by id, so that storing the samples otherwise changes nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.data.checks import UNLABELLED
from limbeck.data.counter import counter_bits
from limbeck.data.samples import Samples
from limbeck.errors import DataError, InvalidValue, require_fraction


@dataclass(frozen=True)
class Splits:
    """The parts of one data set.

    Args:
        train: what is learned from.
        validation: what chooses (an epoch, a setting); None where none was asked for.
        test: what is read once, at the end; None where there is none.
        name: of the data set, e.g. "mnist".
        notes: plain sentences on what was decided while loading, for the record.
        has_own_test: False where ``test`` was held out of the training samples while loading.
    """

    train: Samples
    validation: Samples | None = None
    test: Samples | None = None
    name: str = ""
    notes: tuple[str, ...] = ()
    has_own_test: bool = True


def parts_of(splits: Splits) -> list[tuple[str, Samples]]:
    """Return the parts that there are, each with its field's name."""
    parts = (("train", splits.train), ("validation", splits.validation), ("test", splits.test))
    return [(part, samples) for part, samples in parts if samples is not None]


def renamed(splits: Splits, name: str) -> Splits:
    """Return the same splits under another name."""
    parts: dict[str, Any] = {
        part: dataclasses.replace(samples, name=f"{name}/{part}") for part, samples in parts_of(splits)
    }
    return dataclasses.replace(splits, name=name, **parts)


def require_classes(samples: Samples, what: str) -> None:
    """Raise DataError unless the labelled samples show at least two classes, in whichever kind of labels.

    Args:
        samples: the set to be learned from or measured on.
        what: how the message calls it, e.g. "the training split".
    Raises:
        DataError: no labels, or a single class among them.
    Example:
        >>> toy = Samples("toy", torch.arange(2), torch.zeros(2, 4), torch.tensor([1, 1]), ("no", "yes"))
        >>> require_classes(toy, "the training split")
        Traceback (most recent call last):
        ...
        limbeck.errors.DataError: The training split holds a single class.
          received: 2 labelled sample(s) of toy, all 'yes'
          expected: at least two classes
          remedy: check the labels, or how the split was cut
    """
    labelled = samples.labels[samples.labelled_positions()]
    present = _present_classes(samples, labelled)
    title = what[:1].upper() + what[1:]
    if len(present) == 0:
        raise DataError(f"{title} has no labels.", received=samples.name, expected="labels of at least two classes")
    if len(present) == 1:
        name = samples.class_names[int(present[0])]
        raise DataError(
            f"{title} holds a single class.",
            received=f"{len(labelled)} labelled sample(s) of {samples.name}, all {name!r}",
            expected="at least two classes",
            remedy="check the labels, or how the split was cut",
        )


def _present_classes(samples: Samples, labelled: Tensor) -> Tensor:
    """Classes that any labelled sample has; of labels for themselves, each that is there or absent counts as two."""
    if labelled.dim() == 1:
        return torch.bincount(labelled).nonzero()[:, 0]
    if samples.has_positions:
        return torch.bincount(labelled[labelled >= 0]).nonzero()[:, 0]
    if samples.task == "multi_label":
        states = torch.cat([labelled > 0, labelled == 0], dim=1).any(dim=0)
        return states.nonzero()[:, 0] % samples.num_classes
    return (labelled > 0).any(dim=0).nonzero()[:, 0]


def hold_out(
    samples: Samples, *, fraction: float | None = None, count: int | None = None, seed: int
) -> tuple[Samples, Samples]:
    """Cut a stratified part off.

    Each class gives in proportion to its labelled samples (largest remainders), those with the lowest random bits of
    (seed, id). Unlabelled samples, and one labelled sample of each class at least, stay in the rest. A sample with
    several labels, or one at each position, belongs to the rarest that it has, one with a soft label to the likeliest.
    Where nothing is labelled, every sample belongs to the same class.

    Args:
        samples: what is cut; at least one class with two labelled samples.
        fraction: of the labelled samples, in (0, 1); or
        count: how many samples to hold out, at least 1.
        seed: any integer.
    Returns:
        (rest, held): each in the order in which ``samples`` stores them.
    Raises:
        InvalidValue: not exactly one of fraction and count, or one out of range.
        DataError: more asked for than the classes can give.
    Example:
        >>> samples = Samples("toy", torch.arange(10), torch.zeros(10, 1), torch.arange(10) % 2, ("even", "odd"))
        >>> rest, held = hold_out(samples, fraction=0.4, seed=0)
        >>> len(rest), held.labels.bincount().tolist()
        (6, [2, 2])
    """
    strata = _strata(samples)
    if not bool((strata >= 0).any()):
        strata = torch.zeros_like(strata)
    available = torch.bincount(strata[strata >= 0]).cpu()
    total = _resolve_count(int(available.sum()), fraction, count, least=1)
    most = (available - 1).clamp_min(0)
    if total > int(most.sum()):
        raise DataError(
            f"Cannot hold out {total} of {samples.name}'s samples.",
            received=f"{int(available.sum())} labelled samples of {int((available > 0).sum())} classes",
            expected=f"at most {int(most.sum())}: every class keeps one labelled sample",
            remedy="hold out fewer, or give a split of your own",
        )
    quotas = _apportion(available, total, most=most)
    chosen = _lowest_of_each_class(samples, strata, quotas, seed=seed, stream="hold out")
    return samples.take((~chosen).nonzero()[:, 0]), samples.take(chosen.nonzero()[:, 0])


def label_part(samples: Samples, *, count: int | None = None, fraction: float | None = None, seed: int) -> Samples:
    """Keep the labels of a stratified part; the other samples stay, unlabelled.

    Each class present keeps at least one label, otherwise in proportion: those with the lowest random bits of
    (seed, id).

    Args:
        samples: what is kept whole.
        count: how many labels to keep (0 keeps none); or
        fraction: of the labelled samples, in [0, 1].
        seed: any integer.
    Returns:
        The same samples in the same order with fewer labels.
    Raises:
        InvalidValue: not exactly one of count and fraction, or one out of range.
        DataError: more labels asked for than there are, or fewer than classes.
    Example:
        >>> samples = Samples("toy", torch.arange(10), torch.zeros(10, 1), torch.arange(10) % 2, ("even", "odd"))
        >>> len(label_part(samples, count=4, seed=0).labelled_positions())
        4
    """
    strata = _strata(samples)
    available = torch.bincount(strata[strata >= 0]).cpu()
    if len(available) == 0:
        raise DataError(f"{samples.name} has no labels to keep.", expected="labelled samples")
    total = _resolve_count(int(available.sum()), fraction, count, least=0)
    present = int((available > 0).sum())
    if total > int(available.sum()) or 0 < total < present:
        raise DataError(
            f"Cannot keep {total} of {samples.name}'s labels.",
            received=f"{int(available.sum())} labelled samples of {present} classes",
            expected=f"from {present} (one for each class) to {int(available.sum())}, or 0",
        )
    if total == 0:
        return samples.without_labels()
    least = (available > 0).to(torch.int64)
    quotas = _apportion(available, total, most=available, least=least)
    chosen = _lowest_of_each_class(samples, strata, quotas, seed=seed, stream="label part")
    return samples.without_labels((~chosen).nonzero()[:, 0])


def _strata(samples: Samples) -> Tensor:
    """The class that each sample is counted under, int64, shape (n,); -1 where nothing of it is labelled."""
    labels = samples.labels
    if labels.dim() == 1:
        return labels
    if samples.has_positions:
        has = torch.stack([(labels == index).any(dim=1) for index in range(samples.num_classes)], dim=1)
    elif samples.task == "multi_label":
        has = labels > 0.5
        has = torch.cat([has, ~has.any(dim=1, keepdim=True)], dim=1)  # the last: no label at all
    else:
        return torch.where((labels < 0).all(dim=1), UNLABELLED, labels.argmax(dim=1))
    counts = has.sum(dim=0)
    rarest = torch.where(has, counts, len(samples) + 1).argmin(dim=1)
    labelled = torch.zeros(len(samples), dtype=torch.bool, device=labels.device)
    labelled[samples.labelled_positions()] = True
    return torch.where(labelled, rarest, UNLABELLED)


def _resolve_count(available: int, fraction: float | None, count: int | None, *, least: int) -> int:
    if (fraction is None) == (count is None):
        raise InvalidValue("Give either fraction or count.", received=f"fraction={fraction}, count={count}")
    if count is not None:
        if count < least:
            raise InvalidValue(f"count must be at least {least}.", received=count)
        return count
    assert fraction is not None
    require_fraction("fraction", fraction)
    if least and not 0 < fraction < 1:
        raise InvalidValue("fraction must lie between 0 and 1.", received=fraction, expected="0 < fraction < 1")
    return max(least, round(fraction * available))


def _apportion(available: Tensor, total: int, *, most: Tensor, least: Tensor | None = None) -> Tensor:
    """Share ``total`` over the classes by largest remainders, each between ``least`` and ``most``."""
    low = torch.zeros_like(available) if least is None else least
    exact = available.double() * total / available.sum()
    quotas = exact.floor().to(torch.int64).clamp(low, most)
    while (missing := total - int(quotas.sum())) != 0:
        step = 1 if missing > 0 else -1
        open_classes = (quotas < most) if step > 0 else (quotas > low)
        need = torch.where(open_classes, (exact - quotas) * step, torch.full_like(exact, -torch.inf))
        for index in torch.sort(need, descending=True, stable=True).indices[: abs(missing)].tolist():
            if bool(open_classes[index]):
                quotas[index] += step
    return quotas


def _lowest_of_each_class(samples: Samples, strata: Tensor, quotas: Tensor, *, seed: int, stream: str) -> Tensor:
    """Mark, of each class, as many samples as its quota says: those with the lowest bits. bool, shape (n,)."""
    labelled = (strata != UNLABELLED).nonzero()[:, 0]
    bits = counter_bits(samples.ids[labelled], seed=seed, stream=stream)[:, 0]
    by_bits = labelled[torch.argsort(bits)]
    by_class = by_bits[torch.sort(strata[by_bits], stable=True).indices]
    labels = strata[by_class]
    first_of_class = torch.searchsorted(labels, torch.arange(len(quotas), device=labels.device))
    place = torch.arange(len(labels), device=labels.device) - first_of_class[labels]
    chosen = torch.zeros(len(samples), dtype=torch.bool, device=labels.device)
    chosen[by_class[place < quotas.to(labels.device)[labels]]] = True
    return chosen
