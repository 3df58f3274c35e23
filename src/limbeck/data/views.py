"""Views: what the network sees of a sample, as a function of (seed, id, view)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from limbeck.data.augmentations import Augmentation, Mixup, describe_augmentation
from limbeck.data.counter import counter_integers, counter_uniform
from limbeck.data.normalise import Normalise, to_float
from limbeck.data.samples import Samples, position_chunks
from limbeck.errors import DataError, InvalidValue

PREPARED_LIMIT_BYTES = 2 << 30  # float32 copies of a set are kept up to this size
_VERSION = 1  # of the meaning of (seed, id, view); part of every fingerprint


@dataclass
class Batch:
    """What one step of training or inference takes in.

    Args:
        ids: int64, shape (n,).
        inputs: float32, shape (n, ...), augmented and normalised.
        labels: int64, shape (n,), -1 where unknown.
        view: which view the inputs show; None for the clean one.
        partner_labels: with mixup, labels of the partners, int64, shape (n,).
        partner_weight: with mixup, weights of the partners in [0, 1], float32, shape (n,).
        weights: of the samples in the loss, float32, shape (n,); None where all count alike.
    """

    ids: Tensor
    inputs: Tensor
    labels: Tensor
    view: int | None = None
    partner_labels: Tensor | None = None
    partner_weight: Tensor | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, end: int) -> Batch:
        """Return the samples from ``start`` up to ``end``, as a batch that shares this one's memory."""
        cut: dict[str, Any] = {
            name: value[start:end] if isinstance(value, Tensor) else value for name, value in vars(self).items()
        }
        return Batch(**cut)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch on ``device``."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return Batch(**moved)


