"""Every kind of data source gives the same batches for any number of workers and any place to resume from."""

from __future__ import annotations

import io
import random
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from shard_files import write_tar
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler

from limbeck.data import (
    Context,
    Jitter,
    LengthBuckets,
    Normalise,
    ReadSettings,
    Samples,
    Transform,
    Views,
    as_samples,
    epoch_order,
    frame_samples,
    from_arrays,
    iterate_batches,
    load_image_folder,
    load_shards,
    pad_collate,
)
from limbeck.data.image_inputs import ImageSettings
from limbeck.data.remote_folders import load_remote_folder
from limbeck.errors import DataError
from limbeck.inputs import named_tensors
from limbeck.speech import Corpus, Lexicon, Utterance

COUNT = 11
LABELS = [place % 2 for place in range(COUNT)]
GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(COUNT, 5, generator=GENERATOR)
IMAGES = torch.randint(0, 256, (COUNT, 3, 6, 6), dtype=torch.uint8, generator=GENERATOR)
TOKENS = torch.randint(1, 9, (COUNT, 4), generator=GENERATOR)
Item = namedtuple("Item", ["inputs", "label", "weight"])


class Items(Dataset):
    """A data set of the items that it is given."""

    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int):
        return self.items[position]


class Noisy(Items):
    """Draws from all three random states while it is read."""

    def __getitem__(self, position: int):
        value, label = self.items[position]
        return value + random.random() + float(np.random.rand()) + torch.rand(()), label


class Failing(Items):
    """Its own code fails at one sample, once its labels are known."""

    targets = LABELS

    def __getitem__(self, position: int):
        return super().__getitem__(position) if position != 4 else {}["missing"]


class Columns:
    """Behaves like a Hugging Face data set: rows by number, columns by name."""

    def __init__(self, **columns: list) -> None:
        self.columns, self.column_names, self.features = columns, list(columns), {}

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, key):
        return self.columns[key] if isinstance(key, str) else {name: rows[key] for name, rows in self.columns.items()}


def ragged(position: int) -> dict:
    return {"input_ids": list(range(1, 2 + position % 4)), "label": LABELS[position], "text": "as it was"}


def own_collate(items):
    return torch.stack([value for value, _ in items]) * 2, torch.tensor([label for _, label in items])


def files(folder, **settings) -> Samples:
    for place in range(COUNT):
        path = folder / "ab"[LABELS[place]] / f"{place:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(IMAGES[place].permute(1, 2, 0).numpy()).save(path)
    return load_image_folder(folder, **settings).train


