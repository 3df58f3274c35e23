"""Smooth warps of images: affine maps and elastic fields, resampled between pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch, require_fraction, require_not_negative


@dataclass(frozen=True)
class Affine:
    """Rotate, scale and shear each image about its centre; what comes in from outside is raw 0.

    The angle is uniform in -degrees .. degrees, the factor of the size log-uniform in 1 / (1 + scale) .. 1 + scale, the
    shear (how far a row moves sideways, for each pixel of its distance from the middle) uniform in -shear .. shear.
    Images are read bilinearly; uint8 ones are rounded.

    Args:
        degrees: largest rotation, >= 0.
        scale: largest relative growth, >= 0: 0.15 is 15 % larger or as much smaller.
        shear: largest shear, >= 0: 0.2 moves a row that is ten pixels off the middle by two.
        probability: of being warped at all; resampling blurs, and what is left alone stays sharp.
    Raises:
        InvalidValue: a setting below 0 or not finite, or all of them 0; a probability outside 0 .. 1.
    Example:
        >>> image = torch.tensor([[[[0, 9, 0], [0, 9, 0], [0, 9, 0]]]], dtype=torch.uint8)
        >>> Affine(90.0, 0.0)(image, torch.tensor([[0.0, 0.5, 0.5]]))[0, 0]  # a quarter turn
        tensor([[0, 0, 0],
                [9, 9, 9],
                [0, 0, 0]], dtype=torch.uint8)
    """

    degrees: float
    scale: float = 0.0
    shear: float = 0.0
    probability: float = 1.0
    name: ClassVar[str] = "affine"

    def __post_init__(self) -> None:
        for name in ("degrees", "scale", "shear"):
            require_not_negative(name, getattr(self, name))
        if self.degrees == self.scale == self.shear == 0:
            raise InvalidValue("An affine map must change something.", received=self, remedy="leave the warp out")
        require_fraction("probability", self.probability)

    @property
    def draws(self) -> int:
        """Rotation, scale, shear; and whether, where that is not certain."""
        return 3 + (self.probability < 1)

    def __call__(self, inputs: Tensor, uniforms: Tensor) -> Tensor:
        """Return the warped images; see ``Augmentation``. The draws are rotation, scale and shear."""
        down, right = _offsets_from_centre(inputs, self.name)
        signed = 2 * uniforms - 1
        angle = math.radians(self.degrees) * signed[:, 0]
        shrink = torch.exp(-math.log1p(self.scale) * signed[:, 1])
        cosine, sine = (shrink * angle.cos())[:, None, None], (shrink * angle.sin())[:, None, None]
        shear = (self.shear * signed[:, 2])[:, None, None]
        rows, columns = cosine * down - sine * right, sine * down + cosine * right
        warped = _resampled(inputs, rows, columns + shear * rows)
        return _sometimes(warped, inputs, uniforms, self.probability)


@dataclass(frozen=True)
class Elastic:
    """Move each image's pixels by a smooth random field; what comes in from outside is raw 0.

    The field's two components are uniform in -pixels .. pixels at knots x knots points spread evenly over the image,
    corners included, and interpolated bicubically between them. Images are read bilinearly; uint8 ones are rounded.

    Args:
        pixels: largest displacement at a knot, above 0.
        knots: points of the field along each side, at least 2. More of them make shorter waves.
        probability: of being warped at all, in 0 .. 1.
    Raises:
        InvalidValue: a setting out of range.
    Example:
        >>> Elastic(2.0, 4).draws
        32

    References:
        Ronneberger, Fischer, Brox 2015, arXiv:1505.04597, section 3.1 (a coarse grid, bicubic); Simard, Steinkraus,
        Platt 2003, "Best practices for convolutional neural networks applied to visual document analysis".
    """

    pixels: float
    knots: int = 4
    probability: float = 1.0
    name: ClassVar[str] = "elastic"

    def __post_init__(self) -> None:
        require_not_negative("pixels", self.pixels)
        if self.pixels == 0 or self.knots < 2 or int(self.knots) != self.knots:
            raise InvalidValue(
                "An elastic field needs a displacement and knots.",
                received=f"pixels {self.pixels}, knots {self.knots}",
                expected="pixels > 0, a whole number of knots of at least 2",
            )
        require_fraction("probability", self.probability)

    @property
    def draws(self) -> int:
        """Two components at every knot; and whether, where that is not certain."""
        return 2 * self.knots**2 + (self.probability < 1)

    def __call__(self, inputs: Tensor, uniforms: Tensor) -> Tensor:
        """Return the warped images; see ``Augmentation``. The draws are the vertical components, then the others."""
        down, right = _offsets_from_centre(inputs, self.name)
        height, width = inputs.shape[-2:]
        knots = (self.pixels * (2 * uniforms[:, : 2 * self.knots**2] - 1)).view(-1, 2, self.knots, self.knots)
        down_by, right_by = _field(knots, height, width).unbind(1)
        warped = _resampled(inputs, down + down_by, right + right_by)
        return _sometimes(warped, inputs, uniforms, self.probability)


def _sometimes(warped: Tensor, inputs: Tensor, uniforms: Tensor, probability: float) -> Tensor:
    """Return each image warped with a probability, by the last of its draws, and as it was otherwise."""
    if probability == 1:
        return warped
    return torch.where((uniforms[:, -1] < probability)[:, None, None, None], warped, inputs)


def _field(knots: Tensor, height: int, width: int) -> Tensor:
    """Interpolate values at knots, shape (n, 2, k, k), to (n, 2, height, width).

    The sums are written out knot by knot: a matrix product may round differently for another number of images, and a
    view must not depend on its neighbours.
    """
    count = knots.shape[-1]
    over_rows, over_columns = (_bicubic(count, size).to(knots.device) for size in (height, width))
    in_rows = over_rows[:, 0, None] * knots[..., 0, None, :]
    for j in range(1, count):
        in_rows += over_rows[:, j, None] * knots[..., j, None, :]
    field = in_rows[..., 0, None] * over_columns[:, 0]
    for j in range(1, count):
        field += in_rows[..., j, None] * over_columns[:, j]
    return field


@lru_cache(maxsize=64)
def _bicubic(count: int, size: int) -> Tensor:
    """Weights of ``count`` knots at ``size`` places between the first and the last, shape (size, count)."""
    unit = torch.eye(count)[None, None]
    return F.interpolate(unit, size=(size, count), mode="bicubic", align_corners=True)[0, 0]


def _offsets_from_centre(inputs: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Return every pixel's row, shape (height, 1), and column, shape (1, width), counted from the image's centre."""
    if inputs.dim() != 4 or min(inputs.shape[-2:]) < 2:
        raise ShapeMismatch(
            f"The augmentation {name} changes images.",
            received=f"inputs of shape {tuple(inputs.shape)}",
            expected="(n, channels, height, width), sides of at least 2",
            remedy="leave it out for features",
        )
    height, width = inputs.shape[-2:]
    rows = torch.arange(height, dtype=torch.float32, device=inputs.device) - (height - 1) / 2
    columns = torch.arange(width, dtype=torch.float32, device=inputs.device) - (width - 1) / 2
    return rows[:, None], columns[None, :]


def _resampled(inputs: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read each image at places counted from its centre, shape (n, height, width), zero outside; keep the dtype."""
    height, width = inputs.shape[-2:]
    places = torch.empty(*rows.shape, 2, device=rows.device)
    torch.mul(columns, 2 / (width - 1), out=places[..., 0])
    torch.mul(rows, 2 / (height - 1), out=places[..., 1])
    read = F.grid_sample(inputs.float(), places, mode="bilinear", padding_mode="zeros", align_corners=True)
    return read if inputs.is_floating_point() else read.round_().clamp_(0, 255).to(inputs.dtype)
