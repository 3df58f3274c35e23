"""The picture of a plan: classes side by side with the set they vary most with."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from limbeck.errors import InvalidValue, LimbeckError, OutputError, ShapeMismatch, UnknownName
from limbeck.reports import save_class_sets_picture
from limbeck.reports.style import PALETTE

SETS = [[0, 2, 4], [1, 3, 4]]  # 4 is in both, 5 in none
NAMES = ["ant", "bee", "cat", "dog", "$elk$", "a name that is much too long"]


def covariance() -> np.ndarray:
    values = np.full((6, 6), -0.1)
    for one, other, value in ((0, 2, 0.8), (1, 3, 0.7), (4, 1, 0.5), (4, 3, 0.4), (4, 0, 0.2)):
        values[one, other] = values[other, one] = value
    np.fill_diagonal(values, 1.0)
    return values


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_file_each_time(tmp_path: Path, kind: str) -> None:
    paths = [tmp_path / f"{name}.{kind}" for name in "ab"]
    for path in paths:
        assert save_class_sets_picture(path, covariance(), SETS, class_names=NAMES) == [0, 2, 1, 3, 4, 5]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not plt.get_fignums()


def test_cells_of_a_large_matrix_are_seen(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    outputs = generator.normal(size=(400, 200))
    values = np.cov(outputs.T)
    sets = [list(range(k, 200, 10)) for k in range(10)]
    order = save_class_sets_picture(tmp_path / "large.png", values, sets)
    assert sorted(order) == list(range(200))
    pixels = plt.imread(tmp_path / "large.png")
    assert min(pixels.shape[:2]) > 1200, "several pixels for a cell"
    far = np.abs(pixels[..., :3] - np.array([0.0, 0x72, 0xB2]) / 255).max(axis=2)
    assert (far < 0.02).any(), "the strongest covariance has the full blue"


def test_text_and_colours(tmp_path: Path) -> None:
    save_class_sets_picture(tmp_path / "plan.svg", covariance(), SETS, class_names=NAMES, title="Plan of two")
    text = (tmp_path / "plan.svg").read_text()
    for word in ("Plan of two", "$elk$", "a name that is …", "specialist", "covariance", "8.0e−01"):
        assert word in text
    assert {"#d55e00", "#0072b2"} <= set(PALETTE)


@pytest.mark.parametrize(
    ("values", "sets", "kind", "words"),
    [
        (np.zeros((2, 3)), [[0]], ShapeMismatch, "square"),
        (np.full((2, 2), np.nan), [[0]], InvalidValue, "NaN"),
        (np.eye(2), [[0, 2]], InvalidValue, "no class 2"),
        (np.eye(2), [], InvalidValue, "no class sets"),
    ],
)
def test_what_cannot_be_drawn(
    tmp_path: Path, values: np.ndarray, sets: list[list[int]], kind: type[LimbeckError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        save_class_sets_picture(tmp_path / "plan.png", values, sets)


def test_names_and_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ShapeMismatch, match="one name per class"):
        save_class_sets_picture(tmp_path / "plan.png", np.eye(2), [[0]], class_names=["ant"])
    with pytest.raises(UnknownName, match="png"):
        save_class_sets_picture(tmp_path / "plan.jpeg", np.eye(2), [[0]])
    with pytest.raises(OutputError):
        save_class_sets_picture(tmp_path / "missing" / "plan.png", np.eye(2), [[0]])


def test_classes_that_never_vary(tmp_path: Path) -> None:
    assert save_class_sets_picture(tmp_path / "flat.png", np.zeros((3, 3)), [[1], [2]]) == [1, 2, 0]
