"""Augmentations: pure functions of a whole batch of raw inputs and one row of uniform numbers per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from limbeck.errors import (
    InvalidValue,
    ShapeMismatch,
    require_fraction,
    require_not_negative,
    require_positive,
)


class Augmentation(Protocol):
    """A change of raw inputs. A frozen dataclass whose fields are its settings, so that it can be written down."""

    @property
    def name(self) -> str:
        """As it is called in configurations and records."""
        ...

    @property
    def draws(self) -> int:
        """How many uniform numbers it takes per sample."""
        ...

    def __call__(self, inputs: Tensor, uniforms: Tensor, /) -> Tensor:
        """Return changed inputs.

        Args:
            inputs: raw, shape (n, ...), uint8 or float; not changed in place.
            uniforms: float32 in [0, 1), shape (n, draws).
        Returns:
            The same shape and dtype; row i a function of inputs[i] and uniforms[i] alone.
        """
        ...


@dataclass(frozen=True)
class Jitter:
    """Shift each image by up to ``pixels`` in any direction; what comes in from outside is raw 0.

    Both shifts are uniform over the integers -pixels .. pixels.

    Args:
        pixels: the largest shift, at least 1.
    Raises:
        InvalidValue: pixels below 1.
    Example:
        >>> image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
        >>> Jitter(1)(image, torch.tensor([[0.0, 0.5]]))[0, 0]  # down by one, not sideways
        tensor([[0, 0],
                [1, 2]], dtype=torch.uint8)
    """

    pixels: int
    name: ClassVar[str] = "jitter"
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _require_count("pixels", self.pixels)

    def __call__(self, inputs: Tensor, uniforms: Tensor) -> Tensor:
        """Return the shifted images; see :class:`Augmentation`. The draws are the vertical and horizontal shift."""
        return _random_windows(_pad_with_zero(inputs, self.pixels), inputs, uniforms, self.pixels)


@dataclass(frozen=True)
class Crop:
    """Pad each image on all sides and cut a window of the old size out, anywhere.

    Args:
        padding: pixels on each side, at least 1.
        mode: "zero" pads with raw 0, "reflect" mirrors the image without repeating its edge.
    Raises:
        InvalidValue: padding below 1 or another mode.
    Example:
        >>> image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
        >>> Crop(1, "reflect")(image, torch.tensor([[0.0, 0.5]]))[0, 0]
        tensor([[3, 4],
                [1, 2]], dtype=torch.uint8)

    References:
        Zhang et al. 2018, "Deep Mutual Learning", arXiv:1706.00384, section 3.1 (4 px, reflected).
    """

    padding: int
    mode: Literal["zero", "reflect"] = "zero"
    name: ClassVar[str] = "crop"
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _require_count("padding", self.padding)
        if self.mode not in ("zero", "reflect"):
            raise InvalidValue("A crop pads in one of two modes.", received=self.mode, expected="zero or reflect")

    def __call__(self, inputs: Tensor, uniforms: Tensor) -> Tensor:
        """Return the windows; see :class:`Augmentation`. The draws are the top and the left of the window."""
        pad = _pad_with_zero if self.mode == "zero" else _pad_by_reflection
        return _random_windows(pad(inputs, self.padding), inputs, uniforms, self.padding)


@dataclass(frozen=True)
class Flip:
    """Mirror each image left to right with a probability.

    Args:
        probability: in [0, 1].
    Raises:
        InvalidValue: a probability out of range.
    Example:
        >>> Flip()(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([[0.25]]))
        tensor([[[[3, 2, 1]]]])
    """

    probability: float = 0.5
    name: ClassVar[str] = "flip"
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require_fraction("probability", self.probability)

    def __call__(self, inputs: Tensor, uniforms: Tensor) -> Tensor:
        """Return the images, some mirrored; see :class:`Augmentation`."""
        _require_images(inputs, self.name)
        mirrored = uniforms[:, 0] < self.probability
        if inputs.device.type != "cpu":  # no count of what is mirrored, which would wait for the device
            return torch.where(mirrored[:, None, None, None], inputs.flip(-1), inputs)
        positions = mirrored.nonzero()[:, 0]
        return inputs.index_copy(0, positions, inputs.index_select(0, positions).flip(-1))


@dataclass(frozen=True)
class Segments:
    """See each segment of a clip at a frame that (seed, id, view) draws, in place of its middle one.

    The source of the clips draws; here nothing is changed.
    """

    name: ClassVar[str] = "segments"
    draws: ClassVar[int] = 0

    def __call__(self, inputs: Tensor, uniforms: Tensor) -> Tensor:
        """Return the inputs as they are."""
        return inputs


@dataclass(frozen=True)
class Mixup:
    r"""Mix each input with a partner, another sample of the same set, after everything else.

    .. math:: x \leftarrow x + w (x' - x), \qquad w \sim Beta(a, a)

    The partner x' is seen in its own view. Labels are not mixed: a batch carries the partner's label and weight.

    Args:
        concentration: a > 0; small values keep most weights near 0 or 1.
    Raises:
        InvalidValue: a concentration that is not positive.
    Example:
        >>> Mixup(1.0).weights(torch.tensor([0.0, 0.25]))
        tensor([0.0000, 0.2500])

    References:
        Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
    """

    concentration: float
    name: ClassVar[str] = "mixup"

    def __post_init__(self) -> None:
        require_positive("concentration", self.concentration)

    def weights(self, uniforms: Tensor) -> Tensor:
        """Return the partners' weights, float32, shape (n,): the Beta distribution's inverse at ``uniforms`` (n,)."""
        import numpy as np
        from scipy.special import betaincinv  # scipy is slow to import and only needed here

        weights = betaincinv(self.concentration, self.concentration, uniforms.cpu().numpy().astype(np.float64))
        return torch.from_numpy(weights.astype(np.float32)).to(uniforms.device)


def _require_count(name: str, value: int) -> None:
    require_not_negative(name, value)
    if value < 1 or int(value) != value:
        raise InvalidValue(
            f"{name} must be a whole number of at least 1.", received=value, remedy="leave the augmentation out for 0"
        )


def _require_images(inputs: Tensor, name: str) -> None:
    if inputs.dim() != 4:
        raise ShapeMismatch(
            f"The augmentation {name} changes images.",
            received=f"inputs of shape {tuple(inputs.shape)}",
            expected="(n, channels, height, width)",
            remedy="leave it out for features",
        )


def _pad_with_zero(inputs: Tensor, margin: int) -> Tensor:
    """Return the padded images, and an empty one more: room for a run that starts anywhere in the last."""
    _require_images(inputs, "jitter or crop")
    count, channels, height, width = inputs.shape
    padded = inputs.new_zeros(count + 1, channels, height + 2 * margin, width + 2 * margin)
    padded[:count, :, margin : margin + height, margin : margin + width] = inputs
    return padded


def _pad_by_reflection(inputs: Tensor, margin: int) -> Tensor:
    padded = _pad_with_zero(inputs, margin)
    height, width = inputs.shape[-2:]
    if margin >= min(height, width):
        raise InvalidValue(
            "The reflection is wider than the image.",
            received=f"padding {margin}, images of {height}x{width}",
            expected=f"padding < {min(height, width)}",
        )
    far_row, far_column = (
        2 * (margin + height - 1),
        2 * (margin + width - 1),
    )  # twice the last row and column of the image
    for step in range(1, margin + 1):
        padded[:, :, margin - step] = padded[:, :, margin + step]
        row = margin + height - 1 + step
        padded[:, :, row] = padded[:, :, far_row - row]
    for step in range(1, margin + 1):
        padded[..., margin - step] = padded[..., margin + step]
        column = margin + width - 1 + step
        padded[..., column] = padded[..., far_column - column]
    return padded


def _random_windows(padded: Tensor, inputs: Tensor, uniforms: Tensor, margin: int) -> Tensor:
    """Cut a window of the size of ``inputs`` out of each padded image, at (top, left) = floor(u (2 margin + 1)).

    In memory, an image shifted by (top, left) is a run of the padded batch that starts top x width + left pixels later:
    one row of an overlapping view is copied for each image, and the window is the upper left corner of that run.
    """
    count, _, height, width = inputs.shape
    size, line = padded[0].numel(), padded.shape[3]
    corners = (uniforms * (2 * margin + 1)).to(torch.int64).clamp_(max=2 * margin)  # (n, 2)
    starts = torch.arange(0, count * size, size, device=inputs.device)
    starts.add_(corners[:, 0], alpha=line).add_(corners[:, 1])
    runs = padded.as_strided((count * size, size), (1, 1)).index_select(0, starts)  # (n, C (H + 2m) (W + 2m))
    return runs.view(count, *padded.shape[1:])[:, :, :height, :width]
