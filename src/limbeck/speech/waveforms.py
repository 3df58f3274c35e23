"""Waveforms from files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from limbeck.bounds import require_memory, require_plain_file
from limbeck.errors import DataError, MissingPackage
from limbeck.speech.corpus import Floats

UNKNOWN_SIZES = {0, 0x7FFFFFFF, 0xFFFFFFFF}  # written by programs that could not go back to the header of a wav file


def read_waveform(path: Path, *, where: str = "a waveform") -> tuple[Floats, int]:
    """Return samples in [-1, 1], float32, shape (samples,), the mean of the channels, and the sample rate in Hz.

    Args:
        path: of a wav or flac file, or what else soundfile reads.
        where: how messages call it.
    Raises:
        DataError: no file, an empty or truncated one.
        MissingPackage: soundfile.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:  # without its library it cannot be imported
        raise MissingPackage("Waveforms need soundfile.", remedy="pip install 'limbeck[speech]'") from error
    require_plain_file(path)
    try:
        _require_whole(path, where)
        with soundfile.SoundFile(str(path)) as file:
            announced, rate = file.frames, int(file.samplerate)
            require_memory(announced * file.channels * 4, f"The waveform {path}")
            samples = file.read(dtype="float32", always_2d=True)
    except (OSError, RuntimeError, MemoryError) as error:
        raise DataError(f"Cannot read {where}.", received=f"{path}: {error}", expected="a whole wav file") from error
    if len(samples) == 0 or len(samples) < announced:
        raise DataError(
            f"{where} is empty or truncated.", received=f"{len(samples)} of {announced} samples in {path.name}"
        )
    return np.ascontiguousarray(samples.mean(axis=1)), rate


def _require_whole(path: Path, where: str) -> None:
    """Raise DataError where a wav file ends before its samples do, which soundfile passes over in silence."""
    size = path.stat().st_size
    with path.open("rb") as file:
        form = file.read(12)
        if form[:4] != b"RIFF" or form[8:] != b"WAVE":
            return  # another kind, or nothing that soundfile could read
        while len(header := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", header)
            held = size - file.tell()
            if name == b"data" and length not in UNKNOWN_SIZES and length > held:
                raise DataError(
                    f"{where} is truncated.",
                    received=f"{held:,} of {length:,} bytes of samples in {path.name}",
                    remedy="copy the file again, or leave the utterance out",
                )
            if name == b"data" or length > held:
                return
            file.seek(length + length % 2, 1)  # chunks begin at even places
