"""Folders in Kaldi's style: text, utt2spk, and wav.scp or features as arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from limbeck.bounds import require_honest_zip, require_plain_file
from limbeck.errors import DataError
from limbeck.speech.alignment import read_alignments
from limbeck.speech.corpus import Corpus, Floats, Utterance
from limbeck.speech.features import log_mel
from limbeck.speech.lexicon import Lexicon, read_lines
from limbeck.speech.waveforms import read_waveform

PARTS = {"train": "train", "dev": "development", "development": "development", "test": "test"}
ALIGNMENT_FILE = "ali.txt"


def read_kaldi(folder: Path) -> Corpus:
    """Read a folder, or one with the folders train, dev and test.

    Each holds ``text`` (utterance, words), ``utt2spk`` (utterance, speaker), and ``wav.scp`` (utterance, path of a wav
    file; relative ones from the folder) or ``feats.npz`` (one array (frames, coefficients) for each utterance). The
    folder itself may hold ``lexicon.txt`` (word, phones), otherwise every word is a model of its own, and ``ali.txt``
    (utterance, then the state of each frame).

    Raises:
        DataError: a file that is missing or damaged, another sample rate than the first file's, silence, a word outside
            the lexicon, an alignment of the wrong length; the message names the utterance.
    """
    folders = [folder / name for name in PARTS if (folder / name).is_dir()]
    found: dict[str, list[Utterance]] = {part: [] for part in ("train", "development", "test")}
    rates: dict[str, int] = {}
    for part in folders or [folder]:
        kind = PARTS[part.name] if folders else "train"
        found[kind] += _read_part(part, rates)
    words = [word for part in found.values() for one in part for word in one.words]
    if not words:
        raise DataError(f"{folder} has no words.", expected="text: UTTERANCE WORD WORD ...")
    path = folder / "lexicon.txt"
    lexicon = Lexicon.read(path) if path.is_file() else Lexicon.of_whole_words(words)
    notes = () if path.is_file() else ("There is no lexicon.txt: every word is a model of its own.",)
    corpus = Corpus(
        folder.name,
        tuple(found["train"]),
        tuple(found["test"]),
        lexicon,
        tuple(found["development"]),
        notes=notes,
    )
    alignment = folder / ALIGNMENT_FILE
    return corpus.with_alignments(read_alignments(alignment, corpus)) if alignment.is_file() else corpus


def write_kaldi(folder: Path, utterances: Iterable[Utterance]) -> None:
    """Write ``text``, ``utt2spk`` and ``feats.npz``, as :func:`read_kaldi` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = list(utterances)
    (folder / "text").write_text("".join(f"{one.name} {' '.join(one.words)}\n" for one in chosen), encoding="utf-8")
    (folder / "utt2spk").write_text("".join(f"{one.name} {one.speaker}\n" for one in chosen), encoding="utf-8")
    np.savez(folder / "feats.npz", **{one.name: one.features for one in chosen})  # type: ignore[arg-type]


def _read_part(folder: Path, rates: dict[str, int]) -> list[Utterance]:
    texts, speakers = _table(folder / "text"), _table(folder / "utt2spk")
    features = _features(folder, rates)
    for name in texts:
        for what, table in (("utt2spk", speakers), ("wav.scp or feats.npz", features)):
            if name not in table:
                raise DataError(f"Utterance {name} of {folder.name} is not in {what}.", expected="one line for each")
    return [Utterance(name, speakers[name], tuple(text.split()), features[name]) for name, text in texts.items()]


def _table(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in read_lines(path):
        name, _, rest = line.strip().partition(" ")
        if name in found:
            raise DataError(f"{path.name} names utterance {name} twice.", received=line[:80])
        found[name] = rest.strip()
    return found


def _features(folder: Path, rates: dict[str, int]) -> dict[str, Floats]:
    arrays, scp = folder / "feats.npz", folder / "wav.scp"
    if arrays.is_file():
        require_plain_file(arrays)
        require_honest_zip(arrays)
        try:
            with np.load(arrays, allow_pickle=False) as file:
                return {name: np.asarray(file[name], dtype=np.float32) for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise DataError(
                f"Cannot read {arrays}.", received=str(error), expected="arrays, without pickles"
            ) from error
    if not scp.is_file():
        raise DataError(f"{folder} has no features.", expected="wav.scp or feats.npz")
    return {name: _of_file(folder, name, place, rates) for name, place in _table(scp).items()}


def _of_file(folder: Path, name: str, place: str, rates: dict[str, int]) -> Floats:
    if place.endswith("|"):
        raise DataError(
            f"Utterance {name} is a command, which is not run.", received=place[:80], expected="a path of a wav file"
        )
    where = f"utterance {name} of {folder.name}"
    waveform, rate = read_waveform(folder / place, where=where)
    first, expected = next(iter(rates.items()), (name, rate))
    rates.setdefault(first, expected)
    if rate != expected:
        raise DataError(
            f"The sample rate of {where} is not the corpus's.",
            received=f"{rate} Hz",
            expected=f"{expected} Hz, as utterance {first}",
            remedy="resample it first",
        )
    return log_mel(waveform, sample_rate=rate, where=where)
