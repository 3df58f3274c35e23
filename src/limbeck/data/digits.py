"""The handwritten digits that come with scikit-learn."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.data.samples import Samples
from limbeck.data.splits import Splits, hold_out, renamed

FILE = "datasets/data/digits.csv.gz"  # 64 values of 0 .. 16 and the label a line


def load_digits() -> Splits:
    """Return 8x8 images: values 0 .. 16 become 0 .. 255; a fixed stratified fifth is the test split.

    The file is read where it lies: importing scikit-learn for it would take a second.
    """
    rows = _rows()
    images = torch.from_numpy((rows[:, :-1].reshape(-1, 8, 8) * (255 / 16) + 0.5).astype(np.uint8))[:, None]
    labels = torch.from_numpy(rows[:, -1].astype(np.int64))
    whole = Samples("digits", torch.arange(len(images)), images, labels, tuple("0123456789"))
    train, test = hold_out(whole, fraction=0.2, seed=0)
    return renamed(Splits(train, None, test), "digits")


def _rows() -> np.ndarray[Any, Any]:
    package = importlib.util.find_spec("sklearn")
    places = package.submodule_search_locations if package is not None else None
    for path in [Path(place) / FILE for place in places or ()]:
        if path.is_file():
            with gzip.open(path, "rt") as lines:
                rows: np.ndarray[Any, Any] = np.loadtxt(lines, delimiter=",")
                return rows
    from sklearn.datasets import load_digits  # a release that keeps them elsewhere

    bunch = load_digits()
    return np.concatenate([bunch.data, bunch.target[:, None]], axis=1)
