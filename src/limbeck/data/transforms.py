"""A user's own transform of one sample, replayed exactly for every view."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.data.callables import describe_callable
from limbeck.data.random_state import replayed_random_state, sample_seeds
from limbeck.errors import DataError, InvalidValue, LimbeckError
from limbeck.inputs import Inputs

Takes = Literal["pil", "array", "tensor"]


class Transform:
    """A callable of one sample, such as a torchvision, timm or albumentations pipeline.

    Python's, NumPy's and torch's random state are set from (seed, id, view) around each call and put back after it,
    and a pipeline that keeps a generator of its own (albumentations) is seeded with ``set_random_seed``. So view v of
    a sample is the same whenever, wherever and however often it is made. The clean view (None) is drawn under a state
    of its own; give ``clean`` where evaluation needs another pipeline.

    Args:
        function: takes one sample and returns a tensor, an array, a PIL image or a mapping of them; None where the
            random transforms are inside the data set itself, which is then read under the random state of the view.
        takes: what the function is called with: a "pil" image, an "array" (H, W, C) or (...), or a "tensor"
            (C, H, W). By default an array for albumentations, whose pictures come back as (H, W, C) and are turned;
            for others a PIL image where the source has them, else a tensor.
        clean: the pipeline of the clean view; by default ``function``, drawn once for all.
        name: identifies the function where its content cannot be read, and in place of it: change the name whenever
            the function changes.
    Raises:
        InvalidValue: a function whose content cannot be read, without a name.
    Example:
        >>> noise = Transform(lambda x: x + torch.rand(2), takes="tensor", name="noise 1")
        >>> images, ids = [torch.zeros(2), torch.zeros(2)], torch.tensor([7, 9])
        >>> first = noise.apply(images, ids, seed=0, view=3)
        >>> torch.equal(first[1:], noise.apply(images[1:], ids[1:], seed=0, view=3))
        True
    """

    def __init__(
        self,
        function: Callable[..., Any] | None,
        *,
        takes: Takes | None = None,
        clean: Callable[..., Any] | None = None,
        name: str | None = None,
    ) -> None:
        if takes not in (None, "pil", "array", "tensor"):
            raise InvalidValue(
                "A transform takes a sample in one of three forms.", received=takes, expected="pil, array or tensor"
            )
        self.function, self.clean, self.name = function, clean, name
        self.takes = "array" if takes is None and _is_albumentations(function) else takes
        self._is_fixed = False
        if function is None and name is None:
            raise InvalidValue(
                "Transforms inside a data set cannot be told from each other.",
                received="Transform(None) without a name",
                remedy='name them: Transform(None, name="my augmentation 1"), and change the name with the transforms',
            )
        self.identity = (
            f"name {name}"
            if name is not None
            else " | ".join(describe_callable(one) for one in (function, clean) if one is not None)
        )

    @property
    def is_fixed(self) -> bool:
        """Whether every view is the clean one."""
        return self._is_fixed

    def fixed(self) -> Transform:
        """Return the transform whose every view is the clean one."""
        other = copy.copy(self)
        other._is_fixed = True
        return other

    def describe(self) -> dict[str, Any]:
        """Return what identifies the transform, as JSON can hold it."""
        described = {"name": self.name or _short(self.function), "takes": self.takes, "fixed": self._is_fixed}
        return {**described, "fingerprint": hashlib.sha256(f"{self.takes} {self.identity}".encode()).hexdigest()}

    def views(self, items: Sequence[Any], ids: Tensor, *, seed: int, view: int | None) -> list[Any]:
        """Return one view of each sample, as the function returns it.

        Args:
            items: n raw samples.
            ids: int64, shape (n,).
            seed: of the views.
            view: which view; None for the clean one.
        Raises:
            DataError: the function raised.
        """
        function = self.clean if view is None and self.clean is not None else self.function
        assert function is not None, "transforms inside a data set are applied by it"
        seeds = sample_seeds(ids, seed=seed, view=view)
        results = []
        with replayed_random_state() as set_to:
            for item, sample_id, number in zip(items, ids.tolist(), seeds, strict=True):
                set_to(number)
                _seed_own_generators(function, number)
                results.append(_call(function, item, self.takes, sample_id))
        return results

    def apply(self, items: Sequence[Any], ids: Tensor, *, seed: int, view: int | None) -> Inputs:
        """Return the transformed samples as one batch; the arguments are those of :meth:`views`.

        Raises:
            DataError: the function raised, or returned something else than numbers of one shape.
        """
        return as_tensors(self.views(items, ids, seed=seed, view=view), ids)


def as_tensors(items: Sequence[Any], ids: Tensor) -> Inputs:
    """Return samples as a transform returned them (tensors, arrays, PIL images, mappings) as one batch.

    Raises:
        DataError: something else, or different shapes.
    """
    try:
        tensors = [_as_tensor(item) for item in items]
    except (TypeError, ValueError) as error:
        raise DataError(
            "A transform returned something that is no input.",
            received=type(items[0]).__name__,
            expected="a tensor, an array, a PIL image or a mapping of them",
        ) from error
    return stack_items(tensors, ids.tolist())


def stack_items(items: Sequence[Inputs], ids: Sequence[int]) -> Inputs:
    """Return single samples stacked into a batch.

    Raises:
        DataError: samples of different structure or shape.
    """
    first = items[0]
    if isinstance(first, Tensor):
        for item, sample_id in zip(items, ids, strict=True):
            shape = tuple(getattr(item, "shape", ()))
            if shape != tuple(first.shape):
                raise DataError(
                    "Transformed samples have different shapes.",
                    received=f"{tuple(first.shape)} (id {ids[0]}), {shape} (id {sample_id})",
                    expected="one shape",
                    remedy="end the pipeline with a resize or a crop",
                )
        return torch.stack(list(items))  # type: ignore[arg-type]
    if isinstance(first, Mapping):
        return {name: stack_items([item[name] for item in items], ids) for name in first}  # type: ignore[index,call-overload]
    return tuple(stack_items([item[place] for item in items], ids) for place in range(len(first)))  # type: ignore[index]


def _call(function: Callable[..., Any], item: Any, takes: Takes | None, sample_id: int) -> Any:
    try:
        given = _in_form(item, takes)
        keywords = _is_albumentations(function)
        output = function(image=given) if keywords else function(given)
        return _channels_first(output["image"]) if keywords else output
    except LimbeckError:
        raise
    except Exception as error:
        raise DataError(
            f"The transform failed on the sample with id {sample_id}.",
            received=f"{type(error).__name__}: {error}",
            expected="one sample in, numbers of one shape out",
            remedy=f"see the cause above; it was called with {_what(item, takes)} (takes= says which form)",
        ) from error


def _in_form(item: Any, takes: Takes | None) -> Any:
    is_picture = hasattr(item, "convert") and hasattr(item, "mode")
    if takes is None or (takes == "pil" and is_picture) or (takes == "tensor" and isinstance(item, Tensor)):
        return item
    if takes == "tensor":
        pixels = np.array(item)
        return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())
    array = item.numpy() if isinstance(item, Tensor) else np.array(item)
    if isinstance(item, Tensor) and array.ndim == 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if takes == "array":
        return np.ascontiguousarray(array)
    from PIL import Image

    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _as_tensor(output: Any) -> Inputs:
    if isinstance(output, Tensor):
        return output.as_subclass(Tensor)  # torchvision's tv_tensors among them
    if isinstance(output, Mapping):
        return {str(name): _as_tensor(part) for name, part in output.items()}
    if isinstance(output, tuple):
        return tuple(_as_tensor(part) for part in output)
    array = np.array(output)
    tensor = torch.from_numpy(array)
    is_picture = array.dtype == np.uint8 and array.ndim in (2, 3)
    if not is_picture:
        return tensor
    return tensor[None] if array.ndim == 2 else tensor.permute(2, 0, 1)


def _channels_first(image: Any) -> Any:
    is_array = isinstance(image, np.ndarray) and image.ndim == 3
    return np.ascontiguousarray(image.transpose(2, 0, 1)) if is_array and image.dtype != np.uint8 else image


def _is_albumentations(function: Any) -> bool:
    return type(function).__module__.split(".")[0] in ("albumentations", "albumentationsx")


def _seed_own_generators(function: Any, number: int) -> None:
    reseed = getattr(function, "set_random_seed", None)
    if callable(reseed):
        reseed(number & 0x7FFFFFFF)


def _what(item: Any, takes: Takes | None) -> str:
    return f"takes={takes!r}" if takes else type(item).__name__


def _short(function: Any) -> str:
    if function is None:
        return "inside the data set"
    return str(getattr(function, "__qualname__", type(function).__name__))
