"""Features of speech: log mel energies of a waveform, normalisation, differences, energies out of cepstra."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from limbeck.errors import DataError, InvalidValue, MissingPackage, unknown_name
from limbeck.speech.corpus import Corpus, Floats, Utterance

NormaliseBy = Literal["speaker", "utterance", "global", "none"]
NUM_FILTERS = 40
WINDOW_SECONDS, ADVANCE_SECONDS = 0.025, 0.010
LEAST_RATE = 2000  # Hz, of speech; filters would have no frequency left to look at
SMALLEST_DEVIATION = 1e-3  # of a coefficient that does not vary
_DIFFERENCE_FRAMES = 2


def log_mel(waveform: Floats, *, sample_rate: int, num_filters: int = NUM_FILTERS, where: str = "a waveform") -> Floats:
    """Return log mel filterbank energies: windows of 25 ms, every 10 ms.

    Args:
        waveform: in [-1, 1], float32, shape (samples,).
        sample_rate: in Hz.
        num_filters: mel filters, from 20 Hz to half the sample rate.
        where: how messages call it.
    Returns:
        float32, shape (frames, num_filters).
    Raises:
        DataError: a sample rate below ``LEAST_RATE``, a waveform shorter than one window, or silent: all its samples
            are alike.
        MissingPackage: kaldi-native-fbank.
    """
    try:
        import kaldi_native_fbank
    except ImportError as error:
        raise MissingPackage(
            "Features of a waveform need kaldi-native-fbank.", remedy="pip install 'limbeck[speech]'"
        ) from error
    if sample_rate < LEAST_RATE:
        raise DataError(
            f"{where} has too low a sample rate.",
            received=f"{sample_rate} Hz",
            expected=f"at least {LEAST_RATE:,} Hz, which speech needs",
        )
    if len(waveform) < WINDOW_SECONDS * sample_rate:
        raise DataError(
            f"{where} is empty or truncated.",
            received=f"{len(waveform)} samples at {sample_rate} Hz",
            expected=f"at least {1000 * WINDOW_SECONDS:.0f} ms",
        )
    if float(waveform.max() - waveform.min()) == 0.0:
        raise DataError(f"{where} is silent.", received="samples that are all alike", remedy="leave it out")
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = sample_rate
    options.frame_opts.dither = 0.0
    options.frame_opts.frame_length_ms = 1000 * WINDOW_SECONDS
    options.frame_opts.frame_shift_ms = 1000 * ADVANCE_SECONDS
    options.mel_opts.num_bins = num_filters
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(sample_rate, np.ascontiguousarray(waveform, dtype=np.float32))
    computer.input_finished()
    return np.stack([computer.get_frame(frame) for frame in range(computer.num_frames_ready)])


def energies_from_cepstra(cepstra: Floats, *, num_filters: int = NUM_FILTERS) -> Floats:
    r"""Return smoothed log mel energies: the inverse cosine transform of mel cepstra that leave out the higher ones.

    .. math:: e_{tj} = c_{t0} / 2 + \sum_{k \ge 1} c_{tk} \cos(\pi k (j + 1/2) / J)

    up to a factor, which normalisation takes out.

    Args:
        cepstra: c0 first, shape (frames, coefficients).
        num_filters: J.
    Returns:
        float32, shape (frames, num_filters); of the rank of the cepstra.
    """
    orders = np.arange(cepstra.shape[1])[:, None]
    basis = np.cos(np.pi * orders * (np.arange(num_filters) + 0.5) / num_filters)
    basis[0] = 0.5
    return (cepstra @ basis).astype(np.float32)


def with_differences(features: Floats, *, window: int = _DIFFERENCE_FRAMES) -> Floats:
    r"""Return features beside their first and second differences in time, shape (frames, 3 * coefficients).

    .. math:: d_t = \sum_{k=1}^{w} k (x_{t+k} - x_{t-k}) / (2 \sum_k k^2)

    Frames beyond the ends repeat the first and the last.
    """
    first = _difference(features, window)
    return np.concatenate([features, first, _difference(first, window)], axis=1)


def normalised(corpus: Corpus, by: NormaliseBy = "speaker") -> Corpus:
    """Return the corpus with features of mean 0 and variance 1 over each speaker, each utterance, or the training set.

    Raises:
        UnknownName: another way.
    """
    if by not in get_args(NormaliseBy):
        raise unknown_name("way to normalise speech", by, get_args(NormaliseBy))
    if by == "none":
        return corpus
    if by == "global":
        mean, deviation = _moments(corpus.train)
        return corpus.with_features({one.name: (one.features - mean) / deviation for one in corpus.utterances})
    groups: dict[str, list[Utterance]] = {}
    for one in corpus.utterances:
        groups.setdefault(one.speaker if by == "speaker" else one.name, []).append(one)
    changed: dict[str, Floats] = {}
    for group in groups.values():
        mean, deviation = _moments(group)
        changed |= {one.name: (one.features - mean) / deviation for one in group}
    return corpus.with_features(changed)


def _moments(utterances: Iterable[Utterance]) -> tuple[Floats, Floats]:
    frames = np.concatenate([one.features for one in utterances]).astype(np.float64)
    deviation = np.maximum(frames.std(axis=0), SMALLEST_DEVIATION)
    return frames.mean(axis=0).astype(np.float32), deviation.astype(np.float32)


def _difference(features: Floats, window: int) -> Floats:
    if window < 1:
        raise InvalidValue("The window of a difference is at least one frame.", received=window)
    padded = np.pad(features, ((window, window), (0, 0)), mode="edge")
    total: npt.NDArray[np.float32] = np.zeros_like(features)
    for k in range(1, window + 1):
        total += k * (padded[window + k : len(padded) - window + k] - padded[window - k : len(padded) - window - k])
    total /= 2 * sum(k * k for k in range(1, window + 1))
    return total
