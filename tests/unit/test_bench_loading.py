"""limbeck bench loading times passes over the same files with the same number of workers."""

from __future__ import annotations

import pytest
import torch

from limbeck.bench import loading
from limbeck.commands.bench import BENCHES, as_text
from limbeck.data import PathTable, Views, load_image_folder


def test_each_number_of_workers_has_its_floor():
    result = loading.run(num_samples=20, num_small_files=40, num_rounds=1)
    for workers in (0, 1, 2):
        ours, floor = (result["seconds"][f"{who}, {workers} workers"]["median"] for who in ("limbeck", "floor"))
        assert result["ratios"][f"limbeck, {workers} workers"] == pytest.approx(ours / floor)
    assert result["small_files"]["num_files"] == 40
    assert "target 1.05" in as_text(result)
    assert "40 small files" in as_text(result)
    assert BENCHES["loading"] is loading.run


def test_the_floor_reads_the_same_pixels(tmp_path):
    loading._write_images(tmp_path, 20, 16, ".jpg", seed=0)
    samples = load_image_folder(tmp_path, memory_limit_bytes=0).train
    rival = loading._Folder(tmp_path)
    batch = Views().batch(samples, torch.arange(20), view=None)
    for place in range(20):
        image, label = rival[place]
        assert torch.allclose(image, batch.inputs[place], atol=1e-7)
        assert label == int(batch.labels[place])


def test_a_table_of_paths_gives_them_back():
    paths = ["a/ä.png", "b/c/d.jpg", "", "x"]
    table = PathTable(paths, root="/data/")
    assert [table.relative(place) for place in range(4)] == paths
    assert list(table) == [f"/data/{path}" for path in paths]
    assert table[1:3] == ["/data/b/c/d.jpg", "/data/"]
    assert table[-1] == "/data/x"
    with pytest.raises(IndexError):
        table[4]
    assert list(PathTable(["/abs/x.png"])) == ["/abs/x.png"]
