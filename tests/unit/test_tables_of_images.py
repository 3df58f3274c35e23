"""Parquet and Arrow files that do not fit: images by row from a mapped file, and what is refused."""

from __future__ import annotations

import warnings

import pytest
import torch
from shard_files import picture, png

from limbeck.data import ReadSettings, Views, as_samples, from_arrays, iterate_batches, load_data
from limbeck.data.image_inputs import ImageSettings
from limbeck.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore")
NAMES = ["ant", "bee", "cat"]


@pytest.fixture(scope="module")
def datasets():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, datasets):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def on_demand(monkeypatch):
    monkeypatch.setattr(from_arrays, "ImageSettings", lambda size: ImageSettings(size, 0))


def images(datasets, start: int, count: int, **settings):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    numbers = range(start, start + count)
    columns = {
        "image": [{"bytes": png(number, **settings), "path": f"{number}.png"} for number in numbers],
        "label": [number % 3 for number in numbers],
    }
    return datasets.Dataset.from_dict(columns, features=features)


def plain_table(path, rows):
    """A Parquet file that nobody's library has described."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def expected(numbers):
    return torch.stack([torch.from_numpy(picture(number)).permute(2, 0, 1) for number in numbers])


def test_parquet_files_with_splits(datasets, tmp_path, on_demand):
    images(datasets, 0, 30).to_parquet(tmp_path / "p" / "train-00000-of-00002.parquet")
    images(datasets, 30, 30).to_parquet(tmp_path / "p" / "train-00001-of-00002.parquet")
    images(datasets, 60, 12).to_parquet(tmp_path / "p" / "test-00000-of-00001.parquet")
    splits = load_data(f"parquet:{tmp_path}/p", validation_fraction=0)
    assert (len(splits.train), len(splits.test), splits.train.class_names) == (60, 12, tuple(NAMES))
    assert splits.train.labels.tolist() == [number % 3 for number in range(60)]
    assert not splits.train.in_memory
    asked = torch.tensor([45, 2, 59])
    assert splits.train.fetch(splits.train.positions_of(splits.train.ids[asked])).equal(expected([45, 2, 59]))


def test_a_table_is_mapped_and_not_copied(datasets, tmp_path, on_demand):
    images(datasets, 0, 30).to_parquet(tmp_path / "x.parquet")
    table = load_data(f"parquet:{tmp_path}/x.parquet", validation_fraction=0).train.inputs.source.files._dataset
    assert type(table.data).__name__ == "MemoryMappedTable"


def test_arrow_files_are_mapped_where_they_lie(datasets, tmp_path, on_demand, cache):
    images(datasets, 0, 30).save_to_disk(str(tmp_path / "saved"), num_shards=2)
    by_files = load_data(f"arrow:{tmp_path}/saved", validation_fraction=0)
    by_folder = load_data(f"hf:{tmp_path}/saved", validation_fraction=0)
    for splits in (by_files, by_folder):
        assert splits.train.fetch(splits.train.positions_of(torch.tensor([17]))).equal(expected([17]))
    assert by_files.train.fingerprint == by_folder.train.fingerprint
    assert not cache.exists()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_and_memory_give_the_same(datasets, monkeypatch, num_workers):
    data = images(datasets, 0, 40)
    whole = as_samples(data)
    assert whole.in_memory
    monkeypatch.setattr(from_arrays, "ImageSettings", lambda size: ImageSettings(size, 0))
    samples = as_samples(data)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    reading = ReadSettings(num_workers=num_workers)
    batches = iterate_batches(samples, Views(), order, batch_size=8, view=None, reading=reading)
    assert torch.cat([batch.inputs for batch in batches]).equal(whole.fetch(order).float() / 255)


def test_plain_structs_bytes_and_grey_images(tmp_path, on_demand):
    rows = [{"picture": {"bytes": png(number), "path": None}, "label": NAMES[number % 3]} for number in range(9)]
    splits = load_data(f"parquet:{plain_table(tmp_path / 'a.parquet', rows)}", validation_fraction=0)
    assert splits.train.class_names == tuple(NAMES)
    assert splits.train.input_shape == (3, 4, 4)
    rows = [{"image": png(number, grey=True), "kind": number % 3, "idx": number} for number in range(9)]
    path = plain_table(tmp_path / "b.parquet", rows)
    splits = load_data(f"parquet:{path}", validation_fraction=0, label_column="kind", image_size=2)
    assert splits.train.input_shape == (1, 2, 2)


def test_images_of_different_sizes_are_resized_when_asked_for(datasets, tmp_path):
    first, second = images(datasets, 0, 9, size=(4, 6)), images(datasets, 9, 9, size=(8, 4))
    datasets.concatenate_datasets([first, second]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="--image-size N"):
        load_data(f"parquet:{tmp_path}/x.parquet")
    assert load_data(f"parquet:{tmp_path}/x.parquet", image_size=4).train.input_shape == (3, 4, 4)


def test_the_digest_covers_sizes_and_some_content(datasets, on_demand):
    first, again = (as_samples(images(datasets, 0, 20)).fingerprint for _ in range(2))
    assert first == again
    assert (
        as_samples(images(datasets, 1, 20)).inputs_fingerprint != as_samples(images(datasets, 0, 20)).inputs_fingerprint
    )
    data = images(datasets, 0, 20)
    chosen = [3, 7, 8, 19]
    picked = as_samples(data.select(chosen))
    assert picked.fetch(torch.arange(4)).equal(expected(chosen))
    assert picked.inputs.files._sizes().tolist() == [len(png(number)) for number in chosen]


def test_numbers_of_any_size_are_read_on_demand(tmp_path):
    rows = [{"a": float(number), "b": number % 5, "label": number % 2} for number in range(30)]
    splits = load_data(f"parquet:{plain_table(tmp_path / 'x.parquet', rows)}", validation_fraction=0)
    assert not splits.train.in_memory
    assert list(splits.train.input_shapes) == ["a", "b"]


def test_labels_of_a_large_table_are_read_at_once(datasets):
    read = []

    class Watched(datasets.Dataset):
        def __getitem__(self, key):
            read.append(key)
            return super().__getitem__(key)

    data = datasets.Dataset.from_dict({"x": [[float(number)] for number in range(500)], "label": [0, 1] * 250})
    data.__class__ = Watched
    assert as_samples(data).labels.tolist() == [0, 1] * 250
    assert len(read) < 10


def test_what_is_wrong_with_a_table_is_told(datasets, tmp_path):
    good = images(datasets, 0, 9)
    good.to_parquet(tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(content[:-300])
    with pytest.raises(DataError, match=r"cut\.parquet is cut short"):
        load_data(f"parquet:{tmp_path}/cut.parquet")
    good.rename_column("label", "kind").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet has other columns than .*a\.parquet"):
        load_data(f"parquet:{tmp_path}/[ab].parquet")
    with pytest.raises(DataError, match="no column 'sort'"):
        load_data(f"parquet:{tmp_path}/a.parquet", label_column="sort")
    with pytest.raises(DataError, match="names no file"):
        load_data(f"arrow:{tmp_path}")
    (tmp_path / "x.arrow").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"x\.arrow is cut short"):
        load_data(f"arrow:{tmp_path}/x.arrow")
    rows = [{"image": png(number) if number != 5 else None, "label": number % 2} for number in range(9)]
    with pytest.raises(DataError, match="no image in row 5"):
        load_data(f"parquet:{plain_table(tmp_path / 'hole.parquet', rows)}")
    rows[5] = {"image": b"no picture", "label": 0}
    with pytest.raises(DataError, match="Cannot read the image row 5"):
        load_data(f"parquet:{plain_table(tmp_path / 'broken.parquet', rows)}")


def test_the_command_line_exits_with_2(tmp_path, limbeck):
    rows = [{"image": png(number), "kind": number % 2} for number in range(9)]
    path = plain_table(tmp_path / "x.parquet", rows)
    found = limbeck("train", "--data", f"parquet:{path}", "--label-column", "label", "--out", tmp_path / "run")
    assert found.returncode == 2
    assert "no column 'label'" in found.stderr
