"""CMU AN4 (Census) as mel cepstra: 948 training and 130 test utterances, letters, numbers and commands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from limbeck.errors import DataError
from limbeck.speech.corpus import Corpus, Floats, Utterance
from limbeck.speech.lexicon import Lexicon, read_lines

NUM_CEPSTRA = 13
PARTS = {"train": "an4_train", "test": "an4_test"}
_TRANSCRIPT = re.compile(r"^(?P<words>.*?)\s*\((?P<name>[^()]+)\)$")
_MARKS = ("<s>", "</s>", "<sil>")


def read_an4(folder: Path) -> Corpus:
    """Read the unpacked archive: ``etc/`` with transcripts, file ids and dictionary, ``feat/`` with cepstra.

    Raises:
        DataError: a file that is missing or damaged, a transcript that is another file's, or what ``Corpus`` refuses.
    """
    lexicon = Lexicon.read(folder / "etc" / "an4.dic")
    parts = {part: _read_part(folder, stem) for part, stem in PARTS.items()}
    return Corpus("an4", tuple(parts["train"]), tuple(parts["test"]), lexicon)


def read_cepstra(path: Path) -> Floats:
    """Read a file of cepstra: a big-endian int32 count of numbers, then that many float32, 13 a frame.

    Raises:
        DataError: an empty, truncated or overlong file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {path}.", received=error.strerror) from error
    count = int.from_bytes(content[:4], "big", signed=True) if len(content) >= 4 else 0
    if count <= 0 or count % NUM_CEPSTRA or len(content) != 4 + 4 * count:
        raise DataError(
            f"The cepstra of {path.name} are empty, truncated or damaged.",
            received=f"{len(content)} bytes, {count} numbers announced",
            expected=f"an int32 count, a multiple of {NUM_CEPSTRA}, and 4 bytes for each number",
            remedy="get the file again",
        )
    return np.frombuffer(content, dtype=">f4", offset=4).reshape(-1, NUM_CEPSTRA).astype(np.float32)


def _read_part(folder: Path, stem: str) -> list[Utterance]:
    ids = read_lines(folder / "etc" / f"{stem}.fileids")
    lines = read_lines(folder / "etc" / f"{stem}.transcription")
    if len(ids) != len(lines):
        raise DataError(
            f"{stem} has transcripts and files of different numbers.", received=f"{len(lines)} and {len(ids)}"
        )
    return [_utterance(folder, file_id, line) for file_id, line in zip(ids, lines, strict=True)]


def _utterance(folder: Path, file_id: str, line: str) -> Utterance:
    found = _TRANSCRIPT.match(line)
    name = file_id.split("/")[-1]
    if found is None or found["name"] != name:
        raise DataError(f"The transcript of {name} is another file's.", received=line[:80], expected=f"WORDS ({name})")
    words = tuple(word for word in found["words"].split() if word not in _MARKS)
    return Utterance(name, file_id.split("/")[-2], words, read_cepstra(folder / "feat" / f"{file_id}.mfc"))