def encoded(place: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(IMAGES[place].permute(1, 2, 0).numpy()).save(file, "png")
    return file.getvalue()


def shards(folder) -> Samples:
    members = [(f"{p:02d}.{end}", content) for p in range(COUNT) for end, content in _parts(p)]
    for number, first in enumerate((0, 6)):
        write_tar(folder / "shards" / f"{number}.tar", members[2 * first : 2 * (first + 6)])
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LIMBECK_CACHE", str(folder / "cache"))
        return load_shards(str(folder / "shards"), memory_limit_bytes=0).train


def _parts(place: int) -> list[tuple[str, bytes]]:
    return [("png", encoded(place)), ("cls", b"%d" % LABELS[place])]


def table(_) -> Samples:
    datasets = pytest.importorskip("datasets")
    columns = {"image": [{"bytes": encoded(place), "path": None} for place in range(COUNT)], "label": LABELS}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(from_arrays, "ImageSettings", lambda size: ImageSettings(size, 0))
        return as_samples(datasets.Dataset.from_dict(columns, features=features))


def remote_folder(_) -> Samples:
    system = pytest.importorskip("fsspec").filesystem("memory")
    for place in range(COUNT):
        system.pipe(f"/contract/{'ab'[LABELS[place]]}/{place:02d}.png", encoded(place))
    return load_remote_folder("memory://contract", memory_limit_bytes=0).train


def frames() -> Samples:
    labels = np.array(LABELS)
    utterances = [
        Utterance(name, name, (), FEATURES[rows].numpy(), labels[rows])
        for name, rows in (("a", slice(0, 6)), ("b", slice(6, COUNT)))
    ]
    corpus = Corpus("toy", tuple(utterances), (), Lexicon({"GO": [("G", "OW")]}))
    return frame_samples(corpus, corpus.train, context=Context(3, 1), name="toy")


def shifted(image: torch.Tensor) -> torch.Tensor:
    return image.float().roll(random.randrange(5), dims=-1) + torch.rand(()) + float(np.random.rand())


JITTER = Views((Jitter(1),), Normalise((0.5,), (0.5,)), seed=3)
OWN = Views(transform=Transform(shifted), teacher_transform=Transform(shifted), seed=3)
PAIRS = list(zip(FEATURES, LABELS, strict=True))
SOURCES = {
    "tensors": (lambda _: as_samples((FEATURES, LABELS)), Views()),
    "numpy arrays, jittered": (lambda _: as_samples((IMAGES.numpy(), np.array(LABELS))), JITTER),
    "own transform of tensors": (lambda _: as_samples((IMAGES, LABELS)), OWN),
    "mapping of arrays": (lambda _: as_samples({"input_ids": TOKENS, "more": FEATURES, "labels": LABELS}), Views()),
    "nested tuple": (lambda _: as_samples(((TOKENS, {"more": FEATURES}), LABELS)), Views()),
    "list of pairs": (lambda _: as_samples(PAIRS), Views()),
    "map-style data set": (lambda _: as_samples(Items(PAIRS)), Views()),
    "named tuples with weights": (
        lambda _: as_samples(Items([Item(x, y, 0.5 + y) for x, y in PAIRS])),
        Views(),
    ),
    "dictionaries": (lambda _: as_samples(Items([{"x": x, "label": y} for x, y in PAIRS])), Views()),
    "subset of concatenated": (
        lambda _: as_samples(Subset(ConcatDataset([Items(PAIRS), Items(PAIRS)]), list(range(3, 14)))),
        Views(),
    ),
    "tensor data set with weights": (
        lambda _: as_samples(TensorDataset(FEATURES, torch.tensor(LABELS), FEATURES[:, 0].abs())),
        Views(),
    ),
    "random data set": (lambda _: as_samples(Noisy(PAIRS)), Views()),
    "random data set, by view": (lambda _: as_samples(Noisy(PAIRS)), Views(transform=Transform(None, name="noise"))),
    "columns": (
        lambda _: as_samples(Columns(a=FEATURES.tolist(), label=LABELS, text=["t"] * COUNT)),
        Views(),
    ),
    "padded sequences": (lambda _: as_samples(Items(list(map(ragged, range(COUNT)))), collate=pad_collate()), Views()),
    "loader": (
        lambda _: as_samples(DataLoader(Items(PAIRS), batch_size=4, shuffle=True, collate_fn=own_collate)),
        Views(),
    ),
    "frames of speech": (lambda _: frames(), Views()),
    "image files": (lambda folder: files(folder, memory_limit_bytes=0), JITTER),
    "image files, own transform": (
        lambda folder: files(folder, memory_limit_bytes=0),
        Views(transform=Transform(shifted, takes="tensor"), seed=3),
    ),
    "tar shards": (shards, JITTER),
    "tar shards, own transform": (shards, Views(transform=Transform(shifted, takes="tensor"), seed=3)),
    "table of images": (table, JITTER),
    "folder at an address": (remote_folder, JITTER),
}


def batches(samples: Samples, views: Views, *, num_workers: int, start: int = 0, order=None) -> list:
    order = epoch_order(samples.ids, seed=1, epoch=2) if order is None else order
    reading = ReadSettings(num_workers=num_workers)
    made = iterate_batches(samples, views, order, batch_size=3, view=5, start_batch=start, reading=reading)
    return list(made)


def flat(batch) -> dict[str, torch.Tensor]:
    fields = {name: getattr(batch, name) for name in ("ids", "labels", "weights") if getattr(batch, name) is not None}
    for field in ("inputs", "teacher_inputs"):
        if getattr(batch, field) is not None:
            fields |= dict(named_tensors(getattr(batch, field), field))
    return fields


def assert_same(first: list, second: list) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        left, right = flat(one), flat(other)
        assert list(left) == list(right)
        for name, tensor in left.items():
            assert tensor.dtype == right[name].dtype, name
            assert torch.equal(tensor, right[name]), name


@pytest.mark.parametrize("kind", SOURCES)
def test_same_batches_for_any_workers_and_any_resume(kind, tmp_path):
    make, views = SOURCES[kind]
    samples = make(tmp_path)
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    whole = batches(samples, views, num_workers=0)
    assert sorted(torch.cat([batch.ids for batch in whole]).tolist()) == sorted(samples.ids.tolist())
    for num_workers in (1, 2):
        assert_same(whole, batches(samples, views, num_workers=num_workers))
    for start in (1, 3):
        assert_same(whole[start:], batches(samples, views, num_workers=0, start=start))
    assert_same(whole[2:], batches(samples, views, num_workers=2, start=2))
    assert_same(whole, batches(make(tmp_path), views, num_workers=0))  # taken over anew
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states


@pytest.mark.parametrize("kind", SOURCES)
def test_a_part_and_another_storage_show_the_same_samples(kind, tmp_path):
    make, views = SOURCES[kind]
    samples = make(tmp_path)
    chosen = torch.tensor([7, 2, 5])
    direct = views.batch(samples, chosen, view=4)
    part = samples.take(chosen)
    assert_same([direct], [views.batch(part, torch.arange(3), view=4)])
    assert part.fingerprint != samples.fingerprint
    assert samples.take(torch.arange(COUNT)).fingerprint == samples.fingerprint
    assert len(samples.fingerprint) == 64
    assert samples.is_replayable


@pytest.mark.parametrize("kind", ["random data set, by view", "own transform of tensors", "image files, own transform"])
def test_views_of_random_transforms_differ_and_the_clean_one_is_fixed(kind, tmp_path):
    make, views = SOURCES[kind]
    samples = make(tmp_path)
    chosen = torch.arange(4)
    first, second = (views.batch(samples, chosen, view=view) for view in (0, 1))
    assert not torch.equal(first.inputs, second.inputs)
    assert not views.is_constant
    assert views.clean.is_constant
    clean = views.batch(samples, chosen, view=None)
    assert torch.equal(views.clean.batch(samples, chosen, view=9).inputs, clean.inputs)
    assert not torch.equal(first.inputs, clean.inputs)


def test_buckets_give_similar_lengths_whoever_reads(tmp_path):
    samples = as_samples(Items(list(map(ragged, range(COUNT)))), collate=pad_collate())
    order = LengthBuckets().positions(samples, seed=1, epoch=0, batch_size=3)
    assert sorted(order.tolist()) == list(range(COUNT))
    assert_same(
        batches(samples, Views(), num_workers=0, order=order), batches(samples, Views(), num_workers=2, order=order)
    )
    lengths = samples.inputs.lengths
    spread = [int(lengths[part].max() - lengths[part].min()) for part in order.split(3)]
    assert max(spread) <= 1
    assert not torch.equal(order, LengthBuckets().positions(samples, seed=1, epoch=1, batch_size=3))
    shuffled = samples.take(torch.arange(COUNT - 1, -1, -1))
    again = LengthBuckets().positions(shuffled, seed=1, epoch=0, batch_size=3)
    assert shuffled.ids[again].tolist() == samples.ids[order].tolist()


def test_what_goes_wrong_in_a_worker_arrives_with_the_samples_index():
    broken = as_samples(Failing(PAIRS))
    for num_workers in (0, 1):
        with pytest.raises(DataError, match="failed at sample 4"):
            list(
                iterate_batches(
                    broken,
                    Views(),
                    torch.arange(COUNT),
                    batch_size=3,
                    view=None,
                    reading=ReadSettings(num_workers=num_workers),
                )
            )


def test_a_loaders_sampler_is_replaced_and_that_is_said():
    weighted = DataLoader(Items(PAIRS), batch_size=4, sampler=WeightedRandomSampler([1.0] * COUNT, 5), num_workers=0)
    samples = as_samples(weighted)
    assert len(samples) == COUNT
    assert "WeightedRandomSampler was replaced" in samples.notes[0]
    assert samples.inputs.reading.batch_size == 4
    assert not as_samples(DataLoader(Items(PAIRS), batch_size=4)).notes
