"""Reading a store: checked against what is about to be trained, memory-mapped, by sample id and view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.errors import StoreError, unknown_name
from limbeck.targets.choosing import codec_from
from limbeck.targets.codec import Codec
from limbeck.targets.layout import MANIFEST, PLAN, check_hash, check_size, small_files
from limbeck.targets.manifest import MANIFEST_FORMAT, Manifest, MemberRecord, Plan, read_sealed
from limbeck.targets.matching import check_class_names, check_labels, check_samples, check_teachers, check_views
from limbeck.targets.records import MemberRecords
from limbeck.targets.sample_ids import RankOfId
from limbeck.targets.soft_targets import SoftTargets
from limbeck.targets.writer import read_plan, shard_is_complete

Verify = Literal["sizes", "hashes"]
VERIFY = ("sizes", "hashes")
CACHE_BYTES = 1 << 30  # decoded logits of a dense codec are kept in memory up to this size, all members together


class TargetStore:
    """A whole store of soft targets, open for reading.

    ``open`` is how to get one. Shards are memory-mapped: what is read stays in the system's page cache, and memory
    stays bounded. A store of a dense codec that is small when decoded is decoded once, at the first batch.

    Args:
        path: the store's folder.
        manifest: of the store.
        codecs: one for each member.
        ids: the sample ids, ascending.
        cache_bytes: largest size of decoded logits, float32, to keep in memory.
    """

    def __init__(
        self, path: Path, manifest: Manifest, codecs: Sequence[Codec], ids: Tensor, *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.codecs = tuple(codecs)
        self.ids = ids
        plan = manifest.plan
        self._num_views = plan.num_views
        rows = [codec.num_positions or 1 for codec in self.codecs if codec.is_dense]
        decoded_bytes = 4 * plan.num_records * plan.num_classes * sum(rows)
        self._rank_of_id = RankOfId(ids)
        self._members = [
            MemberRecords(
                [path / shard.file for shard in shards],
                codec=codec,
                num_samples=plan.num_samples,
                num_views=plan.num_views or 1,
                records_per_shard=plan.records_per_shard,
                decode_once=codec.is_dense and decoded_bytes <= cache_bytes,
            )
            for codec, shards in zip(self.codecs, manifest.shards, strict=True)
        ]

    @staticmethod
    def open(
        path: Path | str,
        *,
        samples: Samples | None = None,
        views: Views | None = None,
        teacher_fingerprints: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        verify: Verify = "hashes",
        cache_bytes: int = CACHE_BYTES,
    ) -> TargetStore:
        """Open a store, and refuse one that is not what is about to be trained.

        Args:
            path: the store's folder.
            samples: the transfer set; ids and raw inputs must be those of the store, in any order.
            views: what the student will see.
            teacher_fingerprints: of the teachers, in order.
            class_names: in order.
            verify: "hashes" reads every byte and compares its SHA-256; "sizes" trusts shards of the right size. The
                manifest, the ids and what codecs share are hashed either way.
            cache_bytes: of decoded logits to keep in memory at most; 0 for none.
        Raises:
            StoreError: no store, an unfinished or damaged one, another format version, or one of other samples, views,
                teachers or classes; the message shows both values.
            UnknownName: another word for ``verify``.
        """
        folder = Path(path)
        if verify not in VERIFY:
            raise unknown_name("way to verify", verify, VERIFY)
        manifest = read_manifest(folder)
        plan = manifest.plan
        if class_names is None and samples is not None and samples.class_names:
            class_names = samples.class_names
        check_teachers(plan, teacher_fingerprints)
        check_samples(plan, samples)
        check_labels(plan, samples)
        check_views(plan, views)
        check_class_names(plan, class_names)
        for shards, member in zip(manifest.shards, plan.members, strict=True):
            for shard in shards:
                check_size(folder, shard.file, shard.num_records * member.record_bytes)
        for file in small_files(plan):
            check_size(folder, file.file, file.num_bytes)
            check_hash(folder, file.file, file.sha256)
        ids = torch.from_file(str(folder / plan.ids.file), size=plan.num_samples, dtype=torch.int64)
        store = TargetStore(folder, manifest, open_codecs(folder, plan), ids, cache_bytes=cache_bytes)
        if verify == "hashes":
            store.verify()
        return store

    @property
    def num_members(self) -> int:
        """How many teachers' outputs are stored."""
        return len(self.codecs)

    @property
    def num_views(self) -> int | None:
        """How many augmented views are kept, 0 .. n - 1; None where it is the clean view alone."""
        return self._num_views

    @property
    def num_bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.num_bytes for shards in self.manifest.shards for shard in shards)

    def verify(self) -> None:
        """Read every byte again and compare its SHA-256.

        Raises:
            StoreError: a shard, the ids or what a codec shares are not what was written.
        """
        for file in small_files(self.manifest.plan):
            check_hash(self.path, file.file, file.sha256)
        for shards in self.manifest.shards:
            for shard in shards:
                check_size(self.path, shard.file, shard.num_bytes)
                check_hash(self.path, shard.file, shard.sha256)

    def targets(
        self, ids: Tensor, *, view: int | None = None, member: int = 0, device: torch.device | None = None
    ) -> SoftTargets:
        """Return one member's soft targets for a batch.

        Args:
            ids: sample ids, int64, shape (batch,), in any order, also repeated.
            view: which view, 0 .. num_views - 1. A store of the clean view gives that.
            member: which teacher.
            device: where the targets go; the host where not given.
        Raises:
            StoreError: an id or a view that is not in the store.
        """
        if self._num_views is None:
            view = 0
        elif view is None or not 0 <= view < self._num_views:
            raise StoreError(
                f"The store {self.path} does not hold this view.",
                received="the clean view" if view is None else f"view {view}",
                expected=f"0 .. {self._num_views - 1}",
                remedy="show view (pass mod num_views) to the student, or collect more views",
            )
        try:
            return self._members[member].targets(self._rank_of_id(ids), view, device)
        except IndexError as error:
            known = torch.isin(ids.cpu(), self.ids)
            if bool(known.all()):
                raise
            raise StoreError(
                f"The store {self.path} has no targets for some samples.",
                received=f"{int((~known).sum())} unknown ids, first {int(ids.cpu()[~known][0])}",
                expected=f"ids of {self.manifest.plan.data_name}",
                remedy="open the store with samples= to see what it was collected on",
            ) from error

    def records(self, ids: Tensor, *, view: int | None = None, member: int = 0) -> Tensor:
        """Return the records themselves, uint8 (batch, record_bytes), of ids and a view that are there."""
        return self._members[member].gather(self._rank_of_id(ids), view or 0)


