"""Speech data sets by name or folder: a corpus, and its frames as samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from limbeck.data.archives import unpack
from limbeck.data.downloads import cache_folder, find_file, missing
from limbeck.data.frames import Context, frame_samples
from limbeck.data.samples import Samples
from limbeck.data.splits import Splits
from limbeck.errors import DataError, LimbeckError
from limbeck.records import make_folder, tell_remade
from limbeck.speech import (
    Aligned,
    Corpus,
    Utterance,
    align_with_mixtures,
    normalised,
    read_alignments,
    read_an4,
    read_digits,
    read_kaldi,
    speakers_of,
    write_alignments,
)

SPEECH_PREFIX = "speech:"
ARCHIVES: dict[str, tuple[str, Callable[[Path], Corpus]]] = {  # name: file, and how its folder is read
    "an4": ("an4-mfcc.tar.gz", read_an4),
    "digits": ("fsdd.tar.gz", read_digits),
}
TEST_PART = 5  # every fifth speaker is a test speaker where the folder has no test part
DEVELOPMENT_PART = 10  # every tenth of the others chooses


def load_corpus(name_or_folder: str) -> Corpus:
    """Return a corpus: "an4", "digits" (strings of the Free Spoken Digit Dataset), or a folder.

    A folder is in Kaldi's style (see ``read_kaldi``), or the unpacked AN4.

    Raises:
        DataError: files that are missing or damaged, or what ``Corpus`` refuses.
    """
    if name_or_folder in ARCHIVES:
        archive, read = ARCHIVES[name_or_folder]
        path = find_file(name_or_folder, [archive])
        if path is None:
            raise missing(name_or_folder, [archive], reason="it has no public mirror in this form")
        return read(_only_folder(unpack(path, cache_folder() / "unpacked")))
    folder = Path(name_or_folder).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"There is no speech folder {folder}.",
            expected="a folder with text, utt2spk, and wav.scp or feats.npz; or " + ", ".join(ARCHIVES),
            remedy="check the spelling and the working folder",
        )
    return read_an4(folder) if (folder / "etc" / "an4.dic").is_file() else read_kaldi(folder)


def load_speech(name_or_folder: str, *, context: Context | None = None) -> Splits:
    """Return the frames of a corpus as samples: windows as inputs, HMM states as labels, parts by speaker.

    Features are normalised over each speaker. Where the folder has no alignment, the corpus is aligned (``flat_start``,
    then mixtures); that is done once, and found again in the cache.

    Args:
        name_or_folder: see :func:`load_corpus`.
        context: of each window; 20 frames before and 5 after where not given.
    Raises:
        DataError: what ``load_corpus`` refuses, or fewer than three speakers.
    """
    corpus, notes = with_parts(normalised(load_corpus(name_or_folder))), []
    if any(one.alignment is None for one in corpus.utterances):
        corpus = corpus.with_alignments(_cached_alignment(corpus).alignments)
        notes.append("No alignment was given: frames were aligned with the texts by Gaussian mixtures.")
    context = context or Context()
    parts: dict[str, Samples] = {
        part: frame_samples(corpus, utterances, context=context, name=f"{corpus.name}/{part}")
        for part, utterances in _parts(corpus).items()
    }
    return Splits(parts["train"], parts["validation"], parts["test"], name=corpus.name, notes=(*corpus.notes, *notes))


def with_parts(corpus: Corpus) -> Corpus:
    """Return the corpus with development and test speakers, taken from the training speakers where it has none.

    Raises:
        DataError: too few speakers.
    """
    if not corpus.test:
        corpus = _with_test(corpus)
    speakers = speakers_of(corpus.train)
    if not corpus.development:
        if len(speakers) < 2:
            raise DataError(f"{corpus.name} has too few speakers.", received=", ".join(speakers), expected="2 to learn")
        corpus = corpus.with_development(max(1, len(speakers) // DEVELOPMENT_PART))
    return corpus


def _only_folder(root: Path) -> Path:
    """Return the folder that an archive holds, or the root where it holds several things."""
    inside = list(root.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else root


def _with_test(corpus: Corpus) -> Corpus:
    speakers = speakers_of(corpus.train)
    if len(speakers) < 3:
        raise DataError(
            f"{corpus.name} has too few speakers.",
            received=f"{len(speakers)}: {', '.join(speakers)}",
            expected="at least 3: parts share no speaker",
            remedy="give parts of your own: folders train, dev and test",
        )
    held = set(speakers[::TEST_PART])
    return replace(
        corpus,
        train=tuple(one for one in corpus.train if one.speaker not in held),
        test=tuple(one for one in corpus.train if one.speaker in held),
        notes=(*corpus.notes, f"There is no test part: {len(held)} of {len(speakers)} speakers were held out as one."),
    )


def _parts(corpus: Corpus) -> dict[str, tuple[Utterance, ...]]:
    return {"train": corpus.train, "validation": corpus.development, "test": corpus.test}


def _cached_alignment(corpus: Corpus) -> Aligned:
    learned = hashlib.sha256(" ".join(one.name for one in corpus.train).encode()).hexdigest()
    key = hashlib.sha256(f"alignment 1 {corpus.fingerprint} {learned}".encode()).hexdigest()[:24]
    path = cache_folder() / "alignments" / f"{corpus.name}-{key}.txt"
    if path.is_file():
        try:
            return Aligned.of(corpus, read_alignments(path, corpus))
        except DataError:
            tell_remade(path)
    aligned = align_with_mixtures(corpus)
    try:
        make_folder(path.parent)
        write_alignments(path, aligned.alignments)
    except (OSError, LimbeckError):
        pass  # a cache that cannot be written only costs time
    return aligned
