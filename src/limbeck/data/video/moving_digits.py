"""Clips made on the spot: handwritten digits that slide, bounce, turn or grow over moving, textured backgrounds."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from limbeck.data.video.encoding import write_clip
from limbeck.data.video.vectors import Array
from limbeck.errors import OutputError, require_positive
from limbeck.records import list_files, partial_path, remove_stale, tell_remade, write_listing
from limbeck.records.listing import discard, wrong_with

DIGITS = (0, 1, 4, 6, 8)
MOVES = ("slides", "bounces", "turns", "grows")
FRAME_SIZE, NUM_FRAMES = 64, 16  # pixels a side; one group of an I-frame and P-frames
DIGIT_SIZE = 30.0  # pixels
_VERSION = 1  # of what a seed gives


@dataclass(frozen=True)
class MovingDigits:
    """How many clips of moving digits there are.

    A class is a digit and a way to move: "6 turns". The first frame shows the digit and not its way, vectors and
    residuals show the way. The digit images are those of scikit-learn; none is in two splits.
    Textures, colours, speeds, directions, the background's drift and the shaking of the camera are drawn from the seed.

    Args:
        num_train: clips a class.
        num_validation: likewise.
        num_test: likewise.
        seed: any integer.
    Raises:
        InvalidValue: a number below 1.
    """

    num_train: int = 60
    num_validation: int = 25
    num_test: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_train", "num_validation", "num_test"):
            require_positive(name, getattr(self, name))

    @property
    def folder_name(self) -> str:
        """Name of a folder for the clips, which names everything that decides them."""
        counts = f"{self.num_train}-{self.num_validation}-{self.num_test}"
        return f"moving-digits-{_VERSION}-{counts}-seed{self.seed}"


def write_moving_digits(folder: Path, settings: MovingDigits) -> Path:
    """Write the clips, encoded by x264, as ``folder/{train,validation,test}/<class>/NNNN.mp4``; once.

    Args:
        folder: made by rename when all is written; one that is there is left alone where all of its files are as they
            were written, and made again otherwise.
        settings: how many, and the seed.
    Raises:
        OutputError: the folder cannot be written.
        MissingPackage: PyAV is not installed.
    """
    if folder.is_dir():
        if (wrong := wrong_with(folder)) is None:
            return folder
        if wrong:
            tell_remade(folder, why=f"damaged ({wrong})")
        discard(folder)
    remove_stale(folder.parent, folder.name)
    partial = partial_path(folder)
    images = _digit_images()
    counts = {"train": settings.num_train, "validation": settings.num_validation, "test": settings.num_test}
    try:
        for place, (split, count) in enumerate(counts.items()):
            for label, (digit, move) in enumerate((digit, move) for digit in DIGITS for move in MOVES):
                inner = partial / split / f"{digit} {move}"
                inner.mkdir(parents=True)
                for number in range(count):
                    generator = np.random.default_rng([settings.seed, _VERSION, place, label, number])
                    pool = images[split][digit]
                    frames = clip_frames(pool[int(generator.integers(len(pool)))], move, generator)
                    write_clip(inner / f"{number:04d}.mp4", frames, group_size=NUM_FRAMES)
        write_listing(folder, list_files(partial))
        os.rename(partial, folder)
    except OSError as error:
        if not folder.is_dir():  # otherwise another process was first
            raise OutputError(
                f"Cannot write clips to {folder}.", received=error.strerror or str(error), remedy="set LIMBECK_CACHE"
            ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def clip_frames(digit: Array, move: str, generator: np.random.Generator) -> Array:
    """Return the frames of one clip.

    Args:
        digit: float32 in [0, 1], shape (8, 8).
        move: one of ``MOVES``.
        generator: of everything that is drawn.
    Returns:
        uint8, RGB, shape (frames, height, width, 3).
    """
    steps = generator.choice([-1.0, 0.0, 1.0], (NUM_FRAMES, 2), p=[0.15, 0.7, 0.15])
    shake = np.cumsum(steps, axis=0).clip(-2, 2).astype(np.float32)
    centre, angle, scale = _course(move, generator)
    alpha = _drawn(digit, centre + shake, angle, scale)[..., None]  # (frames, height, width, 1)
    background = _background(shake, generator)
    colour = generator.uniform(150, 255, 3).astype(np.float32)
    frames = background + (colour - background) * alpha
    frames += 2 * generator.standard_normal(frames.shape, dtype=np.float32)
    frames.clip(0, 255, out=frames)
    clipped: Array = np.rint(frames).astype(np.uint8)
    return clipped


def _course(move: str, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """Centre (right, down) in pixels, angle in radians and relative size of the digit in each frame.

    Every way to move begins with the same spread of places, angles and sizes: the first frame tells nothing of it.
    """
    time = np.arange(NUM_FRAMES, dtype=np.float32)
    start = FRAME_SIZE / 2 + generator.uniform(-8, 8, 2)
    centre = np.tile(start.astype(np.float32), (NUM_FRAMES, 1))
    angle = np.full(NUM_FRAMES, generator.uniform(-0.3, 0.3), dtype=np.float32)
    scale = np.full(NUM_FRAMES, np.exp(generator.uniform(-0.25, 0.25)), dtype=np.float32)
    way = float(generator.choice([-1.0, 1.0]))
    if move == "slides":
        centre[:, 0] += way * generator.uniform(1.0, 1.6) * time
    elif move == "bounces":
        centre[:, 1] += way * generator.uniform(12, 18) * np.abs(np.sin(math.pi * time / generator.uniform(5, 8)))
    elif move == "turns":
        angle += way * generator.uniform(0.10, 0.18) * time
    else:
        scale *= np.exp(way * generator.uniform(0.03, 0.05) * time)
    return centre, angle, scale


def _drawn(digit: Array, centre: Array, angle: Array, scale: Array) -> Array:
    """Opacity of the digit in each frame, in [0, 1], shape (frames, height, width): read bilinearly from 8 x 8."""
    place = np.arange(FRAME_SIZE, dtype=np.float32)
    right = place[None, None, :] - centre[:, 0, None, None]
    down = place[None, :, None] - centre[:, 1, None, None]
    cosine, sine = (np.cos(angle)[:, None, None], np.sin(angle)[:, None, None])
    half = (DIGIT_SIZE / 2 * scale)[:, None, None]
    grid = np.stack([(cosine * right + sine * down) / half, (-sine * right + cosine * down) / half], axis=-1)
    image = F.interpolate(torch.from_numpy(digit)[None, None], size=32, mode="bicubic", align_corners=False)
    read = F.grid_sample(
        image.expand(len(centre), -1, -1, -1),
        torch.from_numpy(np.ascontiguousarray(grid, dtype=np.float32)),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    opacity: Array = read[:, 0].clamp(0, 1).numpy()
    return opacity


def _background(shake: Array, generator: np.random.Generator) -> Array:
    """A smooth texture that drifts, and shakes with the camera: float32, shape (frames, height, width, 3)."""
    margin = 40
    side = FRAME_SIZE + 2 * margin
    coarse = torch.from_numpy(generator.uniform(0, 1, (1, 3, side // 9, side // 9)).astype(np.float32))
    texture = F.interpolate(coarse, size=side, mode="bicubic", align_corners=False)[0].permute(1, 2, 0).numpy()
    texture = 20 + 110 * np.clip(texture, 0, 1) * generator.uniform(0.5, 1, 3).astype(np.float32)
    drift = generator.uniform(-0.4, 0.4, 2) * (np.arange(NUM_FRAMES)[:, None] - NUM_FRAMES / 2)
    places = margin + np.rint(drift - shake).astype(int)  # content moves with the shake, so the window against it
    frames: Array = np.stack([texture[y : y + FRAME_SIZE, x : x + FRAME_SIZE] for x, y in places.tolist()])
    return frames


def _digit_images() -> dict[str, dict[int, Array]]:
    """Images of each digit by split, from scikit-learn's digits; no image is in two splits."""
    from sklearn.datasets import load_digits  # slow to import

    bunch: Any = load_digits()
    order = np.random.default_rng([0, 8]).permutation(len(bunch.target))  # the same for every seed
    bounds = {"train": (0.0, 0.6), "validation": (0.6, 0.75), "test": (0.75, 1.0)}
    found: dict[str, dict[int, Array]] = {}
    for split, (low, high) in bounds.items():
        part = order[int(low * len(order)) : int(high * len(order))]
        found[split] = {
            digit: (bunch.images[part[bunch.target[part] == digit]] / 16).astype(np.float32) for digit in DIGITS
        }
    return found
