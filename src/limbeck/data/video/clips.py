"""Clips as samples: a mapping of three streams, whose segments a view draws by (seed, id, view)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from limbeck.data.counter import counter_uniform
from limbeck.data.downloads import cache_folder
from limbeck.data.samples import Samples
from limbeck.data.splits import Splits
from limbeck.data.video.listing import ListedClips, list_clips
from limbeck.data.video.segments import SegmentSettings
from limbeck.data.video.stored import ClipFile, decode_clips

_READING = "clips 2"  # raised when the same file comes to give other streams
MOST_LISTED = 20  # broken clips that a note names


class ClipInputs:
    """Decoded streams as a source of inputs: ``{"iframe", "motion", "residual"}``, each (n, segments, channels, H, W).

    A stored clip has several frames for each segment. The clean view shows the middle ones; a view that draws segments
    shows those that (seed, id, view) draws.

    Args:
        streams: by name, shape (clips, segments, choices, channels, height, width).
        identities: of the clips, as text.
        settings: as text, what else decides the content.
    Example:
        >>> stored = {"motion": torch.arange(6, dtype=torch.int8).view(1, 2, 3, 1, 1, 1)}
        >>> ClipInputs(stored, ["a"], settings="")[torch.tensor([0])]["motion"].flatten().tolist()
        [1, 4]
    """

    draws_segments = True
    is_replayable = True

    def __init__(self, streams: Mapping[str, Tensor], identities: Sequence[str], *, settings: str) -> None:
        self.streams = dict(streams)
        self.identities = list(identities)
        self.settings = settings

    def __len__(self) -> int:
        return len(self.identities)

    def __getitem__(self, positions: Tensor) -> dict[str, Tensor]:
        return self.read_view(positions, positions, seed=0, view=None)

    def read_view(self, positions: Tensor, ids: Tensor, *, seed: int, view: int | None) -> dict[str, Tensor]:
        """Return the clips at ``positions``, one frame a segment: the middle one where ``view`` is None, else drawn."""
        num_segments, num_choices = next(iter(self.streams.values())).shape[1:3]
        if view is None:
            choice = torch.full((len(positions), num_segments), num_choices // 2)
        else:
            drawn = counter_uniform(ids.cpu(), seed=seed, stream="segments", view=view, count=num_segments)
            choice = (drawn * num_choices).long().clamp_(max=num_choices - 1)
        segment = torch.arange(num_segments)
        return {name: stream[positions[:, None], segment, choice] for name, stream in self.streams.items()}

    def content_digest(self, positions: Tensor) -> str:
        """Return SHA-256 of place, size and span of the clips at ``positions``, and of how they were read."""
        digest = hashlib.sha256(f"{_READING} {self.settings}\n".encode())
        for position in positions.tolist():
            digest.update(f"{self.identities[position]}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def load_clip_folder(
    root: str | Path,
    *,
    settings: SegmentSettings | None = None,
    skip_broken: bool = False,
    split_number: int = 1,
    name: str | None = None,
    cache: Path | None = None,
) -> Splits:
    """Load a folder of clips: each is decoded once, its streams are kept in the cache.

    The folder holds one folder for each class, or ``train`` and perhaps ``val`` and ``test`` of them, as an image
    folder does; or UCF-101's or HMDB-51's clips with their split files, unchanged (see :func:`list_clips`).

    Args:
        root: the folder.
        settings: which frames of a clip are read.
        skip_broken: whether clips that cannot be read are left out; ``notes`` counts and lists them.
        split_number: which of the published splits, where there are several.
        name: of the data set; by default the folder's.
        cache: where streams are kept; by default ``clips`` in the cache folder.
    Raises:
        DataError: no clips, classes or splits that do not go together, clips that cannot be read.
        MissingPackage: PyAV is not installed.
    """
    root, settings = Path(root), settings or SegmentSettings()
    return clip_splits(
        list_clips(root, split_number=split_number),
        settings,
        name=root.resolve().name if name is None else name,
        skip_broken=skip_broken,
        cache=cache,
    )


def clip_splits(
    listed: ListedClips,
    settings: SegmentSettings,
    *,
    name: str,
    skip_broken: bool = False,
    cache: Path | None = None,
) -> Splits:
    """Return listed clips as samples, decoded or from the cache; the arguments are those of ``load_clip_folder``."""
    cache = cache_folder() / "clips" if cache is None else cache
    parts, notes = {}, list(listed.notes)
    for split, clips in listed.clips.items():
        samples, broken = _samples_of(
            f"{name}/{split}", clips, listed.labels[split], listed.class_names, settings, skip_broken, cache
        )
        parts[split] = samples
        if broken:
            shown = "; ".join(broken[:MOST_LISTED]) + ("; ..." if len(broken) > MOST_LISTED else "")
            notes.append(f"{len(broken)} of {len(clips)} clips of {split} were left out: {shown}")
    return Splits(parts["train"], parts.get("validation"), parts.get("test"), name=name, notes=tuple(notes))


def _samples_of(
    name: str,
    clips: Sequence[ClipFile],
    labels: Sequence[int],
    class_names: Sequence[str],
    settings: SegmentSettings,
    skip_broken: bool,
    cache: Path,
) -> tuple[Samples, list[str]]:
    decoded = decode_clips(clips, settings, cache=cache, skip_broken=skip_broken)
    source = ClipInputs(decoded.streams, [clip.identity for clip in clips], settings=repr(asdict(settings)))
    whole = Samples(name, clip_ids(clips), source, torch.tensor(list(labels)), tuple(class_names))
    if not decoded.broken:
        return whole, []
    kept = torch.tensor([place for place in range(len(clips)) if place not in decoded.broken])
    return whole.take(kept), [decoded.broken[place] for place in sorted(decoded.broken)]


def clip_ids(clips: Sequence[ClipFile]) -> Tensor:
    """Return 63 bits of the BLAKE2b hash of each clip's place and span, int64."""
    texts = [f"{clip.relative}\0{clip.start_seconds}\0{clip.end_seconds}" for clip in clips]
    hashed = [hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest() for text in texts]
    return torch.tensor([int.from_bytes(one, "big") >> 1 for one in hashed])
