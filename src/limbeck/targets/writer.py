"""Writing a store: the plan first, then shards in any order by any process, the manifest last."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from limbeck.errors import OutputError, StoreError
from limbeck.records import hash_file, partial_path, remove_stale, write_bytes
from limbeck.targets.codec import Codec
from limbeck.targets.layout import MANIFEST, PLAN, member_folder, shard_file, sidecar_file
from limbeck.targets.manifest import (
    MANIFEST_FORMAT,
    PLAN_FORMAT,
    SHARD_FORMAT,
    FileRecord,
    Manifest,
    Plan,
    ShardRecord,
    ShardSidecar,
    read_sealed,
    write_sealed,
)

SHARD_BYTES = 256 << 20


def write_ids(folder: Path, ids: Tensor) -> FileRecord:
    """Write the sample ids, ascending, as little-endian int64; return where they are."""
    content = ids.cpu().sort().values.numpy().astype("<i8").tobytes()
    return _write_content(folder, "ids", ".bin", content)


def write_arrays(folder: Path, member: int, codec: Codec) -> FileRecord | None:
    """Write what a codec's records share, as safetensors; None where that is nothing."""
    if not (arrays := codec.arrays()):
        return None
    content = tensors_to_bytes({name: array.detach().cpu().contiguous() for name, array in arrays.items()})
    return _write_content(folder, f"{member_folder(member)}/arrays", ".safetensors", content)


