"""The clips of a folder: by class folders and splits, or by the split files of UCF-101 and HMDB-51."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from limbeck.data.class_folders import check_classes, class_indices, class_words, split_folders
from limbeck.data.file_listing import Listing, list_files
from limbeck.data.video.stored import ClipFile
from limbeck.errors import DataError
from limbeck.speech.lexicon import read_lines

EXTENSIONS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg")
_HMDB_PARTS = {"1": "train", "2": "test"}  # 0: neither


@dataclass(frozen=True)
class ListedClips:
    """Clips and labels of each split, train first.

    Args:
        clips: by split.
        labels: class indices, as many.
        class_names: in the order of the indices.
        notes: plain sentences on what was found.
    """

    clips: dict[str, list[ClipFile]]
    labels: dict[str, list[int]]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def list_clips(root: Path, *, split_number: int = 1) -> ListedClips:
    """List a folder of clips.

    - ``root/<class>/*.mp4`` or ``root/{train,val,test}/<class>/*.mp4``, as image folders; also .avi, .mkv, .webm, ...
    - UCF-101: ``root/<class>/*.avi`` and ``trainlist01.txt``, ``testlist01.txt`` in the root, in ``ucfTrainTestlist``
      in it or beside it; lines ``Class/clip.avi 1``.
    - HMDB-51: ``root/<class>/*.avi`` and ``<class>_test_split1.txt`` in the root, in ``testTrainMulti_7030_splits`` in
      it or beside it; lines ``clip.avi 1``, where 1 is train, 2 test and 0 neither.

    Args:
        root: the folder.
        split_number: of UCF-101 and HMDB-51: 1, 2 or 3.
    Raises:
        DataError: no folder, no clips, a single class, or a clip of a split file that is not there.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder {root}.", expected="a folder with one folder of clips for each class")
    if (folder := _folder_with(root, "ucfTrainTestlist", f"trainlist{split_number:02d}.txt")) is not None:
        return _by_lines(root, _ucf_lines(folder, split_number), f"UCF-101, split {split_number}")
    if (folder := _folder_with(root, "testTrainMulti_7030_splits", f"*_test_split{split_number}.txt")) is not None:
        return _by_lines(root, _hmdb_lines(folder, split_number), f"HMDB-51, split {split_number}")
    if any(_folder_with(root, *place) for place in (("ucfTrainTestlist", "trainlist*.txt"),
                                                    ("testTrainMulti_7030_splits", "*_test_split*.txt"))):  # fmt: skip
        raise DataError(f"{root} has no split of that number.", received=split_number, expected="1, 2 or 3")
    listings = {
        split: list_files(folder, EXTENSIONS, what="clips") for split, folder in split_folders(root, "clips").items()
    }
    classes = check_classes(root, listings, "clips")
    return ListedClips(
        {split: _clips_of(listing) for split, listing in listings.items()},
        {split: class_indices(listing, classes).tolist() for split, listing in listings.items()},
        class_words(root, classes),
    )


def _clips_of(listing: Listing) -> list[ClipFile]:
    sizes = listing.num_bytes.tolist()
    return [
        ClipFile(path, listing.relative_paths.relative(place), sizes[place]) for place, path in enumerate(listing.paths)
    ]


def _folder_with(root: Path, name: str, pattern: str) -> Path | None:
    """Return the folder of split files: the root, one inside, or one beside it."""
    return next((place for place in (root, root / name, root.parent / name) if any(place.glob(pattern))), None)


def _ucf_lines(folder: Path, number: int) -> dict[str, list[str]]:
    """Relative path of each clip by split."""
    found = {}
    for split, stem in (("train", "trainlist"), ("test", "testlist")):
        path = folder / f"{stem}{number:02d}.txt"
        if path.is_file():
            found[split] = [line.split()[0] for line in read_lines(path)]
    return found


def _hmdb_lines(folder: Path, number: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"train": [], "test": []}
    suffix = f"_test_split{number}.txt"
    for path in sorted(folder.glob(f"*{suffix}")):
        class_name = path.name.removesuffix(suffix)
        for line in read_lines(path):
            words = line.split()
            if len(words) == 2 and words[1] in _HMDB_PARTS:
                found[_HMDB_PARTS[words[1]]].append(f"{class_name}/{words[0]}")
    return found


def _by_lines(root: Path, lines: dict[str, list[str]], what: str) -> ListedClips:
    if not lines.get("train"):
        raise DataError(f"The split files of {root} name no training clip.", received=what)
    classes = sorted({line.split("/")[0] for part in lines.values() for line in part})
    clips = {split: [_clip_at(root, line) for line in part] for split, part in lines.items() if part}
    labels = {split: [classes.index(line.split("/")[0]) for line in part] for split, part in lines.items() if part}
    if len(classes) < 2:
        raise DataError(f"{root} has a single class.", received=classes[0], expected="at least two")
    return ListedClips(clips, labels, tuple(classes), (f"Splits as in the split files ({what}).",))


def _clip_at(root: Path, relative: str) -> ClipFile:
    path = root / relative
    try:
        return ClipFile(str(path), relative, os.stat(path).st_size)
    except OSError as error:
        raise DataError(
            f"{path} is named in a split file and is not there.", received=error.strerror, expected="every listed clip"
        ) from error
