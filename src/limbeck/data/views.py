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

from limbeck.data.augmentation_words import describe_augmentation
from limbeck.data.augmentations import Augmentation, Mixup
from limbeck.data.batches import Batch, without_padding
from limbeck.data.checks import check_inputs
from limbeck.data.counter import counter_uniform
from limbeck.data.joint import changed_alike, check_segments, draws_segments
from limbeck.data.mixing import mixing_partners
from limbeck.data.normalise import Normalise, to_float
from limbeck.data.samples import Samples
from limbeck.data.sources import is_in_memory, position_chunks, split_rows
from limbeck.data.transforms import Transform, as_tensors
from limbeck.errors import DataError, InvalidValue
from limbeck.inputs import Inputs, describe, map_inputs, move, named_tensors

PREPARED_LIMIT_BYTES = 2 << 30  # float32 copies of a set are kept up to this size
_VERSION = 1  # of the meaning of (seed, id, view); part of every fingerprint


@dataclass(frozen=True)
class Views:
    """How raw inputs become what the network sees.

    In order: the augmentations on raw inputs, then float (uint8 images times 1/255), then the normalisation, then
    mixup. View v of a sample depends on (seed, id, v) alone, with mixup also on which samples the set has, never on
    batch, neighbours, storage or workers: any view can be shown again, to another network, or to the same one later.

    A user's own pipeline stands in place of the augmentations: ``transform`` makes the view out of the raw sample. A
    teacher of another size or normalisation sees the same view through ``teacher_transform``, the student through
    ``student_transform`` where the view itself is too large for it.

    Args:
        augmentations: in order; ``Mixup`` last.
        normalise: None leaves images in [0, 1] and features as they are.
        seed: any integer.
        transform: of one raw sample; see ``Transform``. Not together with augmentations.
        teacher_transform: of one view, before the normalisation; its result is ``Batch.teacher_inputs``.
        student_transform: likewise, for what becomes ``Batch.inputs``.
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
    transform: Transform | None = None
    teacher_transform: Transform | None = None
    student_transform: Transform | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "augmentations", tuple(self.augmentations))
        if self.augmentations and self.transform is not None:
            raise InvalidValue(
                "A transform of your own stands in place of the augmentations.",
                received=", ".join(augmentation.name for augmentation in self.augmentations) + " and a transform",
                expected="either",
                remedy="do both in the transform",
            )
        for other in (self.teacher_transform, self.student_transform):
            if other is not None and other.function is None:
                raise InvalidValue("Only the transform itself can be inside the data set.", received="Transform(None)")
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
        return not self.augmentations and (self.transform is None or self.transform.is_fixed)

    @cached_property
    def clean(self) -> Views:
        """The same views without augmentations, for evaluation."""
        if self.is_constant:
            return self
        fixed = None if self.transform is None else self.transform.fixed()
        return dataclasses.replace(self, augmentations=(), transform=fixed)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that decides what a view shows."""
        described = self._description()
        if self.is_constant and not self.has_transforms:
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
        weights: Tensor | None = None,
    ) -> Batch:
        """Return one batch.

        Args:
            samples: raw, or prepared by these views.
            positions: int64, shape (n,).
            view: any integer; None for the clean view: normalised, not augmented.
            ids: of these positions, where they were looked up already.
            labels: likewise.
            uniforms: what :meth:`draw` gives for these ids and this view, where it was drawn already.
            weights: of these positions, where they were looked up already.
        Returns:
            The batch, on the device of ``samples``.
        Raises:
            DataError: samples prepared by other views, or augmentations asked of prepared ones.
            ShapeMismatch: augmentations of images asked of features.
        """
        positions = positions.to(samples.device)
        ids = samples.ids.index_select(0, positions) if ids is None else ids
        labels = samples.labels.index_select(0, positions) if labels is None else labels
        if weights is None and samples.weights is not None:
            weights = samples.weights.index_select(0, positions)
        if self.has_transforms:
            return self._transformed(samples, positions, Batch(ids, (), labels, view, weights=weights))
        augmented = view is not None and not self.is_constant
        if samples.prepared_by is not None:
            self._check_prepared(samples, augmented)
            inputs = samples.fetch(positions)
        elif augmented and view is not None:
            if isinstance(self.augmentations[-1], Mixup):
                return self._mixed_batch(samples, positions, Batch(ids, (), labels, view, weights=weights), view)
            drawn = self.draw(ids, view) if uniforms is None else uniforms
            inputs = to_float(self._raw(samples, positions, drawn, view), self.normalise)
        else:
            inputs = to_float(samples.fetch(positions), self.normalise)
        return without_padding(Batch(ids, inputs, labels, view, weights=weights))

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
        if not self.is_constant or self.has_transforms or not is_in_memory(samples.inputs):
            return samples
        first = to_float(samples.fetch(torch.zeros(1, dtype=torch.int64)), self.normalise)
        if self.normalise is None and all(
            part.dtype == samples.input_dtypes[name] for name, part in named_tensors(first)
        ):
            return samples  # a look-up already
        num_bytes = len(samples) * sum(part.numel() * part.element_size() for _, part in named_tensors(first))
        if num_bytes > PREPARED_LIMIT_BYTES:
            return samples
        inputs = map_inputs(lambda part: part.new_empty((len(samples), *part.shape[1:])), first)
        for chunk in position_chunks(torch.arange(len(samples), device=samples.device)):
            made = to_float(samples.fetch(chunk), self.normalise)
            for (_, whole), (_, part) in zip(named_tensors(inputs), named_tensors(made), strict=True):
                whole[chunk[0] : chunk[-1] + 1] = part
        return dataclasses.replace(samples, inputs=inputs, raw=samples, prepared_by=self.fingerprint)

    def draw(self, ids: Tensor, view: int) -> Tensor:
        """Return the uniform numbers that decide view ``view`` of each sample, but for mixup: (n, draws)."""
        count = sum(change.draws for change in self._changes)
        return counter_uniform(ids, seed=self.seed, stream="views", view=view, count=max(count, 1))

    @cached_property
    def _changes(self) -> tuple[Augmentation, ...]:
        return tuple(change for change in self.augmentations if not isinstance(change, Mixup))

    @cached_property
    def has_transforms(self) -> bool:
        """Whether the user's own pipelines make what a network sees."""
        return any(one is not None for one in (self.transform, self.teacher_transform, self.student_transform))

    def _transformed(self, samples: Samples, positions: Tensor, batch: Batch) -> Batch:
        """The batch with the inputs that the user's own pipelines make, sample by sample."""
        if samples.prepared_by is not None:
            self._check_prepared(samples, augmented=True)
        ids, view = batch.ids.cpu(), batch.view
        seen: list[Any] = self._seen(samples, positions, ids, view)

        def through(transform: Transform | None) -> Inputs:
            made = as_tensors(seen, ids) if transform is None else transform.apply(seen, ids, seed=self.seed, view=view)
            check_inputs(made, ids, samples.name)
            return move(made, samples.device)

        inputs = to_float(through(self.student_transform), self.normalise)
        if self.teacher_transform is not None:
            batch = dataclasses.replace(batch, teacher_inputs=to_float(through(self.teacher_transform), None))
        return without_padding(dataclasses.replace(batch, inputs=inputs))

    def _seen(self, samples: Samples, positions: Tensor, ids: Tensor, view: int | None) -> list[Any]:
        """One view of each sample, as the transform returned it."""
        transform = self.transform
        if transform is None:
            if view is None or not self.augmentations:
                return split_rows(samples.fetch(positions))
            if isinstance(self.augmentations[-1], Mixup):
                raise InvalidValue(
                    "Mixup has no view of one sample for another network.", received="mixup and transforms"
                )
            return split_rows(self._raw(samples, positions, self.draw(ids, view), view))
        shown = None if transform.is_fixed else view
        if transform.function is None:
            return split_rows(samples.fetch(positions, seed=self.seed, view=shown))
        items = samples.items(positions, seed=self.seed, view=shown)
        return transform.views(items, ids, seed=self.seed, view=shown)

    def _raw(self, samples: Samples, positions: Tensor, uniforms: Tensor, view: int) -> Inputs:
        if draws_segments(self._changes):
            check_segments(samples)
            raw = samples.fetch(positions, seed=self.seed, view=view)
        else:
            raw = samples.fetch(positions)
        used = 0
        for change in self._changes:
            raw = changed_alike(raw, change, uniforms[:, used : used + change.draws])
            used += change.draws
        return raw

    def _mixed_batch(self, samples: Samples, positions: Tensor, batch: Batch, view: int) -> Batch:
        ids, mixup = batch.ids, self.augmentations[-1]
        assert isinstance(mixup, Mixup), "asked for by batch()"
        partners, weight = mixing_partners(mixup, samples, positions, ids, seed=self.seed, view=view)
        both_ids = torch.cat([ids, samples.ids.index_select(0, partners)])
        drawn = self.draw(both_ids, view)
        both = to_float(self._raw(samples, torch.cat([positions, partners]), drawn, view), self.normalise)
        if not isinstance(both, Tensor) or not both.is_floating_point():
            raise DataError("Mixup mixes images or features.", received=describe(both), expected="floats")
        own, other = both[: len(positions)], both[len(positions) :]
        mixed = torch.lerp(own, other, weight.view(-1, *[1] * (own.dim() - 1)))
        partner_labels = samples.labels.index_select(0, partners)
        return dataclasses.replace(batch, inputs=mixed, partner_labels=partner_labels, partner_weight=weight)

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
        transforms = {
            name: transform.describe()
            for name in ("transform", "teacher_transform", "student_transform")
            if (transform := getattr(self, name)) is not None
        }
        return {
            "version": _VERSION,
            "augmentations": [describe_augmentation(augmentation) for augmentation in self.augmentations],
            "normalise": normalise,
            "seed": self.seed,
            **transforms,
        }
