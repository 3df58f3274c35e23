"""Checkpoints: all that a resume to the bit needs, in one file that is never half-written and never runs code."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import CheckpointError
from limbeck.records import make_folder, write_bytes

FORMAT = "limbeck-checkpoint"
VERSION = 3
DIGEST_BYTES = 32


def save_checkpoint(path: Path, state: dict[str, Any], *, identity: dict[str, str]) -> None:
    """Write a checkpoint whole or not at all: SHA-256 of the rest, then a torch archive.

    Args:
        path: the file; its folder is made where it is missing.
        state: tensors, numbers, strings, and dicts and lists of them.
        identity: what tells this run from others, name by name; compared when the checkpoint is read.
    Raises:
        OutputError: the folder cannot be written.
    """
    make_folder(path.parent)
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION, "identity": json.dumps(identity), "state": state}, buffer)
    content = buffer.getvalue()
    write_bytes(path, hashlib.sha256(content).digest() + content)


def load_checkpoint(path: Path, *, identity: dict[str, str]) -> dict[str, Any]:
    """Read a checkpoint of the same run.

    Raises:
        CheckpointError: damaged, of another format, or of another run (which settings differ is said).
    """
    archive = checked_archive(path)
    try:
        loaded = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is no checkpoint.", received=f"{error}".partition("\n")[0]) from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} is no checkpoint.", received=type(loaded).__name__, expected="a dictionary")
    if loaded.get("format") != FORMAT or loaded.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has another format.",
            received=f"{loaded.get('format')} {loaded.get('version')}",
            expected=f"{FORMAT} {VERSION}",
        )
    with restoring(path):
        check_identity(path, dict(json.loads(loaded["identity"])), identity)
        state: dict[str, Any] = loaded["state"]
        state.keys()
    return state


@contextlib.contextmanager
def restoring(path: Path | None) -> Iterator[None]:
    """Tell of a checkpoint, sealed or not, whose content is not what a training of this kind writes.

    Args:
        path: of the checkpoint; None on the ranks that got its content from rank 0.
    Raises:
        CheckpointError: a part is missing, or of another type or shape.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"{path or 'What rank 0 read'} is no checkpoint of such a training.",
            received=f"{type(error).__name__}: {error}".partition("\n")[0][:200],
            expected="the state that this release writes",
            remedy="delete it to start this network again",
        ) from error


def checked_archive(path: Path) -> bytes:
    """Return the torch archive of a checkpoint, its checksum checked; nothing of it is loaded.

    Raises:
        CheckpointError: a file that cannot be read, or is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path}.", received=error.strerror) from error
    digest, archive = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(archive).digest() != digest:
        raise CheckpointError(
            f"The checkpoint {path} is damaged.",
            received="bytes whose SHA-256 differs from the one they were written with",
            remedy="delete it to start this network again",
        )
    return archive


def check_identity(path: Path, found: dict[str, str], expected: dict[str, str]) -> None:
    different = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if different:
        raise CheckpointError(
            f"The checkpoint {path} belongs to another run: {', '.join(different)} differ.",
            received="; ".join(f"{name} = {found.get(name)}" for name in different),
            expected="; ".join(f"{name} = {expected.get(name)}" for name in different),
            remedy="choose another output folder, or delete this checkpoint",
        )
