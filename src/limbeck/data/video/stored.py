"""Decoded streams kept in the cache by (clip, segment), memory-mapped, so that every clip is decoded once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.bounds import require_memory
from limbeck.data.video.segments import STREAMS, SegmentSettings, read_segments
from limbeck.data.video.vectors import Array
from limbeck.errors import DataError, RecordError
from limbeck.records import (
    hash_file,
    partial_path,
    read_sealed_json,
    remove_stale,
    sealed_text,
    tell_remade,
    write_text,
)
from limbeck.records.listing import discard

_FORMAT, _VERSION = "limbeck-clips", 2
_KEYS = "limbeck-clips 2"  # of folders' names; raised when the same file comes to give other streams
_MANIFEST = "manifest.json"
_CHUNK = 64  # clips that threads decode at once


@dataclass(frozen=True)
class ClipFile:
    """A clip, or part of one.

    Args:
        path: the file.
        relative: from the data set's folder; what identifies the clip, its span included.
        num_bytes: of the file.
        start_seconds: where it begins; None for the file's beginning.
        end_seconds: where it ends.
    """

    path: str
    relative: str
    num_bytes: int
    start_seconds: float | None = None
    end_seconds: float | None = None

    @property
    def identity(self) -> str:
        """What decides the content, as text: place, size and span."""
        return f"{self.relative}\0{self.num_bytes}\0{self.start_seconds}\0{self.end_seconds}"


@dataclass(frozen=True, eq=False)
class DecodedClips:
    """The streams of several clips.

    Args:
        streams: by name, shape (clips, segments, choices, channels, height, width); rows of broken clips are 0.
        broken: why a clip could not be read, by its place.
    """

    streams: dict[str, Tensor]
    broken: dict[int, str]


def decode_clips(
    clips: Sequence[ClipFile], settings: SegmentSettings, *, cache: Path | None, skip_broken: bool = False
) -> DecodedClips:
    """Return the streams of clips: from the cache, otherwise decoded now, in a few threads, and kept there.

    Args:
        clips: at least one.
        settings: which frames.
        cache: folder of all that is kept; None keeps the streams in memory alone.
        skip_broken: whether clips that cannot be read are left out rather than raised.
    Raises:
        DataError: clips that cannot be read, or of different sizes; or all of them broken.
    """
    folder = None if cache is None else cache / _key(clips, settings)
    if folder is not None and (kept := _read_or_discard(folder)) is not None:
        if kept.broken and not skip_broken:
            read_segments_of(clips[min(kept.broken)], settings)  # raises what it raised before
        return kept
    with _partial(folder) as place:
        streams, broken = _decode(clips, settings, place, skip_broken=skip_broken)
        if place is not None:
            for part in streams.values():
                part.flush()  # type: ignore[attr-defined]
            _write_manifest(place, broken)
    if folder is not None and (kept := _read(folder)) is not None:
        return kept
    return DecodedClips({name: torch.from_numpy(part) for name, part in streams.items()}, broken)


def read_segments_of(clip: ClipFile, settings: SegmentSettings) -> dict[str, Array]:
    """Return ``read_segments`` of a clip's span."""
    return read_segments(clip.path, settings, start_seconds=clip.start_seconds, end_seconds=clip.end_seconds)


def _decode(
    clips: Sequence[ClipFile], settings: SegmentSettings, place: Path | None, *, skip_broken: bool
) -> tuple[dict[str, Array], dict[int, str]]:
    streams: dict[str, Array] = {}
    broken: dict[int, str] = {}
    size: tuple[tuple[int, ...], str] | None = None

    def read(clip: ClipFile) -> dict[str, Array] | DataError:
        try:
            return read_segments_of(clip, settings)
        except DataError as error:
            return error

    for number, found in enumerate(_in_threads(read, clips)):
        clip = clips[number]
        if isinstance(found, dict):
            own = found["iframe"].shape[-2:]
            if size is None:
                size = own, clip.path
                streams = _allocate(place, len(clips), {name: part.shape for name, part in found.items()})
            elif own != size[0]:
                found = _sizes_differ(size, clip.path, own)
        if isinstance(found, DataError):
            if not skip_broken:
                raise found
            broken[number] = str(found).splitlines()[0]
            continue
        for name, part in found.items():
            streams[name][number] = part
    if not streams:
        raise DataError(
            "No clip could be read.",
            received=f"{len(broken)} broken clips, the first: {broken[0]}",
            expected="at least one whole clip",
        )
    return streams, broken


