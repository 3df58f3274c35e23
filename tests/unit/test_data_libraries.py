"""Data and transforms of real libraries: pandas, pyarrow, datasets, albumentations."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import limbeck
from limbeck.data import Transform, Views, as_samples, load_data
from limbeck.errors import DataError

FAST = {"seeds": 1, "progress": "silent", "recipe": limbeck.TrainConfig(num_epochs=2, batch_size=16)}
KINDS = ["ant", "bee", "cat"]


def table(count: int = 90) -> dict[str, object]:
    draw = np.random.default_rng(0)
    kinds = [KINDS[k % 3] for k in range(count)]
    means = {"ant": 0.0, "bee": 2.0, "cat": 4.0}
    return {
        "length": [means[kind] + draw.normal() / 3 for kind in kinds],
        "legs": [int(6 - means[kind] / 2) for kind in kinds],
        "kind": kinds,
    }


def test_a_data_frame_is_data():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table())
    samples = as_samples(frame, label_column="kind")
    assert samples.class_names == tuple(KINDS)
    assert samples.inputs.dtype == torch.float32
    result = limbeck.distill("mlp:widths=8", ["mlp:widths=16"], as_samples(frame, label_column="kind"), **FAST)
    assert min(result.record.values("distilled", "accuracy", split="test", weights="selected").values()) > 0.5


def test_categories_of_a_frame_keep_their_order():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table())
    frame["kind"] = pandas.Categorical(frame["kind"], categories=["cat", "ant", "bee"])
    samples = as_samples(frame, label_column="kind")
    assert samples.class_names == ("cat", "ant", "bee")
    assert samples.labels[:3].tolist() == [1, 2, 0]
    frame.loc[3, "length"] = None
    with pytest.raises(DataError, match="length"):
        as_samples(frame, label_column="kind")


def test_a_parquet_file_is_data(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame(table()).to_parquet(tmp_path / "animals.parquet")
    pandas.DataFrame(table()).to_csv(tmp_path / "animals.csv", index=False)
    one, other = (load_data(tmp_path / f"animals.{kind}", label_column="kind") for kind in ("parquet", "csv"))
    assert one.train.class_names == other.train.class_names == tuple(KINDS)
    assert torch.allclose(one.train.inputs, other.train.inputs)
    assert torch.equal(one.train.labels, other.train.labels)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 this is none")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        load_data(tmp_path / "broken.parquet", label_column="kind")


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("datasets")


def tokens(datasets, count: int = 80):
    draw = np.random.default_rng(0)
    rows = [{"input_ids": draw.integers(1, 20, size=3 + k % 4).tolist(), "label": k % 2} for k in range(count)]
    for row in rows:
        row["input_ids"][0] = 1 + row["label"]
    features = datasets.Features(
        {"input_ids": datasets.Sequence(datasets.Value("int32")), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    return datasets.Dataset.from_list(rows, features=features)


class Reader(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = torch.nn.Embedding(20, 8), torch.nn.Linear(8, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.unsqueeze(-1)
        return self.head((self.embedding(input_ids) * mask).sum(dim=1) / mask.sum(dim=1))


@pytest.mark.filterwarnings("ignore")
def test_a_dataset_dict_on_disk_goes_the_whole_way(datasets, tmp_path):
    splits = datasets.DatasetDict({"train": tokens(datasets), "test": tokens(datasets, 20)})
    splits.save_to_disk(str(tmp_path / "data"))
    loaded = load_data(f"hf:{tmp_path / 'data'}")
    assert loaded.train.class_names == ("no", "yes")
    assert len(loaded.test) == 20
    result = limbeck.distill(Reader, [Reader], loaded, **FAST)
    assert result.record.data.num_train + result.record.data.num_validation == 80
    with pytest.raises(DataError, match="save_to_disk"):
        load_data("hf:no/such/folder")


@pytest.mark.filterwarnings("ignore")
def test_images_of_a_dataset_are_images(datasets):
    from PIL import Image

    draw = np.random.default_rng(0)
    pictures = [Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(12)]
    data = datasets.Dataset.from_dict({"image": pictures, "label": [k % 2 for k in range(12)]})
    samples = as_samples(data)
    assert samples.input_shape == (3, 8, 8)
    batch = Views().batch(samples, torch.arange(12), view=None)
    assert torch.equal(
        (batch.inputs[5] * 255).round().byte(), torch.from_numpy(np.asarray(pictures[5])).permute(2, 0, 1)
    )


@pytest.mark.filterwarnings("ignore")
def test_a_streamed_dataset_is_refused_with_the_reason(datasets):
    with pytest.raises(DataError, match="sample's id, which a stream does not have"):
        as_samples(tokens(datasets).to_iterable_dataset())


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_of_albumentations_is_replayed():
    albumentations = pytest.importorskip("albumentations")
    pipeline = albumentations.Compose(
        [albumentations.HorizontalFlip(p=0.5), albumentations.RandomBrightnessContrast(p=1.0)]
    )
    pixels = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    samples = limbeck.Samples("pictures", torch.arange(20), pixels, torch.arange(20) % 2, ("a", "b"))
    views = Views(transform=Transform(pipeline), seed=3)
    order = torch.arange(20)
    first = views.batch(samples, order, view=4).inputs
    again = Views(transform=Transform(pipeline), seed=3).batch(samples, order.flip(0), view=4).inputs.flip(0)
    assert torch.equal(first, again)
    assert not torch.equal(first, views.batch(samples, order, view=5).inputs)
    own = albumentations.Compose([albumentations.Normalize(mean=(0, 0, 0), std=(1, 1, 1))])  # float, (H, W, C)
    plain = Views(transform=Transform(own)).batch(samples, order, view=0).inputs
    assert torch.allclose(plain, pixels / 255, atol=1e-6)