def read_manifest(folder: Path) -> Manifest:
    """Return a store's manifest.

    Raises:
        StoreError: there is none, the store is unfinished, or the manifest is damaged.
    """
    if not (folder / MANIFEST).exists():
        if (folder / PLAN).exists():
            plan, digest = read_plan(folder)
            whole = sum(shard_is_complete(folder, plan, digest, shard) for shard in range(plan.num_shards))
            raise StoreError(
                f"The store {folder} is unfinished.",
                received=f"{whole} of {plan.num_shards} shards",
                expected="a manifest, which is written last",
                remedy="run the same collection again: it goes on where it stopped",
            )
        raise StoreError(f"There is no store in {folder}.", expected=MANIFEST, remedy="collect the targets first")
    manifest, _ = read_sealed(Manifest, folder / MANIFEST, format_name=MANIFEST_FORMAT)
    return manifest


def open_codecs(folder: Path, plan: Plan) -> list[Codec]:
    """Return the codec of each member, with the arrays that its records share."""
    return [_codec(folder, member, plan.num_classes) for member in plan.members]


def _codec(folder: Path, member: MemberRecord, num_classes: int) -> Codec:
    arrays: dict[str, Tensor] = {}
    if member.arrays is not None:
        from safetensors.torch import load_file

        arrays = load_file(folder / member.arrays.file)
    codec = codec_from(member.codec, member.parameters, arrays, num_classes=num_classes)
    if codec.record_bytes != member.record_bytes:
        raise StoreError(
            f"The records of the store {folder} have another size than their codec's.",
            received=f"{member.record_bytes} bytes",
            expected=f"{codec.record_bytes} bytes ({member.codec})",
        )
    return codec