def _write_content(folder: Path, stem: str, suffix: str, content: bytes) -> FileRecord:
    """Write a file that is named after its content, so that processes that race write the same or different files."""
    digest = hashlib.sha256(content).hexdigest()
    file = f"{stem}-{digest[:12]}{suffix}"
    path = folder / file
    with _output_errors(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_there = path.exists() and hash_file(path) == digest
    if not is_there:
        write_bytes(path, content)
    return FileRecord(file, len(content), digest)


def write_plan(folder: Path, plan: Plan) -> tuple[Plan, str]:
    """Write the plan; return it as it was written, and its SHA-256."""
    write_sealed(plan, folder / PLAN, format_name=PLAN_FORMAT)
    return read_plan(folder)


def read_plan(folder: Path) -> tuple[Plan, str]:
    """Return the plan of a folder, and its SHA-256.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    return read_sealed(Plan, folder / PLAN, format_name=PLAN_FORMAT)


def shard_is_complete(folder: Path, plan: Plan, plan_sha256: str, shard: int) -> bool:
    """Return whether every member's file of a shard is written, for this plan; their bytes are not looked at."""
    return all(_sidecar(folder, plan, plan_sha256, member, shard) for member in range(len(plan.members)))


def damaged_files(folder: Path, plan: Plan, plan_sha256: str, shard: int) -> list[str]:
    """Return the files of a shard that says it is whole, whose bytes are not those that were written."""
    records = [_sidecar(folder, plan, plan_sha256, member, shard) for member in range(len(plan.members))]
    return [record.file for record in records if record and hash_file(folder / record.file) != record.sha256]


def mend_ids(folder: Path, plan: Plan, ids: Tensor) -> str | None:
    """Write the ids again where their file is missing or damaged; return its name then.

    Args:
        folder: the store's.
        plan: of the store.
        ids: of the samples that the plan is of, in any order.
    """
    path = folder / plan.ids.file
    if path.is_file() and hash_file(path) == plan.ids.sha256:
        return None
    write_ids(folder, ids)
    return plan.ids.file


def _sidecar(folder: Path, plan: Plan, plan_sha256: str, member: int, shard: int) -> ShardRecord | None:
    path = folder / sidecar_file(member, shard)
    try:
        sidecar, _ = read_sealed(ShardSidecar, path, format_name=SHARD_FORMAT)
        size = (folder / shard_file(member, shard)).stat().st_size
    except (StoreError, OSError):
        return None
    records = plan.shard_range(shard)
    file, num_bytes = shard_file(member, shard), len(records) * plan.members[member].record_bytes
    expected = (plan_sha256, file, records.start, len(records), num_bytes)
    one = sidecar.shard
    found = (sidecar.plan_sha256, one.file, one.first_record, one.num_records, size)
    return one if found == expected else None


class ShardWriter:
    """Writes one shard of every member, in one pass; whole, or nothing that counts.

    Args:
        folder: the store's.
        plan: of the store.
        plan_sha256: of the plan.
        shard: which.
    """

    def __init__(self, folder: Path, plan: Plan, plan_sha256: str, shard: int) -> None:
        self._folder, self._plan, self._plan_sha256, self._shard = folder, plan, plan_sha256, shard
        self._finals = [folder / shard_file(member, shard) for member in range(len(plan.members))]
        self._partials = [partial_path(final) for final in self._finals]
        self._digests = [hashlib.sha256() for _ in plan.members]
        self._files: list[BinaryIO] = []
        self.num_written = 0  # records of each member

    def __enter__(self) -> ShardWriter:
        with _output_errors(self._folder):
            for partial in self._partials:
                partial.parent.mkdir(parents=True, exist_ok=True)
                self._files.append(open(partial, "wb"))
        return self

    def __exit__(self, *exception: Any) -> None:
        with contextlib.suppress(OSError):
            for file in self._files:
                file.close()
        with contextlib.suppress(OSError):
            for partial in self._partials:
                partial.unlink(missing_ok=True)

    def append(self, records: Sequence[Tensor]) -> None:
        """Append the next records, uint8 (n, record_bytes), one tensor for each member.

        Raises:
            OutputError: the disk is full or gone.
        """
        for member, (file, block) in enumerate(zip(self._files, records, strict=True)):
            assert block.dtype == torch.uint8, "records are bytes"
            assert block.shape[1] == self._plan.members[member].record_bytes, "records have their codec's size"
            content = block.contiguous().numpy().data
            self._digests[member].update(content)
            with _output_errors(self._folder):
                file.write(content)
        self.num_written += len(records[0])

    def finish(self) -> None:
        """Bring the shard to the disk and say so: every member's file first, then what says that it is whole."""
        records = self._plan.shard_range(self._shard)
        assert self.num_written == len(records), "every record of the shard is appended"
        for member, file in enumerate(self._files):
            with _output_errors(self._folder):
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
                file.close()
                os.replace(self._partials[member], self._finals[member])
            record = ShardRecord(
                file=shard_file(member, self._shard),
                first_record=records.start,
                num_records=len(records),
                num_bytes=size,
                sha256=self._digests[member].hexdigest(),
            )
            sidecar = ShardSidecar(self._plan_sha256, record)
            write_sealed(sidecar, self._folder / sidecar_file(member, self._shard), format_name=SHARD_FORMAT)


def write_manifest(folder: Path, plan: Plan, plan_sha256: str) -> bool:
    """Write the manifest if every shard is whole; return whether it is. One that is of other files is written anew."""
    shards: list[list[ShardRecord]] = []
    for member in range(len(plan.members)):
        found = [_sidecar(folder, plan, plan_sha256, member, shard) for shard in range(plan.num_shards)]
        whole = [record for record in found if record is not None]
        if len(whole) < plan.num_shards:
            return False
        shards.append(whole)
    if _listed_shards(folder) != shards:
        from limbeck.version import __version__

        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        by = {
            "limbeck": __version__,
            "torch": torch.__version__,
            "machine": f"{platform.system()} {platform.machine()}",
        }
        write_sealed(Manifest(plan, plan_sha256, shards, created, by), folder / MANIFEST, format_name=MANIFEST_FORMAT)
    remove_stale(folder)
    return True


def _listed_shards(folder: Path) -> list[list[ShardRecord]] | None:
    """Return the shards of the manifest; None without a sound one."""
    try:
        manifest, _ = read_sealed(Manifest, folder / MANIFEST, format_name=MANIFEST_FORMAT)
    except StoreError:
        return None
    return manifest.shards


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write the store {path}.",
            received=error.strerror or str(error),
            expected="a writable folder with free space",
            remedy="make room or choose another folder; what is finished is kept, and the collection goes on from it",
        ) from error