def _in_threads(read: Callable[[ClipFile], Any], clips: Sequence[ClipFile]) -> Iterator[Any]:
    """Yield ``read(clip)`` in order; FFmpeg decodes without Python's lock."""
    workers = min(8, os.cpu_count() or 1)
    if workers == 1:
        yield from map(read, clips)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="limbeck-clips") as pool:
        for start in range(0, len(clips), _CHUNK):
            yield from pool.map(read, clips[start : start + _CHUNK])


def _allocate(place: Path | None, count: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    num_bytes = count * sum(math.prod(shape) * np.dtype(STREAMS[name][1]).itemsize for name, shape in shapes.items())
    if place is None:
        require_memory(num_bytes, f"The streams of {count:,} clips")
    allocated: dict[str, Array] = {}
    for name, shape in shapes.items():
        dtype = STREAMS[name][1]
        if place is None:
            allocated[name] = np.zeros((count, *shape), dtype=dtype)
        else:
            allocated[name] = np.lib.format.open_memmap(
                place / f"{name}.npy", mode="w+", dtype=dtype, shape=(count, *shape)
            )
    return allocated


@contextlib.contextmanager
def _partial(folder: Path | None) -> Iterator[Path | None]:
    """Give a neighbour to write into, renamed to ``folder`` when the block ends well; None where none can be made."""
    place = None
    if folder is not None:
        place = partial_path(folder)
        try:
            place.mkdir(parents=True)
            remove_stale(folder.parent, folder.name)
        except OSError:
            place = None
    try:
        yield place
        if place is not None and folder is not None:
            with contextlib.suppress(OSError):  # another process was first
                os.rename(place, folder)
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


def _write_manifest(folder: Path, broken: dict[int, str]) -> None:
    """Write what could not be read, and the SHA-256 of every stream; it comes last."""
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "broken": {str(place): why for place, why in broken.items()},
        "streams": {name: hash_file(folder / f"{name}.npy") for name in STREAMS},
    }
    write_text(folder / _MANIFEST, sealed_text(content))


def _read_or_discard(folder: Path) -> DecodedClips | None:
    """Return what is kept; a folder that is not sound is removed, and one that is damaged is told."""
    if not folder.is_dir():
        return None
    if (kept := _read(folder)) is None:
        discard(folder)
    return kept


def _read(folder: Path) -> DecodedClips | None:
    """Return what is kept, memory-mapped; None without a sound folder."""
    try:
        broken = check_clips(folder)
        streams = {name: torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in STREAMS}
    except (RecordError, OSError, ValueError) as error:
        if not (isinstance(error, RecordError) and "no checksum" in error.fact):  # of an earlier release
            tell_remade(folder)
        return None
    return DecodedClips(streams, broken)


def check_clips(folder: Path) -> dict[int, str]:
    """Return why clips could not be read, by place, where everything that is kept is as it was written.

    Raises:
        RecordError: a manifest or a stream that was changed.
        OSError: a file that is missing.
    """
    manifest = read_sealed_json(folder / _MANIFEST, format_name=_FORMAT, version=_VERSION)
    for name, digest in manifest["streams"].items():
        if hash_file(folder / f"{name}.npy") != digest:
            raise RecordError(f"{folder / name}.npy was changed after it was written.")
    return {int(place): why for place, why in manifest["broken"].items()}


def _key(clips: Sequence[ClipFile], settings: SegmentSettings) -> str:
    digest = hashlib.sha256(f"{_KEYS} {json.dumps(asdict(settings), sort_keys=True)}\n".encode())
    for clip in clips:
        changed = os.stat(clip.path).st_mtime_ns if os.path.exists(clip.path) else 0
        digest.update(f"{clip.identity}\0{changed}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _sizes_differ(first: tuple[tuple[int, ...], str], path: str, own: tuple[int, ...]) -> DataError:
    (height, width), of = first
    return DataError(
        f"{path} has another size than the clips before it.",
        received=f"{own[1]}x{own[0]}, {of} is {width}x{height}",
        expected="one width and height",
        remedy="resize them while loading: --image-size N (image_size=N)",
    )
