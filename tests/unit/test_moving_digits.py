"""Clips that are made here, and words of GRID: seeded, encoded, cut by their times."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from limbeck.data import load_data
from limbeck.data.video import moving_digits
from limbeck.data.video.catalog import CLIP_SETS, ClipOptions, is_clips, load_clips
from limbeck.data.video.grid import LEAST_FRAMES, list_grid_words, word_span
from limbeck.data.video.moving_digits import MOVES, MovingDigits, clip_frames, write_moving_digits
from limbeck.errors import DataError, InvalidValue, UnknownName

GRID = Path(os.environ.get("LIMBECK_DATA", "")) / "grid-s1-mouth.tar.gz"

needs_grid = pytest.mark.skipif(
    not os.environ.get("LIMBECK_DATA") or not GRID.is_file(), reason="LIMBECK_DATA names no folder with GRID"
)
DIGIT = np.zeros((8, 8), dtype=np.float32)
DIGIT[1:7, 3:5] = 1


@pytest.mark.parametrize("move", MOVES)
def test_a_clip_is_a_function_of_its_generator(move):
    one, two = (clip_frames(DIGIT, move, np.random.default_rng(3)) for _ in range(2))
    assert one.shape == (16, 64, 64, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, two)
    assert not np.array_equal(one, clip_frames(DIGIT, move, np.random.default_rng(4)))


def test_the_first_frame_does_not_tell_the_way_to_move():
    """Place and size of the bright pixels at the beginning are alike over ways; at the end they differ."""

    def spread(move, frame):
        found = []
        for seed in range(16):
            picture = clip_frames(np.ones((8, 8), dtype=np.float32), move, np.random.default_rng(seed))[frame]
            bright = picture.min(axis=2) > 140
            found.append([bright.sum(), np.abs(np.nonzero(bright)[1].mean() - 31.5)])
        return np.mean(found, axis=0)

    first = np.array([spread(move, 0) for move in MOVES])
    last = np.array([spread(move, 15) for move in MOVES])
    assert np.ptp(first[:, 0]) < 0.25 * first[:, 0].mean()
    assert np.ptp(first[:, 1]) < 2
    assert last[MOVES.index("slides"), 1] > 2 * first[:, 1].mean()


def test_clips_are_written_once_by_class_and_split(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(moving_digits, "DIGITS", (4, 6))
    settings = MovingDigits(1, 1, 1, seed=5)
    root = write_moving_digits(tmp_path / settings.folder_name, settings)
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.mp4"))
    assert len(files) == 3 * 2 * len(MOVES)
    assert "train/6 turns/0000.mp4" in files
    contents = [path.read_bytes() for path in sorted(root.rglob("*.mp4"))]
    again = write_moving_digits(tmp_path / "again", settings)
    assert [path.read_bytes() for path in sorted(again.rglob("*.mp4"))] == contents
    (root / files[0]).unlink()
    write_moving_digits(root, settings)  # what is missing is made again
    assert [path.read_bytes() for path in sorted(root.rglob("*.mp4"))] == contents
    assert "is missing): it is made again" in caplog.text
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_names_of_clips_and_what_is_none():
    assert is_clips("clips:x")
    assert is_clips("moving-digits")
    assert not is_clips("mnist")
    assert {f"grid-{word}" for word in ("colour", "digit", "letter", "adverb")} <= set(CLIP_SETS)
    with pytest.raises(DataError, match="no folder after clips"):
        load_clips("clips:", ClipOptions())
    with pytest.raises(UnknownName, match="moving-digit"):
        load_data("moving-digit")
    with pytest.raises(InvalidValue, match="num_test"):
        MovingDigits(num_test=0)


def test_words_are_cut_by_their_times_and_short_ones_widened():
    lines = ["0 10000 sil", "10000 16000 bin", "16000 17000 sp", "17000 37000 blue", "37000 75000 sil"]
    assert word_span(lines, 1) == (17 / 25, 37 / 25)
    start, end = word_span(lines, 0)
    assert (end - start) * 25 == pytest.approx(LEAST_FRAMES)
    assert (start + end) / 2 * 25 == pytest.approx(13)
    with pytest.raises(DataError, match="too few words"):
        word_span(lines, 2)


@needs_grid
def test_grid_has_a_thousand_words_of_each_kind():
    for word, count in (("colour", 4), ("digit", 10), ("letter", 25), ("adverb", 4)):
        listed = list_grid_words(word)
        assert len(listed.clips["train"]) == 1000
        assert len(listed.class_names) == count
        sizes = {listed.labels["train"].count(label) for label in range(count)}
        assert sizes == {1000 // count}


def test_grid_that_is_nowhere_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_DATA", str(tmp_path))
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="grid is not here"):
        list_grid_words("digit")
