"""Augmentations from words and mappings, as configurations and the command line give them, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from limbeck.data.augmentations import Augmentation, Crop, Flip, Jitter, Mixup, Segments
from limbeck.data.warps import Affine, Elastic
from limbeck.errors import ConfigError, InvalidValue, unknown_name

_KNOWN: dict[str, tuple[Callable[..., Any], dict[str, Callable[[str], Any]]]] = {
    "jitter": (Jitter, {"pixels": int}),
    "crop": (Crop, {"padding": int, "mode": str}),
    "flip": (Flip, {"probability": float}),
    "segments": (Segments, {}),
    "mixup": (Mixup, {"concentration": float}),
    "affine": (Affine, {"degrees": float, "scale": float, "shear": float, "probability": float}),
    "elastic": (Elastic, {"pixels": float, "knots": int, "probability": float}),
}


def augmentations_from(spec: Sequence[str | Mapping[str, Any]]) -> tuple[Augmentation | Mixup, ...]:
    """Build augmentations from words, as configurations and the command line give them.

    Args:
        spec: each "name" or "name:setting:setting", e.g. "jitter:2", "crop:4:reflect", "flip", "mixup:0.2",
            "affine:10:0.1", "elastic:2:4", "segments" of clips; or a mapping with "name" and the settings by name, as
            ``describe_augmentation`` writes it.
    Returns:
        The augmentations, in order.
    Raises:
        UnknownName: a name that is none of jitter, crop, flip, segments, mixup, affine, elastic.
        ConfigError: settings missing, too many, unknown, or not numbers.
        InvalidValue: a setting out of range.
    Example:
        >>> augmentations_from(["jitter:2", {"name": "crop", "padding": 4, "mode": "reflect"}])
        (Jitter(pixels=2), Crop(padding=4, mode='reflect'))
    """
    return tuple(_augmentation_from(item) for item in spec)


def describe_augmentation(augmentation: Augmentation | Mixup) -> dict[str, Any]:
    """Return name and settings, as JSON can hold them.

    Example:
        >>> describe_augmentation(Jitter(2))
        {'name': 'jitter', 'pixels': 2}
    """
    if not dataclasses.is_dataclass(augmentation) or isinstance(augmentation, type):
        raise InvalidValue(
            "An augmentation has settings that cannot be written down.",
            received=type(augmentation).__name__,
            expected="a frozen dataclass whose fields are its settings",
        )
    return {"name": augmentation.name, **dataclasses.asdict(augmentation)}


def _augmentation_from(item: str | Mapping[str, Any]) -> Augmentation | Mixup:
    if isinstance(item, str):
        name, *words = item.split(":")
    else:
        name, words = str(item.get("name", "")), []
    if name not in _KNOWN:
        raise unknown_name("augmentation", name, _KNOWN)
    build, fields = _KNOWN[name]
    form = f'"{name}' + "".join(f":{field.upper()}" for field in fields) + '"'
    try:
        if isinstance(item, str):
            if len(words) > len(fields):
                raise TypeError("too many settings")
            settings = {field: read(word) for (field, read), word in zip(fields.items(), words, strict=False)}
        else:
            settings = {key: value for key, value in item.items() if key != "name"}
        augmentation: Augmentation | Mixup = build(**settings)
    except InvalidValue:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The augmentation {name} has wrong settings.", received=item, expected=form) from error
    return augmentation
