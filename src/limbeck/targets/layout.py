"""Where everything is in a store's folder, and how files are hashed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from limbeck.errors import StoreError
from limbeck.records import hash_file
from limbeck.targets.manifest import FileRecord, Plan

MANIFEST = "manifest.json"
PLAN = "plan.json"


def member_folder(member: int) -> str:
    """Return the folder of a member's records."""
    return f"member-{member}"


def shard_file(member: int, shard: int) -> str:
    """Return a shard's path from the store's folder."""
    return f"{member_folder(member)}/shard-{shard:05d}.bin"


def sidecar_file(member: int, shard: int) -> str:
    """Return the path of what says that a shard is whole."""
    return f"{member_folder(member)}/shard-{shard:05d}.json"


def small_files(plan: Plan) -> Iterable[FileRecord]:
    """Return the files beside the shards: the ids, and what codecs share."""
    return [plan.ids, *(member.arrays for member in plan.members if member.arrays is not None)]


def check_size(folder: Path, file: str, num_bytes: int) -> None:
    """Raise StoreError unless a file is there with its size."""
    try:
        size = (folder / file).stat().st_size
    except OSError as error:
        raise StoreError(
            f"A file of the store {folder} is missing.",
            received=f"no {file}",
            expected=f"{num_bytes} bytes",
            remedy="run the collection again: it writes what is missing" if file.endswith(".bin") else None,
        ) from error
    if size != num_bytes:
        raise StoreError(
            f"A file of the store {folder} is truncated or too long.",
            received=f"{file} with {size} bytes",
            expected=f"{num_bytes} bytes",
            remedy="remove the store and collect again, or take it from a backup",
        )


def check_hash(folder: Path, file: str, sha256: str) -> None:
    """Raise StoreError unless a file's bytes are those that were written."""
    found = hash_file(folder / file)
    if found != sha256:
        raise StoreError(
            f"A file of the store {folder} is damaged: {file}.",
            received=f"SHA-256 {found}",
            expected=f"SHA-256 {sha256}",
            remedy="remove the store and collect again, or take it from a backup",
        )
