"""Folders of very many files: listed once, with the same ids, labels and digests, and little memory."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.data import Views, iterate_batches, kept_listing, load_image_folder
from limbeck.data.file_listing import list_files
from limbeck.data.grey_files import is_grey_file, is_grey_head
from limbeck.data.image_decoding import read_headers
from limbeck.errors import DataError

NUM_CLASSES, FILES_OF_CLASS = 10, 120


def png(seed: int, size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """1,200 images in folders that have not changed for an hour, and a limit from which listings are kept."""
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_listing, "KEPT_FROM_FILES", 1000)
    root = tmp_path / "photos"
    for number in range(NUM_CLASSES):
        (root / f"class{number}" / "deep").mkdir(parents=True)
        for place in range(FILES_OF_CLASS):
            inner = "deep/" if place % 2 else ""
            (root / f"class{number}" / f"{inner}{place}.png").write_bytes(png(number * FILES_OF_CLASS + place))
    settle(root)
    return root


def settle(root, seconds: float = 3600.0) -> None:
    for path, _, _ in os.walk(root):
        then = os.stat(path).st_mtime - seconds
        os.utime(path, (then, then))


def kept(tmp_path):
    return sorted((tmp_path / "cache" / "listings").glob("*.safetensors"))


def on_demand(root):
    return load_image_folder(root, memory_limit_bytes=0).train


def test_a_large_folder_is_listed_once(folder, tmp_path, monkeypatch):
    first = on_demand(folder)
    assert len(kept(tmp_path)) == 1
    monkeypatch.setattr(kept_listing, "list_files", lambda *_, **__: pytest.fail("listed again"))
    again = on_demand(folder)
    assert again.ids.equal(first.ids)
    assert again.labels.equal(first.labels)
    assert again.labels.bincount().tolist() == [FILES_OF_CLASS] * NUM_CLASSES
    assert again.fingerprint == first.fingerprint
    assert again.inputs.paths[7] == first.inputs.paths[7]


def test_a_small_folder_is_listed_anew(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_listing, "KEPT_FROM_FILES", 2000)
    on_demand(folder)
    assert not kept(tmp_path)


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "inner", "class"])
def test_what_changed_is_listed_again(folder, change, caplog):
    first = on_demand(folder)
    if change == "added":
        (folder / "class0" / "new.png").write_bytes(png(5000))
    elif change == "removed":
        (folder / "class3" / "0.png").unlink()
    elif change == "renamed":
        (folder / "class3" / "deep" / "1.png").rename(folder / "class3" / "deep" / "other.png")
    elif change == "inner":
        (folder / "class1" / "deep" / "deeper").mkdir()
        (folder / "class1" / "deep" / "deeper" / "x.png").write_bytes(png(5000))
    else:
        (folder / "zebra").mkdir()
        (folder / "zebra" / "x.png").write_bytes(png(5000))
    second = on_demand(folder)
    assert "it is made again" in caplog.text
    assert set(second.ids.tolist()) != set(first.ids.tolist())
    assert len(second) - len(first) == {"removed": -1, "renamed": 0}.get(change, 1)


def test_a_folder_that_has_just_changed_is_not_kept(folder, tmp_path):
    os.utime(folder / "class4" / "deep")
    on_demand(folder)
    assert not kept(tmp_path)


def test_a_damaged_listing_is_made_again(folder, tmp_path, caplog):
    first = on_demand(folder)
    path = kept(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert on_demand(folder).fingerprint == first.fingerprint
    assert "was damaged: it is made again" in caplog.text


def test_a_file_that_was_replaced_in_its_place_is_found_when_it_is_read(folder):
    on_demand(folder)
    path = folder / "class2" / "0.png"
    path.write_bytes(png(9999) + b"more")
    samples = on_demand(folder)
    place = torch.tensor([list(samples.inputs.paths).index(str(path))])
    for read in (samples.fetch, samples.items):
        with pytest.raises(DataError, match=r"0\.png was changed after it was listed") as caught:
            read(place)
        assert f"touch {path.parent}" in caught.value.remedy


def test_no_object_for_a_file_is_held(folder):
    listing = list_files(folder, (".png",), what="images")
    for table in (listing.paths, listing.relative_paths, listing.folders):
        assert isinstance(table.text, np.ndarray)
        assert isinstance(table.ends, np.ndarray)
    assert listing.class_of.dtype == np.int32
    assert listing.paths.text.nbytes < 25 * len(listing.paths)


def test_samples_are_found_by_id(folder):
    samples = on_demand(folder)
    asked = samples.ids[torch.tensor([700, 3, 41])]
    assert samples.positions_of(asked).tolist() == [700, 3, 41]
    taken = samples.take(samples.positions_of(asked))
    assert taken.ids.equal(asked)
    assert taken.fetch(torch.arange(3)).equal(samples.fetch(torch.tensor([700, 3, 41])))
    with pytest.raises(DataError, match="no sample with the id 12"):
        samples.positions_of(torch.tensor([12]))


def test_a_resumed_epoch_does_not_read_what_is_behind_it(folder, monkeypatch):
    samples = on_demand(folder)
    read = []
    monkeypatch.setattr(
        type(samples.inputs), "_require_listed_sizes", lambda _, paths, sizes: read.extend(paths), raising=True
    )
    order = torch.arange(len(samples)).flip(0)
    rest = [
        batch.ids
        for batch in iterate_batches(samples, Views(), order, batch_size=100, view=None, start_batch=7, prefetch=0)
    ]
    assert torch.cat(rest).equal(samples.ids[order][700:])
    assert len(read) == 500
    assert set(read) == {samples.inputs.paths[place] for place in order[700:].tolist()}


PNG_MODES = ["L", "RGB", "P", "1", "LA", "RGBA", "I;16"]
OTHERS = ["jpeg", "bmp", "jpeg with much before it"]


@pytest.mark.parametrize(
    ("mode", "format"),
    [*((mode, "png") for mode in PNG_MODES), *((mode, other) for mode in ("L", "RGB") for other in OTHERS)],
)
def test_the_first_bytes_tell_as_pillow_does_whether_an_image_is_grey(tmp_path, mode, format):
    kind, _, much = format.partition(" ")
    path = tmp_path / f"x.{kind}"
    settings = {"exif": b"Exif\0\0" + bytes(9000)} if much else {}
    Image.new(mode, (5, 4)).save(path, **settings)
    assert is_grey_file(str(path)) == read_headers([str(path)])[0].is_grey
    assert (is_grey_head(path.read_bytes()[:4096]) is None) == (kind == "bmp" or bool(much))


def test_a_coloured_file_among_very_many_grey_ones_is_found(folder):
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        Image.new("L" if number != 777 else "RGB", (4, 4)).save(path)
    assert on_demand(folder).input_shape == (3, 4, 4)
    Image.new("L", (4, 4)).save(sorted(folder.rglob("*.png"))[777])
    assert on_demand(folder).input_shape == (1, 4, 4)
