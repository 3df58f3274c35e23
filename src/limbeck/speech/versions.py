"""Other versions of recordings: as if speakers had longer or shorter vocal tracts, and spoke faster or slower."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from limbeck.errors import DataError, require_fraction, require_positive
from limbeck.speech.corpus import Corpus, Floats, Utterance, speakers_of
from limbeck.speech.features import NUM_FILTERS, energies_from_cepstra

LOWEST_HZ, HIGHEST_HZ = 130.0, 6800.0  # of the filters behind AN4's cepstra
MEL_SCALE, MEL_BREAK_HZ = 2595.0, 700.0


def warped_cepstra(cepstra: Floats, factor: float) -> Floats:
    r"""Return mel cepstra as if every frequency had been another: that of a longer or shorter vocal tract.

    .. math:: c' = F\, e(a f_1, \dots, a f_J)

    e are the smoothed log energies behind the cepstra, read at a times the frequency of each filter, linearly between
    filters on the mel scale; the first and the last filter stand for all beyond. F is the cosine transform.

    Args:
        cepstra: c0 first, shape (frames, coefficients), fewer than the 40 filters.
        factor: a > 0; 1 changes nothing.
    Returns:
        float32, of the same shape.
    Raises:
        InvalidValue: a factor that is not positive.
        DataError: as many coefficients as filters: they are energies, which are no cepstra.
    References:
        Lee and Rose 1996, Speaker normalization using efficient frequency warping procedures; Jaitly and Hinton 2013,
        Vocal tract length perturbation improves speech recognition (there, too, by a random factor).
    """
    require_positive("factor", factor)
    if cepstra.shape[1] >= NUM_FILTERS:
        raise DataError(
            "Frequencies are warped in mel cepstra.",
            received=f"{cepstra.shape[1]} coefficients a frame",
            expected=f"cepstra, fewer than {NUM_FILTERS}",
            remedy="learn from the recordings as they are (num_versions 0)",
        )
    return (cepstra @ _warp_matrix(cepstra.shape[1], factor)).astype(np.float32)


def stretched(utterance: Utterance, factor: float) -> Utterance:
    """Return an utterance of so many times as many frames, at least one, linearly between the old ones.

    A new frame has the state of the old one that is nearest.

    Raises:
        InvalidValue: a factor that is not positive.
    Example:
        >>> one = Utterance("a", "s", (), np.array([[0.0], [1.0], [2.0]], np.float32), np.array([3, 4, 5]))
        >>> longer = stretched(one, 5 / 3)
        >>> longer.features[:, 0].tolist(), longer.alignment.tolist()
        ([0.0, 0.5, 1.0, 1.5, 2.0], [3, 3, 4, 5, 5])
    """
    require_positive("factor", factor)
    features, states = utterance.features, utterance.alignment
    places = np.linspace(0, len(features) - 1, max(1, round(factor * len(features))))
    before = places.astype(np.int64)
    after = np.minimum(before + 1, len(features) - 1)
    share = (places - before)[:, None].astype(np.float32)
    return replace(
        utterance,
        features=features[before] + share * (features[after] - features[before]),
        alignment=None if states is None else states[np.round(places).astype(np.int64)],
    )


def other_version(corpus: Corpus, *, warp: float, stretch: float, seed: int) -> Corpus:
    """Return the training utterances as other speakers might have said them.

    Each speaker's frequencies are warped by one factor, uniform in 1 - warp to 1 + warp, each utterance is stretched by
    one in 1 - stretch to 1 + stretch.

    Args:
        corpus: of mel cepstra that are not normalised; all its training utterances of one speaker are warped alike.
        warp: in [0, 1).
        stretch: likewise.
        seed: of the factors.
    Returns:
        A corpus of the training part alone.
    Raises:
        InvalidValue: outside these ranges.
    """
    require_fraction("warp", warp, below_one=True)
    require_fraction("stretch", stretch, below_one=True)
    random = np.random.default_rng(seed)
    factors = {speaker: 1 + warp * random.uniform(-1, 1) for speaker in speakers_of(corpus.train)}

    def version(one: Utterance) -> Utterance:
        warped = replace(one, features=warped_cepstra(one.features, factors[one.speaker]))
        return stretched(warped, 1 + stretch * random.uniform(-1, 1))

    return replace(corpus, train=tuple(version(one) for one in corpus.train), development=(), test=())


def _warp_matrix(num_cepstra: int, factor: float) -> Floats:
    """Return what cepstra are multiplied with from the right, shape (num_cepstra, num_cepstra)."""
    to_energies = energies_from_cepstra(np.eye(num_cepstra, dtype=np.float32)).astype(np.float64)
    to_cepstra = 2 / NUM_FILTERS * to_energies.T
    to_cepstra[:, 0] *= 2  # c0 counts half in the energies
    mels = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), NUM_FILTERS + 2)[1:-1]
    read_at = _mel(factor * MEL_BREAK_HZ * (10 ** (mels / MEL_SCALE) - 1))
    weights = [np.interp(read_at, mels, filter_itself) for filter_itself in np.eye(NUM_FILTERS)]
    matrix: Floats = (to_energies @ np.stack(weights) @ to_cepstra).astype(np.float32)
    return matrix


def _mel(hertz: float | np.ndarray) -> np.ndarray:
    return MEL_SCALE * np.log10(1 + np.asarray(hertz) / MEL_BREAK_HZ)