@dataclass(frozen=True)
class Views:
    """How raw inputs become what the network sees.

    In order: the augmentations on raw inputs, then float (uint8 images times 1/255), then the normalisation, then
    mixup. View v of a sample depends on (seed, id, v) alone, with mixup also on which samples the set has, never on
    batch, neighbours, storage or workers: any view can be shown again, to another network, or to the same one later.

    Args:
        augmentations: in order; ``Mixup`` last.
        normalise: None leaves images in [0, 1] and features as they are.
        seed: any integer.
    Raises:
        InvalidValue: mixup that is not last, or settings that JSON cannot hold.
    Example:
        >>> from limbeck.data import Jitter
        >>> images = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
        >>> samples = Samples("toy", torch.arange(4), images, torch.tensor([0, 1, 0, 1]), ("no", "yes"))
        >>> views = Views((Jitter(2),), seed=1)
        >>> views.batch(samples, torch.tensor([2, 0]), view=7).inputs.shape
        torch.Size([2, 1, 28, 28])
    """

    augmentations: tuple[Augmentation | Mixup, ...] = ()
    normalise: Normalise | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "augmentations", tuple(self.augmentations))
        if any(isinstance(augmentation, Mixup) for augmentation in self.augmentations[:-1]):
            raise InvalidValue(
                "Mixup comes last, and once.",
                received=", ".join(augmentation.name for augmentation in self.augmentations),
                remedy="move it to the end",
            )
        try:
            self.describe()
        except TypeError as error:
            raise InvalidValue("A setting of these views cannot be written as JSON.", received=str(error)) from error

    @property
    def is_constant(self) -> bool:
        """Whether every view of a sample is the same, for want of augmentations."""
        return not self.augmentations

    @cached_property
    def clean(self) -> Views:
        """The same views without augmentations, for evaluation."""
        return self if self.is_constant else dataclasses.replace(self, augmentations=())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that decides what a view shows."""
        described = self._description()
        if self.is_constant:
            del described["seed"]  # which then decides nothing
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return settings and fingerprint, as JSON can hold them."""
        return {**self._description(), "fingerprint": self.fingerprint}

    def batch(
        self,
        samples: Samples,
        positions: Tensor,
        *,
        view: int | None,
        ids: Tensor | None = None,
        labels: Tensor | None = None,
        uniforms: Tensor | None = None,
    ) -> Batch:
        """Return one batch.

        Args:
            samples: raw, or prepared by these views.
            positions: int64, shape (n,).
            view: any integer; None for the clean view: normalised, not augmented.
            ids: of these positions, where they were looked up already.
            labels: likewise.
            uniforms: what :meth:`draw` gives for these ids and this view, where it was drawn already.
        Returns:
            The batch, on the device of ``samples``.
        Raises:
            DataError: samples prepared by other views, or augmentations asked of prepared ones.
            ShapeMismatch: augmentations of images asked of features.
        """
        positions = positions.to(samples.device)
        ids = samples.ids.index_select(0, positions) if ids is None else ids
        labels = samples.labels.index_select(0, positions) if labels is None else labels
        augmented = view is not None and not self.is_constant
        if samples.prepared_by is not None:
            self._check_prepared(samples, augmented)
            inputs = samples.fetch(positions)
        elif augmented and view is not None:
            if isinstance(self.augmentations[-1], Mixup):
                return self._mixed_batch(samples, positions, ids, labels, self.augmentations[-1], view)
            inputs = self._augmented(samples, positions, self.draw(ids, view) if uniforms is None else uniforms)
        else:
            inputs = to_float(samples.fetch(positions), self.normalise)
        return Batch(ids, inputs, labels, view)

    def prepared(self, samples: Samples) -> Samples:
        """Return the samples with float32, normalised inputs made once, so that a batch is one look-up.

        Where views vary, inputs are read on demand, or the result would exceed ``PREPARED_LIMIT_BYTES`` (2 GiB), the
        samples come back as they are. ``batch`` takes either and gives the same.

        Args:
            samples: raw, or already prepared by these views.
        Raises:
            DataError: samples prepared by other views.
        """
        if samples.prepared_by is not None:
            self._check_prepared(samples, augmented=not self.is_constant)
            return samples
        if self.normalise is None and isinstance(samples.inputs, Tensor) and samples.inputs.dtype == torch.float32:
            return samples  # a look-up already
        num_bytes = 4 * len(samples) * torch.Size(samples.input_shape).numel()
        if not self.is_constant or not samples.in_memory or num_bytes > PREPARED_LIMIT_BYTES:
            return samples
        device = samples.device
        inputs = torch.empty((len(samples), *samples.input_shape), dtype=torch.float32, device=device)
        for chunk in position_chunks(torch.arange(len(samples), device=device)):
            inputs[chunk[0] : chunk[-1] + 1] = to_float(samples.fetch(chunk), self.normalise)
        return dataclasses.replace(samples, inputs=inputs, raw=samples, prepared_by=self.fingerprint)

    def draw(self, ids: Tensor, view: int) -> Tensor:
        """Return the uniform numbers that decide view ``view`` of each sample, but for mixup: (n, draws)."""
        count = sum(change.draws for change in self._changes)
        return counter_uniform(ids, seed=self.seed, stream="views", view=view, count=max(count, 1))

    @cached_property
    def _changes(self) -> tuple[Augmentation, ...]:
        return tuple(change for change in self.augmentations if not isinstance(change, Mixup))

    def _augmented(self, samples: Samples, positions: Tensor, uniforms: Tensor) -> Tensor:
        raw = samples.fetch(positions)
        used = 0
        for change in self._changes:
            raw = change(raw, uniforms[:, used : used + change.draws])
            used += change.draws
        return to_float(raw, self.normalise)

    def _mixed_batch(
        self, samples: Samples, positions: Tensor, ids: Tensor, labels: Tensor, mixup: Mixup, view: int
    ) -> Batch:
        if len(samples) < 2:
            raise DataError("Mixup needs at least two samples.", received=f"{len(samples)} of {samples.name}")
        drawn = counter_integers(ids, low=0, high=len(samples) - 1, seed=self.seed, stream="mixup partner", view=view)[
            :, 0
        ]
        ranks = drawn + (drawn >= samples.ranks[positions])  # any sample but itself, in order of id
        partners = samples.positions_by_id[ranks]
        weight = mixup.weights(counter_uniform(ids, seed=self.seed, stream="mixup weight", view=view)[:, 0])
        both_ids = torch.cat([ids, samples.ids.index_select(0, partners)])
        both = self._augmented(samples, torch.cat([positions, partners]), self.draw(both_ids, view))
        own, other = both[: len(positions)], both[len(positions) :]
        mixed = torch.lerp(own, other, weight.view(-1, *[1] * (own.dim() - 1)))
        return Batch(
            ids,
            mixed,
            labels,
            view,
            samples.labels.index_select(0, partners),
            weight,
        )

    def _check_prepared(self, samples: Samples, augmented: bool) -> None:
        if augmented or samples.prepared_by != self.clean.fingerprint:
            raise DataError(
                f"{samples.name} was prepared by other views.",
                received="augmented views of prepared samples" if augmented else "another normalisation",
                expected="raw samples, or the views that prepared these",
                remedy="give the raw samples (samples.raw)",
            )

    def _description(self) -> dict[str, Any]:
        normalise = self.normalise and {"mean": list(self.normalise.mean), "std": list(self.normalise.std)}
        return {
            "version": _VERSION,
            "augmentations": [describe_augmentation(augmentation) for augmentation in self.augmentations],
            "normalise": normalise,
            "seed": self.seed,
        }
