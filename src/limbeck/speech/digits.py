"""Connected digits: single spoken digits of the Free Spoken Digit Dataset, strung together with pauses and noise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.errors import DataError
from limbeck.speech.corpus import Corpus, Floats, Utterance
from limbeck.speech.features import log_mel
from limbeck.speech.lexicon import Lexicon
from limbeck.speech.waveforms import read_waveform

DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
SAMPLE_RATE = 8_000
LONGEST = 7  # digits of a string
PAUSE_SECONDS = (0.05, 0.40)  # between digits, and at both ends
LEVEL_DECIBELS = -20.0  # of every recording, against full scale
NOISE_DECIBELS = (-60.0, -40.0)  # of the noise
_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<number>\d+)\.wav")


@dataclass(frozen=True)
class StringSettings:
    """How strings are drawn: as a function of the seed, the speaker and the string's number.

    Args:
        strings_a_speaker: how many.
        num_test_speakers: the last ones in order of name.
        seed: any integer.
    """

    strings_a_speaker: int = 80
    num_test_speakers: int = 1
    seed: int = 0


def read_digits(folder: Path, settings: StringSettings | None = None) -> Corpus:
    """Read ``recordings/DIGIT_SPEAKER_NUMBER.wav`` and compose strings of 1 to 7 digits of one speaker each.

    Pauses of 50 to 400 ms stand between the digits and at both ends. Recordings are brought to -20 dB, and white noise
    of -60 to -40 dB lies under the whole. Every word is a model of its own. Features are 40 log mel energies. Parts
    share no speaker.

    Raises:
        DataError: no recordings, fewer than three speakers, a file of another sample rate, or a damaged one.
        MissingPackage: soundfile or kaldi-native-fbank.
    """
    settings = settings or StringSettings()
    recordings = _recordings(folder)
    speakers = sorted(recordings)
    if len(speakers) - settings.num_test_speakers < 2:
        raise DataError(
            f"{folder} has too few speakers.", received=", ".join(speakers) or "none",
            expected="recordings/DIGIT_SPEAKER_NUMBER.wav of three speakers at least",
        )  # fmt: skip
    parts = {
        speaker: [_string(speaker, number, recordings[speaker], settings.seed) for number in
                  range(settings.strings_a_speaker)]
        for speaker in speakers
    }  # fmt: skip
    test = speakers[-settings.num_test_speakers :]
    return Corpus(
        "digits",
        tuple(one for speaker in speakers if speaker not in test for one in parts[speaker]),
        tuple(one for speaker in test for one in parts[speaker]),
        Lexicon.of_whole_words(DIGITS),
        notes=(f"Strings of 1 to {LONGEST} digits, composed with seed {settings.seed}; test: {', '.join(test)}.",),
    )


def _recordings(folder: Path) -> dict[str, list[list[Path]]]:
    """Paths by speaker and digit."""
    found: dict[str, list[list[Path]]] = {}
    for path in sorted((folder / "recordings").glob("*.wav")):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            found.setdefault(match["speaker"], [[] for _ in DIGITS])[int(match["digit"])].append(path)
    incomplete = [speaker for speaker, digits in found.items() if not all(digits)]
    if incomplete:
        raise DataError(f"{folder} lacks digits of a speaker.", received=incomplete[0], expected="0 to 9 of each")
    return found


def _string(speaker: str, number: int, recordings: Sequence[Sequence[Path]], seed: int) -> Utterance:
    random = np.random.default_rng([seed, *speaker.encode(), number])
    digits = random.integers(len(DIGITS), size=random.integers(1, LONGEST + 1))
    name = f"{speaker}-{number:03d}"
    parts = [_pause(random)]
    for digit in digits:
        known = recordings[int(digit)]
        path = known[int(random.integers(len(known)))]
        parts += [_digit(path, name), _pause(random)]
    waveform = np.concatenate(parts)
    level = 10 ** (random.uniform(*NOISE_DECIBELS) / 20)
    waveform = (waveform + level * random.standard_normal(len(waveform))).astype(np.float32)
    features = log_mel(waveform, sample_rate=SAMPLE_RATE, where=f"utterance {name}")
    return Utterance(name, speaker, tuple(DIGITS[digit] for digit in digits), features)


def _pause(random: np.random.Generator) -> Floats:
    return np.zeros(int(SAMPLE_RATE * random.uniform(*PAUSE_SECONDS)), dtype=np.float32)


def _digit(path: Path, name: str) -> Floats:
    waveform, rate = read_waveform(path, where=f"{path.name} of utterance {name}")
    if rate != SAMPLE_RATE:
        raise DataError(
            f"The sample rate of {path.name} is not the corpus's.", received=f"{rate} Hz", expected=f"{SAMPLE_RATE} Hz"
        )
    level = float(np.sqrt(np.mean(waveform**2)))
    if level == 0.0:
        raise DataError(f"{path.name} is silent.", received="samples that are all 0", remedy="leave it out")
    return (waveform * (10 ** (LEVEL_DECIBELS / 20) / level)).astype(np.float32)
