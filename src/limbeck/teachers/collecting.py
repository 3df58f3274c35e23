"""Collecting a teacher's outputs into a store: each teacher runs once for each sample and view.

The way: a plan (what goes where, with which codec) is written first; then shards, in any order, by one process or many;
the manifest last. Every record has its place and every shard its own run of batches, so a collection that is killed
anywhere and run again, or shared by several processes, ends in the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from limbeck.data import Batch, Samples, Views, iterate_batches
from limbeck.errors import InvalidValue, StoreError, TeacherError
from limbeck.records import remove_stale, waiting_lock
from limbeck.targets import Codec, Plan, TargetStore
from limbeck.targets.layout import MANIFEST, PLAN
from limbeck.targets.reader import open_codecs
from limbeck.targets.writer import (
    SHARD_BYTES,
    ShardWriter,
    damaged_files,
    manifest_is_current,
    mend_ids,
    read_plan,
    shard_is_complete,
    write_manifest,
)
from limbeck.teachers.collection_progress import ProgressCallback, Reporter
from limbeck.teachers.mapped import classes_of_members
from limbeck.teachers.planning import CollectionSettings, check_plan, make_plan
from limbeck.teachers.positions import padded_positions
from limbeck.teachers.precision import Forward
from limbeck.teachers.probe import check_probe
from limbeck.teachers.record_buffer import RecordBuffer
from limbeck.teachers.teacher import Teacher

BATCH_SIZE = 512


def collect(
    teacher: Teacher,
    samples: Samples,
    views: Views,
    path: Path | str,
    *,
    num_views: int | None = None,
    codec: str = "auto",
    max_kl: float = 0.02,
    batch_size: int = BATCH_SIZE,
    precision: str = "fp32",
    shard_bytes: int = SHARD_BYTES,
    shards: Iterable[int] | None = None,
    progress: ProgressCallback | None = None,
) -> TargetStore | None:
    """Run a teacher over the samples once and keep what it says.

    Where a collection of the same plan was begun in the folder, it goes on from it; where it is finished, it is opened.
    Shards that are there are hashed: a damaged one is collected again, and ``progress`` is told.

    Args:
        teacher: one network, or an ensemble, whose members are kept singly and pooled when read. Its networks run
            where they are.
        samples: the transfer set.
        views: what the teacher sees, and what the student must see later.
        path: the store's folder.
        num_views: keep the augmented views 0 .. n - 1; None for the clean view alone.
        codec: "auto", or as ``limbeck.targets.named_codec`` takes it.
        max_kl: for "auto": the mean divergence, in nats, that the codec may cost at T in {1, 2, 4, 8}.
        batch_size: of the teacher's forward passes. Another one gives the same targets up to rounding.
        precision: "fp32", or "bf16" or "fp16" for autocast.
        shard_bytes: size of a file, about.
        shards: of 0 .. num_shards - 1, those that this process does; all where not given. See ``prepare_collection``.
        progress: called before the first batch and after every one.
    Returns:
        The store, opened without hashing again what was just hashed; None where other processes' shards are missing.
    Raises:
        StoreError: the folder holds a collection of other teachers, samples, views or settings.
        TeacherError: a teacher that does not give logits, that changed meanwhile, or that gives other outputs than when
            the collection was begun.
        OutputError: the disk is full or gone; what is finished is kept.
        InvalidValue, UnknownName: a setting that cannot be.
    """
    folder = Path(path)
    settings = CollectionSettings(num_views, codec, max_kl, batch_size, precision, shard_bytes)
    plan, digest = _prepare(teacher, samples, views, folder, settings)
    wanted = _wanted_shards(plan, shards)
    damaged = {shard: damaged_files(folder, plan, digest, shard) for shard in wanted}
    missing = [shard for shard in wanted if damaged[shard] or not shard_is_complete(folder, plan, digest, shard)]
    found = [
        *filter(None, [mend_ids(folder, plan, samples.ids)]),
        *(file for files in damaged.values() for file in files),
    ]

    def count(shards: Iterable[int]) -> int:
        return sum(len(plan.shard_range(shard)) for shard in shards)

    report = Reporter(progress, count(missing), count(wanted) - count(missing), tuple(found))
    if missing or found:
        report(0)
    if missing:
        collection = _Collection(
            forward=Forward(members_of(teacher), precision=precision),
            codecs=open_codecs(folder, plan),
            samples=samples,
            views=views,
            plan=plan,
            batch_size=batch_size,
            report=report,
        )
        for shard in missing:
            with ShardWriter(folder, plan, digest, shard) as writer:
                collection.write(shard, writer)
        teacher.check_unchanged()
    remove_stale(folder)
    if not manifest_is_current(folder, plan, digest):
        with waiting_lock(folder):
            if not write_manifest(folder, plan, digest):
                return None
    return TargetStore.open(folder, samples=samples, class_names=plan.class_names, verify="sizes")


def prepare_collection(
    teacher: Teacher,
    samples: Samples,
    views: Views,
    path: Path | str,
    *,
    num_views: int | None = None,
    codec: str = "auto",
    max_kl: float = 0.02,
    batch_size: int = BATCH_SIZE,
    precision: str = "fp32",
    shard_bytes: int = SHARD_BYTES,
) -> tuple[Plan, str]:
    """Choose the codec, measure it on a sample of outputs, and write the plan, unless it is there.

    ``collect`` does this itself. Where several processes share a collection, one does it first, so that the others know
    ``plan.num_shards``; whoever comes first decides.

    Args:
        teacher: as ``collect`` takes it, like all that follow.
        samples: the transfer set.
        views: what the teacher sees.
        path: the store's folder.
        num_views: augmented views to keep; None for the clean view alone.
        codec: by name, or "auto".
        max_kl: for "auto".
        batch_size: of the teacher's forward passes.
        precision: of the teacher's forward passes.
        shard_bytes: size of a file, about.
    Returns:
        The plan in force, and its SHA-256.
    Raises:
        StoreError: the plan in the folder is of something else; both values are shown.
    """
    settings = CollectionSettings(num_views, codec, max_kl, batch_size, precision, shard_bytes)
    return _prepare(teacher, samples, views, Path(path), settings)


def _prepare(
    teacher: Teacher, samples: Samples, views: Views, folder: Path, settings: CollectionSettings
) -> tuple[Plan, str]:
    members = members_of(teacher)
    settings.check(samples, views)
    class_names = classes_of_members(teacher, samples.class_names)
    if class_names is None:
        raise StoreError(
            "Teachers of different classes cannot be stored together.",
            received=teacher.name,
            expected="teachers whose logits are over the same classes",
            remedy="collect a store for each",
        )
    shown = views if settings.num_views is not None else views.clean
    teacher.check_fits(samples, shown)
    if not (folder / PLAN).exists():
        with waiting_lock(folder):  # who comes second finds the plan of the first
            if not (folder / PLAN).exists():
                _write_plan(members, samples, shown, folder, settings, class_names=class_names)
    plan, digest = read_plan(folder)
    check_plan(folder, plan, members, samples, shown, settings, class_names=class_names)
    check_probe(folder, members, samples, shown)
    return plan, digest


def _write_plan(
    members: Sequence[Teacher],
    samples: Samples,
    shown: Views,
    folder: Path,
    settings: CollectionSettings,
    *,
    class_names: Sequence[str],
) -> None:
    if (folder / MANIFEST).exists():
        raise StoreError(f"The store {folder} has lost its {PLAN}.", remedy="collect into another folder")
    make_plan(folder, Forward(members, precision=settings.precision), samples, shown, settings, class_names=class_names)


def members_of(teacher: Teacher) -> tuple[Teacher, ...]:
    """Return the teachers whose logits a store keeps: an ensemble's members, or the teacher alone.

    Raises:
        TeacherError: an ensemble of ensembles: a pooled output holds at one temperature only.
    """
    if is_nested(teacher):
        raise TeacherError(
            "An ensemble of ensembles cannot be stored.",
            expected="teachers whose logits hold at every temperature",
            remedy="make one ensemble of all networks, with weights",
        )
    return teacher.members


def is_nested(teacher: Teacher) -> bool:
    """Return whether it pools what is pooled already, which a store, a flat list of members, does not tell."""
    return len(teacher.members) > 1 and any(len(part.members) > 1 for part in teacher.parts)


def verify_store(
    store: TargetStore, teacher: Teacher, samples: Samples, views: Views, *, count: int = 256, batch_size: int = 64
) -> float:
    """Run the teacher again on some records, and see that it still says what is stored.

    Args:
        store: open.
        teacher: the one that the store was made of.
        samples: the store's samples.
        views: the store's views.
        count: records to compare, spread over samples and views.
        batch_size: of the forward passes; need not be that of the collection.
    Returns:
        The largest divergence in nats between stored and new outputs, each as its codec keeps it, at T = 1.
    Raises:
        StoreError: the store is of other teachers, samples or views, or a record differs by more than rounding.
    """
    from limbeck.teachers.comparing import compare_outputs

    return compare_outputs(store, members_of(teacher), samples, views, count=count, batch_size=batch_size)


@dataclass(frozen=True, eq=False)
class _Collection:
    """Everything that the writing of one shard needs."""

    forward: Forward
    codecs: list[Codec]
    samples: Samples
    views: Views
    plan: Plan
    batch_size: int
    report: Reporter

    def write(self, shard: int, writer: ShardWriter) -> None:
        """Run the teachers over a shard's records, in order, and write them."""
        block = RecordBuffer(self.codecs, batch_size=self.batch_size)
        with torch.no_grad():
            for batch in self._batches(self.plan.shard_range(shard)):
                if not block.has_room(len(batch)):
                    writer.append(block.take_records())
                block.add([padded_positions(logits, self.samples, batch.labels) for logits in self.forward(batch)])
                self.report(len(batch))
            writer.append(block.take_records())
        writer.finish()

    def _batches(self, records: range) -> Iterator[Batch]:
        """Yield the batches of consecutive records; none crosses from one view to the next."""
        start = records.start
        while start < records.stop:
            view, rank = divmod(start, self.plan.num_samples)
            count = min(records.stop - start, self.plan.num_samples - rank)
            yield from iterate_batches(
                self.samples,
                self.views,
                self.samples.positions_by_id[rank : rank + count],
                batch_size=self.batch_size,
                view=None if self.plan.num_views is None else view,
            )
            start += count


def _wanted_shards(plan: Plan, shards: Iterable[int] | None) -> list[int]:
    if shards is None:
        return list(range(plan.num_shards))
    wanted = list(shards)
    if any(not 0 <= shard < plan.num_shards for shard in wanted):
        raise InvalidValue("There is no such shard.", received=wanted, expected=f"shards of 0 .. {plan.num_shards - 1}")
    return wanted
