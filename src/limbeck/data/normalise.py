"""Normalisation: (x − mean) / std, per channel of images, per feature otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data.samples import Samples
from limbeck.data.sources import position_chunks
from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.inputs import Inputs, describe, map_inputs, named_tensors

PIXEL_SCALE = 255.0  # of uint8 images: 255 becomes 1
SIGNED_SCALE = 128.0  # of int8 images, such as residuals
MOST_READ = 20_000  # samples that a normalisation is fitted on where each has to be read or decoded


@dataclass(frozen=True)
class Normalise:
    r"""Shift and scale inputs.

    .. math:: x \leftarrow (x - mean) / std

    One number applies to the whole input. More belong to the channels of inputs of three or more dimensions (C, H, W),
    and to the last dimension, the features, of others. uint8 images are scaled by 1/255 first.

    Args:
        mean: one number, or one for each channel or feature.
        std: as many, all positive.
    Raises:
        InvalidValue: different counts, none, not finite, or a std that is not positive.
    Example:
        >>> Normalise((0.5,), (0.25,))(torch.tensor([[0.5, 1.0]]))
        tensor([[0., 2.]])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            if any(isinstance(value, (str, bytes, bool)) for value in getattr(self, name)):
                raise InvalidValue(f"{name} holds a text.", received=getattr(self, name), expected="numbers")
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        finite = all(math.isfinite(value) for value in self.mean + self.std)
        if not self.mean or len(self.mean) != len(self.std) or not finite or min(self.std) <= 0:
            raise InvalidValue(
                "mean and std do not make a normalisation.",
                received=f"{len(self.mean)} means, {len(self.std)} stds, smallest std {min(self.std, default=None)}",
                expected="equally many finite numbers, every std above 0",
            )

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return float32 inputs, scaled by 1/255 where they are uint8, then normalised.

        Args:
            inputs: shape (n, ...), uint8 or float.
        Returns:
            float32, the same shape.
        Raises:
            ShapeMismatch: another number of channels or features.
        """
        return _tensor_to_float(inputs, self)

    @classmethod
    def from_saved(cls, values: Mapping[str, Sequence[float]] | None) -> Normalise | None:
        """Return the normalisation that a saved network wants: {"mean": [...], "std": [...]}; None for none."""
        return None if values is None else cls(tuple(values["mean"]), tuple(values["std"]))

    @classmethod
    def fit(cls, samples: Samples) -> Normalise:
        """Return the normalisation that gives these samples mean 0 and standard deviation 1.

        Exact for uint8 images; in float64, sample by sample in order of id, for features. Both are rounded to eight
        significant digits, so that the fingerprint of views does not depend on how a machine adds. A constant channel
        or feature gets std 1. Of sources that read on demand, ``MOST_READ`` samples are read, evenly spread by id;
        :meth:`fitted_on` says how many.

        Args:
            samples: usually the training split; raw.
        Raises:
            InvalidValue: samples that are already prepared, integers, or inputs of several parts.
        Example:
            >>> inputs, labels = torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.tensor([0, 1])
            >>> Normalise.fit(Samples("toy", torch.arange(2), inputs, labels, ("no", "yes")))
            Normalise(mean=(2.0, 5.0), std=(1.0, 1.0))
        """
        if samples.prepared_by is not None:
            raise InvalidValue(
                "These samples are normalised already.", received=samples.name, remedy="fit on the raw samples"
            )
        if not can_normalise(samples):
            raise InvalidValue(
                "A normalisation is fitted on one tensor of floats or images.",
                received=", ".join(f"{name} {dtype}".strip() for name, dtype in samples.input_dtypes.items()),
                expected="float features or uint8 images",
                remedy="leave it out for token ids (--no-normalise); give integer features as float32",
            )
        if cls.fitted_on(samples) < len(samples):
            step = len(samples) / MOST_READ
            samples = samples.take(samples.positions_by_id[(torch.arange(MOST_READ) * step).long()].sort().values)
        mean, std = _moments_of_images(samples) if samples.is_image else _moments_of_features(samples)
        return cls(tuple(_rounded(value) for value in mean), tuple(_rounded(value) for value in std))

    @staticmethod
    def fitted_on(samples: Samples) -> int:
        """Return how many of the samples :meth:`fit` reads: all that are in memory, else at most ``MOST_READ``."""
        return len(samples) if samples.in_memory else min(len(samples), MOST_READ)


def to_float(inputs: Inputs, normalise: Normalise | None, *, in_place: bool = True) -> Inputs:
    """Return raw inputs as networks take them: images and floats as float32, integers and booleans as they are.

    Args:
        inputs: raw; in mappings and tuples a uint8 part is an image where it is (n, 1 or 3, H, W), or of several times
            (n, time, 1 or 3, H, W), else integers; an int8 part of as many axes is a signed image, times 1/128.
        normalise: of the one part that is image or float; None for none.
        in_place: change the copy in place; programs that are exported, with torch 2.6, cannot.
    Raises:
        InvalidValue: a normalisation without such a part, or with several.
    """
    if isinstance(inputs, Tensor):
        if inputs.is_floating_point() or inputs.dtype == torch.uint8:
            return _tensor_to_float(inputs, normalise, in_place=in_place)
        if normalise is None:
            return inputs
    if normalise is not None and sum(_is_number(tensor) for _, tensor in named_tensors(inputs)) != 1:
        raise InvalidValue(
            "A normalisation is for inputs with one part of floats or images.",
            received=describe(inputs),
            expected="one such part; integers, such as token ids, are never normalised",
            remedy="leave normalise out (--no-normalise), or give numbers as float32",
        )
    return map_inputs(
        lambda part: _tensor_to_float(part, normalise, in_place=in_place) if _is_number(part) else part, inputs
    )


def can_normalise(samples: Samples) -> bool:
    """Whether the raw inputs are one tensor of floats or images: what :meth:`Normalise.fit` can be fitted on.

    Example:
        >>> can_normalise(Samples("ids", torch.arange(2), torch.tensor([[5, 6], [7, 8]]), torch.tensor([0, 0]), ("a",)))
        False
    """
    dtype = samples.input_dtypes.get("")
    return dtype is not None and (dtype.is_floating_point or dtype == torch.uint8)


def _is_number(part: Tensor) -> bool:
    if part.dtype == torch.uint8:
        return part.dim() in (4, 5) and part.shape[-3] in (1, 3)
    return part.is_floating_point() or _is_signed_image(part)


def _is_signed_image(part: Tensor) -> bool:
    return part.dtype == torch.int8 and part.dim() in (4, 5)


def _tensor_to_float(raw: Tensor, normalise: Normalise | None, *, in_place: bool = True) -> Tensor:
    subtract, multiply = (Tensor.sub_, Tensor.mul_) if in_place else (Tensor.sub, Tensor.mul)
    divide = Tensor.div_ if in_place else Tensor.div
    unit = PIXEL_SCALE if raw.dtype == torch.uint8 else SIGNED_SCALE if _is_signed_image(raw) else 1.0
    if normalise is None:
        return raw.to(torch.float32) if unit == 1.0 else divide(raw.to(torch.float32), unit)
    inputs = raw.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if len(normalise.mean) == 1:
        return multiply(subtract(inputs, normalise.mean[0] * unit), 1.0 / (normalise.std[0] * unit))
    axis = _axis(raw.dim())
    if raw.shape[axis] != len(normalise.mean):
        raise ShapeMismatch(
            "The normalisation is for other inputs.",
            received=f"inputs of shape {tuple(raw.shape)}",
            expected=f"{len(normalise.mean)} {'channels' if axis == 1 else 'features'}",
        )
    shape = [1] * raw.dim()
    shape[axis] = len(normalise.mean)
    mean = torch.tensor(normalise.mean, dtype=torch.float64).mul_(unit).to(raw.device, torch.float32)
    scale = torch.tensor(normalise.std, dtype=torch.float64).mul_(unit).reciprocal_().to(raw.device, torch.float32)
    return multiply(subtract(inputs, mean.view(shape)), scale.view(shape))


def _axis(num_dimensions: int) -> int:
    """Which axis of a batch has statistics of its own: channels of (n, C, ...), features of (n, d) and (n, t, d)."""
    return 1 if num_dimensions >= 4 else num_dimensions - 1


def _rounded(value: float) -> float:
    return float(f"{value:.8g}")


def _fetched(samples: Samples, positions: Tensor) -> Tensor:
    fetched = samples.fetch(positions)
    assert isinstance(fetched, Tensor), "can_normalise was asked"
    return fetched.cpu()


def _moments_of_images(samples: Samples) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, in units of 255, from exact integer sums."""
    channels, height, width = samples.input_shape
    count = len(samples) * height * width
    total = torch.zeros(channels, dtype=torch.int64)
    square = torch.zeros(channels, dtype=torch.int64)
    for chunk in position_chunks(torch.arange(len(samples))):
        values = _fetched(samples, chunk).to(torch.int32)
        total += values.sum(dim=(0, 2, 3), dtype=torch.int64)
        square += values.mul_(values).sum(dim=(0, 2, 3), dtype=torch.int64)
    mean = [value / count / PIXEL_SCALE for value in total.tolist()]
    spread = [count * q - s * s for s, q in zip(total.tolist(), square.tolist(), strict=True)]
    return mean, [math.sqrt(value) / count / PIXEL_SCALE if value > 0 else 1.0 for value in spread]


def _moments_of_features(samples: Samples) -> tuple[list[float], list[float]]:
    """Mean and standard deviation along the normalised axis, pieces joined without cancellation (Chan et al. 1979)."""
    axis = _axis(1 + len(samples.input_shape))
    count = 0
    mean = spread = torch.zeros((), dtype=torch.float64)
    for chunk in position_chunks(samples.positions_by_id.cpu()):
        values = _fetched(samples, chunk).double().movedim(axis, -1).flatten(0, -2)  # (m, features)
        part_mean = values.mean(dim=0)
        part_spread = (values - part_mean).square().sum(dim=0)
        joint = count + len(values)
        shift = part_mean - mean
        spread = spread + part_spread + shift.square() * (count * len(values) / joint)
        mean = mean + shift * (len(values) / joint)
        count = joint
    std = (spread / count).sqrt()
    std = torch.where(std <= 1e-10 * mean.abs(), torch.ones_like(std), std)
    return mean.tolist(), std.tolist()
