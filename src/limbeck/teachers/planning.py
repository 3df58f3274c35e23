"""The plan of a collection: a codec for each teacher, measured on a sample of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limbeck.data import Samples, Views, counter_bits, iterate_batches
from limbeck.errors import InvalidValue, ShapeMismatch, StoreError
from limbeck.targets import Choice, MemberRecord, Plan, choose_codec, measure_fidelity, named_codec
from limbeck.targets.labels_codec import beside_zero
from limbeck.targets.matching import check_class_names, check_samples, check_teachers, check_views
from limbeck.targets.writer import write_arrays, write_ids, write_plan
from limbeck.teachers.positions import valid_rows
from limbeck.teachers.precision import Forward
from limbeck.teachers.teacher import Teacher

NUM_MEASURED = 1024  # samples that fidelity is measured on
NUM_FITTED = 4096  # more, that a basis is fitted to and a codec chosen by
MEASURED_SHARE = 0.01  # of all records, where nothing is fitted: what measuring may cost
LEAST_MEASURED = 256
SAMPLE_BYTES = 512 << 20  # of logits in memory at once


@dataclass(frozen=True)
class CollectionSettings:
    """How a collection is made; the arguments of ``collect`` by these names."""

    num_views: int | None
    codec: str
    max_kl: float
    batch_size: int
    precision: str
    shard_bytes: int

    def check(self, samples: Samples, views: Views) -> None:
        """Raise InvalidValue for a setting out of range, StoreError for samples that no store can belong to."""
        if self.batch_size < 1 or self.shard_bytes < 1:
            received = f"batch_size {self.batch_size}, shard_bytes {self.shard_bytes}"
            raise InvalidValue("Sizes must be at least 1.", received=received, expected=">= 1")
        if self.num_views is not None and self.num_views < 1:
            raise InvalidValue(
                "num_views must be at least 1.", received=self.num_views, expected=">= 1, or None for the clean view"
            )
        if self.num_views is not None and views.is_constant:
            raise InvalidValue(
                "Without augmentations every view is the same.",
                received=f"num_views {self.num_views}",
                expected="None: the clean view",
            )
        if not samples.is_replayable:
            raise StoreError(
                f"{samples.name} may give other inputs when it is read again.",
                expected="samples whose inputs are the same whenever they are read",
                remedy="leave random transforms out of the data set and give them as augmentations",
            )


def make_plan(
    folder: Path,
    forward: Forward,
    samples: Samples,
    views: Views,
    settings: CollectionSettings,
    *,
    class_names: Sequence[str],
) -> tuple[Plan, str]:
    """Choose and measure the codecs on samples drawn by id, and write the plan unless another process was first."""
    num_views = settings.num_views
    num_records = len(samples) * (num_views or 1)
    choices = [
        _choose(
            settings,
            *_draw(Forward([member], precision=forward.precision), samples, views, settings),
            dense_only=samples.task == "multi_label",
        )
        for member in forward.members
    ]
    if samples.task == "multi_label":
        choices = [choice.of_labels() for choice in choices]
    if samples.has_positions:
        choices = [choice.of_positions(samples.labels.shape[1]) for choice in choices]
    num_classes = choices[0].codec.num_classes
    _check_classes(forward.members, choices, num_classes=len(class_names) or num_classes)
    largest = max(choice.codec.record_bytes for choice in choices)
    per_shard = max(1, settings.shard_bytes // largest)
    if per_shard > settings.batch_size:
        per_shard -= per_shard % settings.batch_size
    plan = Plan(
        data_name=samples.name,
        inputs_fingerprint=samples.inputs_fingerprint,
        num_samples=len(samples),
        ids=write_ids(folder, samples.ids),
        views=views.describe(),
        views_fingerprint=views.fingerprint,
        num_views=num_views,
        class_names=list(class_names),
        num_classes=num_classes,
        precision=forward.precision,
        members=[
            MemberRecord(
                name=member.name,
                fingerprint=member.fingerprint,
                codec=choice.codec.name,
                parameters=choice.codec.parameters(),
                arrays=write_arrays(folder, index, choice.codec),
                record_bytes=choice.codec.record_bytes,
                fidelity=choice.fidelity,
                note=choice.note,
            )
            for index, (member, choice) in enumerate(zip(forward.members, choices, strict=True))
        ],
        records_per_shard=min(per_shard, num_records),
    )
    return write_plan(folder, plan)


def check_plan(
    folder: Path,
    plan: Plan,
    members: Sequence[Teacher],
    samples: Samples,
    views: Views,
    settings: CollectionSettings,
    *,
    class_names: Sequence[str],
) -> None:
    """Raise StoreError unless the plan in the folder is what is being collected; both values are shown."""
    check_teachers(plan, [member.fingerprint for member in members])
    check_samples(plan, samples)
    check_views(plan, views)
    check_class_names(plan, class_names)
    asked = {"num_views": settings.num_views, "precision": settings.precision}
    planned = {"num_views": plan.num_views, "precision": plan.precision}
    kind = settings.codec.partition(":")[0]
    if kind != "auto":
        asked["codec"] = ", ".join(kind for _ in plan.members)
        planned["codec"] = ", ".join(member.codec for member in plan.members)
    if asked != planned:
        raise StoreError(
            f"The folder {folder} holds a collection with other settings.",
            received=asked,
            expected=planned,
            remedy="collect into another folder, or with the same settings",
        )


def _draw(forward: Forward, samples: Samples, views: Views, settings: CollectionSettings) -> tuple[Tensor, Tensor]:
    """Return one teacher's logits to fit to, and others to measure on, of samples drawn by a hash of their ids.

    Where nothing is fitted, and where there are fewer than four, one sample serves for both.
    """
    order = torch.argsort(counter_bits(samples.ids, seed=0, stream="store sample")[:, 0])
    if settings.codec != "auto" and not settings.codec.startswith("lowrank"):
        num_records = len(samples) * (settings.num_views or 1)
        count = min(len(order), NUM_MEASURED, max(LEAST_MEASURED, int(MEASURED_SHARE * num_records)))
        logits = _outputs(forward, samples, views, order[:count], settings)
        return logits, logits
    logits = _outputs(forward, samples, views, order[: NUM_FITTED + NUM_MEASURED], settings)
    num_measured = min(NUM_MEASURED, len(logits) // 4)
    return (logits[num_measured:], logits[:num_measured]) if num_measured else (logits, logits)


def _outputs(
    forward: Forward, samples: Samples, views: Views, positions: Tensor, settings: CollectionSettings
) -> Tensor:
    """Return one teacher's logits, float32, on the host; fewer than asked for where they would fill the memory."""
    parts: list[Tensor] = []
    view = None if settings.num_views is None else 0
    with torch.no_grad():
        for batch in iterate_batches(samples, views, positions, batch_size=settings.batch_size, view=view):
            logits = valid_rows(forward(batch)[0], samples, batch.labels).float().cpu()
            parts.append(beside_zero(logits) if samples.task == "multi_label" else logits)
            if sum(part.numel() for part in parts) * 4 > SAMPLE_BYTES:
                break
    return torch.cat(parts)


def _choose(settings: CollectionSettings, fit: Tensor, measured: Tensor, *, dense_only: bool) -> Choice:
    if settings.codec == "auto":
        return choose_codec(fit, measured, max_kl=settings.max_kl, dense_only=dense_only)
    named = named_codec(settings.codec, fit)
    return Choice(named, measure_fidelity(named, measured), "asked for")


def _check_classes(members: Sequence[Teacher], choices: Sequence[Choice], *, num_classes: int) -> None:
    counts = [choice.codec.num_classes for choice in choices]
    if any(count != num_classes for count in counts):
        raise ShapeMismatch(
            "The teachers do not know the data's classes.",
            received=", ".join(f"{member.name}: {count}" for member, count in zip(members, counts, strict=True)),
            expected=f"{num_classes} classes, in the data's order",
        )
