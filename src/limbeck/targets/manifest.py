"""What a store says of itself: plan and manifest, sealed JSON with a SHA-256 over their own text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from limbeck.errors import RecordError, StoreError
from limbeck.records import decode_plain, write_text
from limbeck.targets.fidelity import Fidelity

VERSION = 1  # of the format; docs/store-format.md describes it
PLAN_FORMAT = "limbeck-soft-targets-plan"
MANIFEST_FORMAT = "limbeck-soft-targets"
SHARD_FORMAT = "limbeck-soft-targets-shard"

T = TypeVar("T")


@dataclass(frozen=True)
class FileRecord:
    """A file of the store: its path from the store's folder, size and SHA-256."""

    file: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard: which records, in which file."""

    file: str
    first_record: int
    num_records: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class MemberRecord:
    """One teacher, and how its outputs are kept."""

    name: str
    fingerprint: str  # of weights and architecture
    codec: str
    parameters: dict[str, Any]
    arrays: FileRecord | None  # what the codec's records share, safetensors
    record_bytes: int
    fidelity: Fidelity
    note: str = ""  # why this codec


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a record is and where it stands; written before the first record."""

    data_name: str
    inputs_fingerprint: str  # of the sample ids and raw inputs
    num_samples: int
    ids: FileRecord  # int64, ascending
    views: dict[str, Any]  # augmentations and their parameters, normalisation, seed
    views_fingerprint: str
    num_views: int | None  # stored views 0 .. n-1; None: the clean view alone
    class_names: list[str]
    num_classes: int
    precision: str  # of the teachers' forward passes
    members: list[MemberRecord]
    records_per_shard: int

    @property
    def num_records(self) -> int:
        """Records of one member: record ``view x num_samples + rank``."""
        return self.num_samples * (self.num_views or 1)

    @property
    def num_shards(self) -> int:
        """Shards of one member."""
        return -(-self.num_records // self.records_per_shard)

    def shard_range(self, shard: int) -> range:
        """Return the records of a shard."""
        first = shard * self.records_per_shard
        return range(first, min(first + self.records_per_shard, self.num_records))


@dataclass(frozen=True)
class Manifest:
    """A whole store; written last."""

    plan: Plan
    plan_sha256: str
    shards: list[list[ShardRecord]]  # for each member, in order
    created: str  # ISO 8601, UTC
    written_by: dict[str, str] = field(default_factory=dict)  # versions and machine


@dataclass(frozen=True)
class ShardSidecar:
    """Says that a shard is whole, and to which plan it belongs."""

    plan_sha256: str
    shard: ShardRecord


def seal(content: Any, *, format_name: str) -> tuple[str, str]:
    r"""Return a dataclass as sealed JSON text, and the SHA-256 in its seal.

    The text is an object on several lines whose last line but one is ``"sha256": "..."``: of all bytes before that
    line. So any program can check it without parsing.
    """
    body = {"format": format_name, "version": VERSION, **dataclasses.asdict(content)}
    head = json.dumps(body, indent=1, allow_nan=False).removesuffix("\n}") + ",\n"
    digest = hashlib.sha256(head.encode("utf-8")).hexdigest()
    return f'{head} "sha256": "{digest}"\n}}\n', digest


def unseal(kind: type[T], text: str, *, format_name: str, source: str) -> tuple[T, str]:
    """Return the dataclass that :func:`seal` wrote, and its SHA-256.

    Raises:
        StoreError: a byte changed, another format or version, or content that is not what the version says.
    """
    head, mark, tail = text.rpartition(' "sha256": "')
    digest = hashlib.sha256(head.encode("utf-8")).hexdigest()
    if not mark or tail != f'{digest}"\n}}\n':
        raise StoreError(
            f"{source} is damaged: it is not what was written.",
            received=f"content with SHA-256 {digest}",
            expected=f"SHA-256 {tail[:64]}" if mark else "a sealed manifest",
            remedy="collect the targets again, or take the store from a backup",
        )
    content = json.loads(text)
    found = (content.pop("format", None), content.pop("version", None))
    if found != (format_name, VERSION):
        raise StoreError(
            f"{source} has another format or version.",
            received=f"{found[0]} version {found[1]}",
            expected=f"{format_name} version {VERSION}",
            remedy="read it with the release of limbeck that wrote it",
        )
    del content["sha256"]
    try:
        return decode_plain(kind, content, source), digest
    except RecordError as error:
        raise StoreError(error.fact, received=error.received, expected=error.expected) from error


def read_sealed(kind: type[T], path: Path, *, format_name: str) -> tuple[T, str]:
    """Read a sealed file.

    Raises:
        StoreError: it cannot be read, or as :func:`unseal`.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read.", received=str(error)) from error
    return unseal(kind, text, format_name=format_name, source=str(path))


def write_sealed(content: Any, path: Path, *, format_name: str) -> str:
    """Write a sealed file, whole or not at all; return its SHA-256."""
    text, digest = seal(content, format_name=format_name)
    write_text(path, text)
    return digest
