"""Words on the lips: the GRID corpus's mouth clips of one talker, cut by the times of their words."""

from __future__ import annotations

import os
from pathlib import Path

from limbeck.data.archives import unpack
from limbeck.data.downloads import cache_folder, find_file, missing
from limbeck.data.video.listing import ListedClips
from limbeck.data.video.stored import ClipFile
from limbeck.errors import DataError
from limbeck.speech.lexicon import read_lines

ARCHIVE = "grid-s1-mouth.tar.gz"
FRAMES_A_SECOND, UNITS_A_FRAME = 25, 1000
LEAST_FRAMES = 13  # a shorter word is cut with as much of what surrounds it
WORDS = {"colour": 1, "letter": 3, "digit": 4, "adverb": 5}  # place in the sentence, and in the clip's id
_SILENCE = ("sil", "sp")
_NAMES = {
    "colour": {"b": "blue", "g": "green", "r": "red", "w": "white"},
    "digit": {
        "1": "one",
        "2": "two",
        "3": "three",
        "4": "four",
        "5": "five",
        "6": "six",
        "7": "seven",
        "8": "eight",
        "9": "nine",
        "z": "zero",
    },
    "adverb": {"a": "again", "n": "now", "p": "please", "s": "soon"},
    "letter": {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
}


def list_grid_words(word: str) -> ListedClips:
    """List one word of every sentence: "colour" (4 classes), "digit" (10), "letter" (25) or "adverb" (4).

    Args:
        word: which.
    Raises:
        DataError: the archive is nowhere, or is not what it should be.
    """
    archive = find_file("grid", [ARCHIVE])
    if archive is None:
        raise missing("grid", [ARCHIVE], reason="it has no download")
    root = unpack(archive, cache_folder() / "unpacked") / ARCHIVE.removesuffix(".tar.gz")
    names = _NAMES[word]
    ids = sorted(path.stem for path in (root / "clips").glob("*.mp4"))
    if not ids:
        raise DataError(f"{archive} holds no clips.", expected="clips/ID.mp4 and align/ID.align")
    clips = [_word_of(root, clip_id, WORDS[word]) for clip_id in ids]
    labels = [list(names).index(clip_id[WORDS[word]]) for clip_id in ids]
    note = f"The {word} of each sentence, cut by its times, {LEAST_FRAMES} frames at least. One talker."
    return ListedClips({"train": clips}, {"train": labels}, tuple(names.values()), (note,))


def word_span(lines: list[str], place: int) -> tuple[float, float]:
    """Return beginning and end in seconds of the word at a place of a sentence, widened around its middle.

    Args:
        lines: of an alignment: start, end, word; a frame is 1,000 units.
        place: of the word, from 0; silences do not count.
    Raises:
        DataError: fewer words.
    Example:
        >>> word_span(["0 20000 sil", "20000 24000 bin", "24000 44000 blue"], 1)
        (0.96, 1.76)
    """
    words = [line.split() for line in lines if line.split() and line.split()[-1] not in _SILENCE]
    if len(words) <= place:
        raise DataError("An alignment has too few words.", received=f"{len(words)} words", expected=f"{place + 1}")
    start, end = (float(text) / UNITS_A_FRAME for text in words[place][:2])
    if end - start < LEAST_FRAMES:
        middle = (start + end) / 2
        start, end = max(0.0, middle - LEAST_FRAMES / 2), middle + LEAST_FRAMES / 2
    return start / FRAMES_A_SECOND, end / FRAMES_A_SECOND


def _word_of(root: Path, clip_id: str, place: int) -> ClipFile:
    path = root / "clips" / f"{clip_id}.mp4"
    start, end = word_span(read_lines(root / "align" / f"{clip_id}.align"), place)
    return ClipFile(str(path), f"{clip_id}.mp4", os.stat(path).st_size, start, end)
