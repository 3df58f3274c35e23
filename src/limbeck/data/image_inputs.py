"""From image files, wherever they lie, to inputs: decoded into memory, or read on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from limbeck.bounds import memory_limit_bytes, require_image_memory
from limbeck.data.grey_files import is_grey_file
from limbeck.data.image_decoding import ImageHeader, ImageSource, decode_all, read_headers, sizes_differ
from limbeck.data.sources import InputSource, RawInputs, position_chunks

DECODED_LIMIT_BYTES = 2 << 30  # up to here images are decoded once, into memory
_WITH_EXIF = (".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".png")


@dataclass(frozen=True)
class ImageSettings:
    """How images are read; see ``load_image_folder``."""

    image_size: int | None = None
    memory_limit_bytes: int = DECODED_LIMIT_BYTES
    exif_orientation: bool = False


class ImageSet(Protocol):
    """The image files of one split, by position."""

    num_probed: int
    """How many are looked at, evenly spread, before training."""
    can_look_at_all: bool
    """Whether to read the headers of all images, where all that were looked at are grey, is no great work."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def sources(self, positions: list[int]) -> Sequence[ImageSource]:
        """Return paths or contents of the files at ``positions``."""
        ...

    def on_demand(self, shape: tuple[int, int, int], settings: ImageSettings) -> InputSource:
        """Return the source that reads them on demand as images of ``shape`` (channels, height, width)."""
        ...


def load_images(sets: dict[str, ImageSet], settings: ImageSettings) -> tuple[dict[str, RawInputs], tuple[str, ...]]:
    """Decode every split, or prepare to read it on demand; grey only where every image of every split is.

    Args:
        sets: by split, the training split first.
        settings: how they are read.
    Returns:
        The inputs by split, and notes on EXIF orientations.
    Raises:
        DataError: images of different sizes, or one that cannot be read.
    """
    probes = {split: _Probe.of(images, settings) for split, images in sets.items()}
    first = next(iter(probes.values()))
    reference, size = first.sources[0], settings.image_size
    height, width = (size, size) if size is not None else (first.headers[0].height, first.headers[0].width)
    require_image_memory(height, width, f"images of {width} x {height}")
    notes = _exif_notes(list(probes.values()), settings)
    if sum(map(len, sets.values())) * 3 * height * width <= min(settings.memory_limit_bytes, memory_limit_bytes()):
        decoded = {split: _decoded(images, (3, height, width), settings, reference) for split, images in sets.items()}
        all_grey = all(is_grey for _, is_grey in decoded.values())
        kept = {split: images[:, :1].contiguous() if all_grey else images for split, (images, _) in decoded.items()}
        return dict(kept), notes
    for probe in probes.values():
        for source, header in zip(probe.sources, probe.headers, strict=True):
            if size is None and (header.height, header.width) != (height, width):
                raise sizes_differ(reference, (height, width), source, (header.height, header.width))
    all_grey = all(_is_grey(sets[split], probe) for split, probe in probes.items())
    shape = (1 if all_grey else 3, height, width)
    return {split: images.on_demand(shape, settings) for split, images in sets.items()}, notes


@dataclass(frozen=True)
class _Probe:
    """Some of a split's images, evenly spread, and what their headers say."""

    sources: Sequence[ImageSource]
    headers: list[ImageHeader]

    @classmethod
    def of(cls, images: ImageSet, settings: ImageSettings) -> _Probe:
        sources = images.sources(list(range(0, len(images), max(1, -(-len(images) // images.num_probed)))))
        return cls(sources, read_headers(sources, exif_orientation=settings.exif_orientation))


def _decoded(
    images: ImageSet, shape: tuple[int, int, int], settings: ImageSettings, reference: ImageSource
) -> tuple[Tensor, bool]:
    """Decode a whole split; contents that lie in other files are held for a thousand images at a time."""
    whole, all_grey = torch.empty((len(images), *shape), dtype=torch.uint8), True
    for chunk in position_chunks(torch.arange(len(images))):
        part, is_grey = decode_all(
            images.sources(chunk.tolist()),
            shape,
            settings.image_size,
            reference=reference,
            exif_orientation=settings.exif_orientation,
        )
        whole[chunk[0] : chunk[-1] + 1] = part
        all_grey = all_grey and is_grey
    return whole, all_grey


def _is_grey(images: ImageSet, probe: _Probe) -> bool:
    """Whether every image is grey: a coloured one is usually among the first that are looked at."""
    if not all(header.is_grey for header in probe.headers):
        return False
    if not images.can_look_at_all:
        return True
    return all(is_grey_file(images.sources([place])[0]) for place in range(len(images)))


def _exif_notes(probes: list[_Probe], settings: ImageSettings) -> tuple[str, ...]:
    """What the record says of EXIF orientations: whether they were applied, and how many there are."""
    if settings.exif_orientation:
        return ("Images were turned as their EXIF orientation says.",)
    may_turn: Callable[[ImageSource], bool] = lambda source: str(source).lower().endswith(_WITH_EXIF)  # noqa: E731
    looked_at = [
        header
        for probe in probes
        for source, header in zip(probe.sources, probe.headers, strict=True)
        if may_turn(source)
    ]
    turned = sum(header.is_turned for header in looked_at)
    if not turned:
        return ()
    return (
        f"{turned} of {len(looked_at)} images looked at have an EXIF orientation that was not applied "
        "(exif_orientation=True applies it).",
    )
