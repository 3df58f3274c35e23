"""Mixtures of samples as further samples without labels: a transfer set made of the training set."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from limbeck.data.augmentations import Mixup
from limbeck.data.checks import UNLABELLED
from limbeck.data.loading import ReadSettings
from limbeck.data.mixing import mixing_partners
from limbeck.data.samples import Samples
from limbeck.data.sources import content_digest
from limbeck.errors import DataError, InvalidValue, require_not_negative

ID_BITS = 48  # of the ids that are mixed; the number of the mixture stands above them


def with_mixtures(samples: Samples, *, per_sample: int, concentration: float = 1.0, seed: int = 0) -> Samples:
    r"""Return the samples, and after them mixtures of each with others, without labels.

    .. math:: x_{i,v} = x_i + w (x_j - x_i), \qquad w \sim Beta(a, a), \qquad v = 1 \dots n

    The partner j is drawn uniformly from the other samples. Partner and weight depend on (seed, id, v) and on which
    samples there are. Only inputs are mixed: what a mixture is, a teacher says when it is asked. So a student learns
    how its teacher goes over from one class to another, which the training samples alone do not show it; and as there
    is one input for good, the teacher is asked once, as for any other sample.

    Args:
        samples: float features, at least two. Sample weights are not taken over.
        per_sample: n, mixtures of each; 0 returns the samples.
        concentration: a > 0; 1 draws weights uniformly.
        seed: any integer.
    Returns:
        (1 + n) times as many samples; mixture v of a sample has its id plus v times 2^48. Inputs are mixed on demand.
    Raises:
        InvalidValue: a negative number of mixtures.
        DataError: inputs that are no floats, one sample alone, or ids that leave no room for mixtures.
    Example:
        >>> two = Samples("toy", torch.arange(2), torch.tensor([[0.0], [8.0]]), torch.tensor([0, 1]), ("no", "yes"))
        >>> more = with_mixtures(two, per_sample=3)
        >>> more.labels
        tensor([ 0,  1, -1, -1, -1, -1, -1, -1])
        >>> bool(((more.fetch(torch.arange(8)) >= 0) & (more.fetch(torch.arange(8)) <= 8)).all())
        True

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2 (an unlabelled transfer set); Beyer et al. 2022,
        arXiv:2106.05237 (mixtures that student and teacher see alike).
    """
    require_not_negative("per_sample", per_sample)
    if int(per_sample) != per_sample:
        raise InvalidValue("per_sample must be a whole number.", received=per_sample)
    if not per_sample:
        return samples
    if set(samples.input_dtypes.values()) != {torch.float32} or "" not in samples.input_dtypes:
        raise DataError(
            "Mixtures are made of samples of one float tensor each.",
            received=repr(samples),
            expected="float32 features",
        )
    if int(samples.ids.max()) >= 1 << ID_BITS or int(samples.ids.min()) < 0:
        raise DataError(
            f"The ids of {samples.name} leave no room for mixtures.",
            received=f"{int(samples.ids.min())} to {int(samples.ids.max())}",
            expected=f"0 to 2^{ID_BITS} - 1",
        )
    mixup, own = Mixup(concentration), torch.arange(len(samples))
    drawn = [mixing_partners(mixup, samples, own, samples.ids, seed=seed, view=v) for v in range(1, per_sample + 1)]
    source = MixedInputs(
        samples,
        torch.cat([own] + [partners for partners, _ in drawn]),
        torch.cat([torch.zeros(len(samples))] + [weights for _, weights in drawn]),
    )
    return replace(
        samples,
        name=f"{samples.name} with mixtures",
        ids=torch.cat([samples.ids + (v << ID_BITS) for v in range(per_sample + 1)]),
        inputs=source,
        labels=torch.cat([samples.labels, torch.full_like(samples.labels, UNLABELLED).repeat(per_sample)]),
        weights=None,
    )


class MixedInputs:
    """A source of inputs: those of some samples, each moved towards a partner.

    Args:
        samples: n of them, mixed over and over.
        partners: position of each one's partner, int64, shape (k n,).
        weights: of the partners, float32, shape (k n,); 0 leaves a sample as it is.
    """

    is_replayable = True
    dtype = torch.float32
    reading = ReadSettings(prefetch=0)

    def __init__(self, samples: Samples, partners: Tensor, weights: Tensor) -> None:
        self._samples, self._partners, self._weights = samples, partners, weights
        self.sample_shape = samples.input_shape

    def __len__(self) -> int:
        return len(self._partners)

    def __getitem__(self, positions: Tensor) -> Tensor:
        """Return the mixtures at ``positions`` (int64, shape (n,)), shape (n, ...)."""
        own = self._samples.fetch(positions % len(self._samples))
        other = self._samples.fetch(self._partners.index_select(0, positions))
        assert isinstance(own, Tensor), "checked by with_mixtures"
        assert isinstance(other, Tensor), "checked by with_mixtures"
        weights = self._weights.index_select(0, positions)
        return torch.lerp(own, other, weights.view(-1, *[1] * (own.dim() - 1)))

    def content_digest(self, positions: Tensor) -> str:
        """SHA-256 of both inputs and of the weight, for each position."""
        digest = hashlib.sha256(b"mixed inputs 1")
        for chosen in (positions % len(self._samples), self._partners.index_select(0, positions)):
            digest.update(content_digest(self._samples.inputs, chosen).encode())
        digest.update(self._weights.index_select(0, positions).numpy().tobytes())
        return digest.hexdigest()
