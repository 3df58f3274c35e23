"""Settings that suit a data set: the ground that a configuration file and flags are laid over. One explicit table."""

from __future__ import annotations

from importlib.resources import files

NAMES = ("digits", "mnist", "cifar10", "images", "clips", "features")


def preset_for(data: str, *, is_image: bool, is_clips: bool = False) -> str:
    """Return the preset's name for a data set: its own, or the one for images, clips or feature vectors.

    Example:
        >>> preset_for("mnist", is_image=True), preset_for("photos/", is_image=True)
        ('mnist', 'images')
    """
    return data if data in NAMES else "clips" if is_clips else "images" if is_image else "features"


def read_preset(name: str) -> str:
    """Return a preset's YAML text."""
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
