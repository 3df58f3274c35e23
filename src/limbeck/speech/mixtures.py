"""A Gaussian mixture with diagonal covariances for each state, fitted to the frames that an alignment gives it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from limbeck.speech.corpus import Floats, Integers
from limbeck.speech.graph import Doubles

MOST_FRAMES = 4000  # of a state, that its mixture is fitted to
FRAMES_A_COMPONENT = 25  # at least
VARIANCE_FLOOR = 0.01  # of features that are normalised to variance 1
_ITERATIONS = 12
_UNSEEN_LOG_WEIGHT = -100.0  # of a state that no frame belongs to


@dataclass(frozen=True, eq=False)
class StateMixtures:
    """Mixtures of all states as one matrix product.

    Args:
        linear: shape (2 * coefficients, components of all states): factors of x and of x².
        constant: log weight and log normalisation of each component.
        starts: first component of each state; every state has one at least.
    """

    linear: Doubles
    constant: Doubles
    starts: Integers

    @staticmethod
    def fit(frames: Floats, states: Integers, *, num_states: int, num_components: int, seed: int = 0) -> StateMixtures:
        """Fit one mixture for each state.

        Args:
            frames: shape (frames, coefficients).
            states: of each frame.
            num_states: number of states; one without frames can be passed, at a price.
            num_components: of each; fewer where there are fewer than 25 frames for each.
            seed: of the starts.
        """
        order = np.argsort(states, kind="stable")
        bounds = np.searchsorted(states[order], np.arange(num_states + 1))
        random = np.random.default_rng(seed)
        means, variances, weights, counts = [], [], [], []
        for state in range(num_states):
            members = order[bounds[state] : bounds[state + 1]]
            if len(members) > MOST_FRAMES:
                members = random.choice(members, MOST_FRAMES, replace=False)
            count = max(1, min(num_components, len(members) // FRAMES_A_COMPONENT))
            mean, variance, weight = _mixture(frames[members].astype(np.float64), count, seed, frames.shape[1])
            means.append(mean)
            variances.append(variance)
            weights.append(weight)
            counts.append(count)
        return _as_matrices(np.concatenate(means), np.concatenate(variances), np.concatenate(weights), counts)

    def log_likelihoods(self, frames: Floats) -> Doubles:
        """Return log p(x | state) of every frame, shape (frames, states)."""
        squares = np.concatenate([frames, frames * frames], axis=1).astype(np.float64)
        return np.logaddexp.reduceat(squares @ self.linear + self.constant, self.starts, axis=1)


def _mixture(frames: Doubles, count: int, seed: int, width: int) -> tuple[Doubles, Doubles, npt.NDArray[np.float64]]:
    if len(frames) == 0:
        return np.zeros((1, width)), np.ones((1, width)), np.full(1, np.exp(_UNSEEN_LOG_WEIGHT))
    if count == 1:
        return frames.mean(axis=0)[None], np.maximum(frames.var(axis=0), VARIANCE_FLOOR)[None], np.ones(1)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        count, covariance_type="diag", max_iter=_ITERATIONS, random_state=seed, reg_covar=VARIANCE_FLOOR / 10
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a round of few iterations is meant
        mixture.fit(frames)
    return mixture.means_, np.maximum(mixture.covariances_, VARIANCE_FLOOR), mixture.weights_


def _as_matrices(means: Doubles, variances: Doubles, weights: Doubles, counts: list[int]) -> StateMixtures:
    precisions = 1 / variances
    constant = np.log(weights) - 0.5 * (np.log(2 * np.pi * variances) + means * means * precisions).sum(axis=1)
    linear = np.concatenate([means * precisions, -0.5 * precisions], axis=1).T
    return StateMixtures(np.ascontiguousarray(linear), constant, np.concatenate([[0], np.cumsum(counts)[:-1]]))
