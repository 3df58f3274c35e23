"""Sets of clips by name, and folders of them: ``clips:FOLDER``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from limbeck.data.downloads import cache_folder
from limbeck.data.splits import Splits
from limbeck.data.video.clips import clip_splits, load_clip_folder
from limbeck.data.video.grid import list_grid_words
from limbeck.data.video.moving_digits import MovingDigits, write_moving_digits
from limbeck.data.video.segments import SegmentSettings
from limbeck.errors import DataError

PREFIX = "clips:"


@dataclass(frozen=True)
class ClipOptions:
    """How sets of clips are read.

    Args:
        segments: which frames of a clip.
        skip_broken: whether clips that cannot be read are left out, counted and listed.
        split_number: which of a set's published splits.
    """

    segments: SegmentSettings = dataclasses.field(default_factory=SegmentSettings)
    skip_broken: bool = False
    split_number: int = 1


def is_clips(name: str) -> bool:
    """Whether a data set's name stands for clips."""
    return name.startswith(PREFIX) or name in CLIP_SETS


def load_clips(name: str, options: ClipOptions | None = None, *, image_size: int | None = None) -> Splits:
    """Load ``clips:FOLDER`` or a named set of clips.

    Args:
        name: "clips:FOLDER", or one of ``CLIP_SETS``.
        options: how they are read.
        image_size: in place of that of the options.
    Raises:
        DataError: no folder, or clips that cannot be read.
        MissingPackage: PyAV is not installed.
    """
    options = options or ClipOptions()
    if image_size is not None:
        options = dataclasses.replace(options, segments=dataclasses.replace(options.segments, image_size=image_size))
    if name in CLIP_SETS:
        return CLIP_SETS[name][1](name, options)
    folder = name.removeprefix(PREFIX)
    if not folder:
        raise DataError("There is no folder after clips:", received=name, expected="clips:FOLDER")
    return load_clip_folder(
        Path(folder).expanduser(),
        settings=options.segments,
        skip_broken=options.skip_broken,
        split_number=options.split_number,
    )


def _moving_digits(settings: MovingDigits, name: str, options: ClipOptions) -> Splits:
    """Clips of 64 pixels, half as large where no size is given: blocks of motion are then four pixels wide."""
    segments = options.segments
    if segments.image_size is None:
        segments = dataclasses.replace(segments, image_size=32)
    root = write_moving_digits(cache_folder() / "clips" / settings.folder_name, settings)
    return load_clip_folder(root, settings=segments, name=name, skip_broken=options.skip_broken)


def _grid(word: str, name: str, options: ClipOptions) -> Splits:
    segments = options.segments
    if segments.b_frames == "skip":  # two of three frames of a word are B-frames
        segments = dataclasses.replace(segments, b_frames="use")
    if segments.image_size is None:
        segments = dataclasses.replace(segments, image_size=32)
    return clip_splits(list_grid_words(word), segments, name=name, skip_broken=options.skip_broken)


CLIP_SETS: dict[str, tuple[str, Callable[[str, ClipOptions], Splits]]] = {
    "moving-digits": (
        "2,500 clips of handwritten digits that slide, bounce, turn or grow, 20 classes; made here, needs PyAV",
        partial(_moving_digits, MovingDigits()),
    ),
    "moving-digits-small": (
        "80 clips to learn from, like moving-digits",
        partial(_moving_digits, MovingDigits(num_train=4, num_validation=2, num_test=2)),
    ),
    **{
        f"grid-{word}": (f"1,000 clips of the {word} on one talker's lips (GRID); no download", partial(_grid, word))
        for word in ("colour", "digit", "letter", "adverb")
    },
}
