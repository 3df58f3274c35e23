"""Changes of inputs with several parts: every picture among them is moved alike, and vectors are turned with it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from limbeck.data.augmentations import Augmentation, Crop, Flip, Jitter, Segments
from limbeck.data.samples import Samples
from limbeck.errors import DataError, ShapeMismatch
from limbeck.inputs import Inputs, describe

VECTORS = "motion"  # the part whose channels are (right, down)


def changed_alike(raw: Inputs, change: Augmentation, uniforms: Tensor) -> Inputs:
    """Return inputs with one change made to every picture among their parts, by the same draws.

    Pictures are parts of shape (n, channels, height, width) or (n, time, channels, height, width), all of one height
    and width; other parts stay what they are. Where a part called ``motion`` is mirrored, its vectors to the right turn
    left.

    Args:
        raw: a tensor, or a mapping of tensors.
        change: of mappings: jitter, crop, flip or segments.
        uniforms: float32, shape (n, draws).
    Raises:
        DataError: a change that would have to turn vectors, or inputs that are no mapping of tensors.
        ShapeMismatch: pictures of different sizes.
    Example:
        >>> import torch
        >>> clip = {"motion": torch.tensor([[[[3, 0]], [[1, 2]]]], dtype=torch.int8)}  # (1, 2, 1, 2)
        >>> changed_alike(clip, Flip(1.0), torch.zeros(1, 1))["motion"]
        tensor([[[[ 0, -3]],
        <BLANKLINE>
                 [[ 2,  1]]]], dtype=torch.int8)
    """
    if isinstance(raw, Tensor):
        return change(raw, uniforms)
    if isinstance(change, Segments):
        return raw
    if not isinstance(raw, Mapping) or not all(isinstance(part, Tensor) for part in raw.values()):
        raise DataError(
            "Augmentations change inputs of one tensor, or the pictures of a mapping.",
            received=describe(raw),
            expected="images, features, or a mapping of tensors",
            remedy="give a transform of your own: Views(transform=Transform(function))",
        )
    if not isinstance(change, Jitter | Crop | Flip):
        raise DataError(
            f"The augmentation {change.name} does not move several pictures alike.",
            received=describe(raw),
            expected="jitter, crop, flip or segments",
            remedy="leave it out, or give a transform of your own: Views(transform=Transform(function))",
        )
    parts: dict[str, Tensor] = {name: part for name, part in raw.items() if isinstance(part, Tensor)}
    pictures = [name for name, part in parts.items() if part.dim() >= 4]
    if len({parts[name].shape[-2:] for name in pictures}) > 1:
        raise ShapeMismatch(
            "The pictures of an input are of different sizes.",
            received=describe(raw),
            expected="one height and width, so that all are moved alike",
        )
    moved = dict(parts)
    for name in pictures:
        moved[name] = _moved(parts[name], change, uniforms)
        if name == VECTORS and isinstance(change, Flip):
            moved[name] = _turned(moved[name], uniforms[:, 0] < change.probability)
    return moved


def _moved(part: Tensor, change: Augmentation, uniforms: Tensor) -> Tensor:
    """Change a part as pictures of many channels; an empty batch stays empty."""
    flat = part.reshape(len(part), -1, *part.shape[-2:])
    return change(flat, uniforms).reshape(part.shape)


def _turned(vectors: Tensor, mirrored: Tensor) -> Tensor:
    """Return vectors (n, ..., 2, height, width) whose first component is negated where the picture was mirrored."""
    rows = mirrored.nonzero()[:, 0]
    chosen = vectors.index_select(0, rows)
    chosen[..., 0, :, :] = -chosen[..., 0, :, :]
    return vectors.index_copy(0, rows, chosen)


def draws_segments(changes: tuple[object, ...]) -> bool:
    """Whether views draw the frames of a clip's segments."""
    return any(isinstance(change, Segments) for change in changes)


def check_segments(samples: Samples) -> None:
    """Raise DataError unless the samples are clips with segments to draw."""
    if not getattr(samples.inputs, "draws_segments", False):
        raise DataError(
            f"{samples.name} has no segments to draw.",
            received="the augmentation segments, and samples that are no clips",
            expected="a folder of clips: clips:FOLDER",
            remedy="leave the augmentation out",
        )
