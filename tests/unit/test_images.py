"""Image folders: layout, classes, stable ids, decoding in memory or on demand, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.data import ImageFiles, Views, iterate_batches, load_image_folder
from limbeck.errors import DataError, InvalidValue


def pixels(seed: int, height: int = 4, width: int = 5, *, grey: bool = False) -> np.ndarray:
    shape = (height, width) if grey else (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, image: np.ndarray | Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path)


def flat_folder(root: Path, *, grey: bool = False) -> Path:
    for index, name in enumerate(["cat/a.png", "cat/b.png", "dog/a.png", "dog/deep/c.PNG", "dog/d.png"]):
        save(root / name, pixels(index, grey=grey))
    return root


def test_flat_folder(tmp_path):
    splits = load_image_folder(flat_folder(tmp_path / "pets"))
    train = splits.train
    assert (splits.name, train.name, splits.validation, splits.test) == ("pets", "pets/train", None, None)
    assert train.class_names == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 1, 1, 1]
    assert train.input_shape == (3, 4, 5)
    seen = {image.numpy().tobytes() for image in train.inputs}
    assert seen == {pixels(index).transpose(2, 0, 1).tobytes() for index in range(5)}


@pytest.mark.parametrize("word", ["val", "valid", "validation", "Val"])
def test_split_folders(tmp_path, word):
    for split, count in (("train", 3), (word, 2), ("test", 1)):
        for label, name in enumerate(("no", "yes")):
            for index in range(count):
                save(tmp_path / split / name / f"{index}.png", pixels(10 * label + index))
    splits = load_image_folder(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (6, 4, 2)
    assert splits.test.labels.tolist() == [0, 1]
    assert splits.validation.class_names == ("no", "yes")


def test_classes_may_be_called_train_and_test(tmp_path):
    save(tmp_path / "train/steam.png", pixels(0))
    save(tmp_path / "bus/red.png", pixels(1))
    assert load_image_folder(tmp_path).train.class_names == ("bus", "train")


def test_ids_belong_to_paths(tmp_path):
    first = load_image_folder(flat_folder(tmp_path / "one")).train
    root = flat_folder(tmp_path / "elsewhere")
    save(root / "ant/0.png", pixels(70))
    save(root / "dog/0.png", pixels(71))
    second = load_image_folder(root).train
    assert set(first.ids.tolist()) < set(second.ids.tolist())
    for index, sample_id in enumerate(first.ids.tolist()):
        place = second.ids.tolist().index(sample_id)
        assert torch.equal(first.inputs[index], second.inputs[place])
    assert int(first.ids.min()) >= 0


def test_grey_only_where_every_image_is(tmp_path):
    root = flat_folder(tmp_path / "grey", grey=True)
    grey = load_image_folder(root).train
    assert grey.input_shape == (1, 4, 5)
    assert {image.numpy().tobytes() for image in grey.inputs} == {pixels(i, grey=True).tobytes() for i in range(5)}
    save(root / "dog/colour.png", pixels(9))
    mixed = load_image_folder(root).train
    assert mixed.input_shape == (3, 4, 5)
    spread = mixed.inputs[mixed.ids.tolist().index(int(grey.ids[0]))]
    assert torch.equal(spread, grey.inputs[0].expand(3, -1, -1))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("image_size", [None, 3])
def test_on_demand_and_in_memory_agree(tmp_path, grey, image_size):
    root = flat_folder(tmp_path, grey=grey)
    memory = load_image_folder(root, image_size=image_size).train
    lazy = load_image_folder(root, image_size=image_size, memory_limit_bytes=0).train
    assert memory.in_memory
    assert isinstance(lazy.inputs, ImageFiles)
    assert lazy.input_shape == memory.input_shape
    assert lazy.is_image
    positions = torch.tensor([3, 0, 4])
    assert torch.equal(lazy.fetch(positions), memory.fetch(positions))
    batches = list(iterate_batches(lazy, Views(), torch.arange(5), batch_size=2, view=None))
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), memory.inputs.float() / 255)


def test_fingerprint_of_files_covers_paths_and_sizes(tmp_path):
    def fingerprint(**settings):
        return load_image_folder(tmp_path, memory_limit_bytes=0, **settings).train.fingerprint

    flat_folder(tmp_path)
    first = fingerprint()
    assert first == fingerprint()
    assert first != fingerprint(image_size=3)
    save(tmp_path / "cat/a.png", np.zeros((4, 5, 3), dtype=np.uint8))
    second = fingerprint()
    os.rename(tmp_path / "cat/a.png", tmp_path / "cat/z.png")
    assert len({first, second, fingerprint()}) == 3


def test_many_files_are_decoded_in_order_in_threads(tmp_path):
    for index in range(70):
        save(tmp_path / f"{'ab'[index % 2]}/{index:03}.png", pixels(index, 80, 90))  # above the size that threads need
    train = load_image_folder(tmp_path).train
    expected = [pixels(index, 80, 90) for index in [*range(0, 70, 2), *range(1, 70, 2)]]
    assert np.array_equal(train.inputs.numpy(), np.stack(expected).transpose(0, 3, 1, 2))


def test_image_size_cuts_the_middle_and_resizes(tmp_path):
    wide = np.zeros((4, 12, 3), dtype=np.uint8)
    wide[:, 4:8] = 200  # the middle square
    for name in ("a/1.png", "b/1.png"):
        save(tmp_path / name, wide)
    train = load_image_folder(tmp_path, image_size=2).train
    assert train.inputs.unique().tolist() == [200]
    assert train.input_shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("image", "channels"),
    [
        (Image.fromarray(np.full((4, 5), 0x1234, dtype=np.uint16)), 1),
        (Image.new("1", (5, 4), 1), 1),
        (Image.new("LA", (5, 4), (77, 10)), 1),
        (Image.new("RGBA", (5, 4), (1, 2, 3, 0)), 3),
        (Image.new("RGB", (5, 4), (1, 2, 3)).convert("P"), 3),
    ],
)
def test_kinds_of_png(tmp_path, image, channels):
    for name in ("a", "b"):
        save(tmp_path / name / "x.png", image)
    train = load_image_folder(tmp_path).train
    assert train.input_shape == (channels, 4, 5)
    if image.mode.startswith("I"):
        assert train.inputs.unique().tolist() == [0x12]  # the high byte, not the saturated value
    if image.mode == "LA":
        assert train.inputs.unique().tolist() == [77]


def test_jpeg_in_cmyk_becomes_rgb(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / name / "x.JPEG", Image.new("CMYK", (5, 4), (0, 255, 255, 0)))
    red = load_image_folder(tmp_path).train.inputs[0].float().mean(dim=(1, 2))
    assert red[0] > 200
    assert red[1] < 60


def test_classes_tsv_gives_the_names(tmp_path):
    flat_folder(tmp_path)
    (tmp_path / "classes.tsv").write_text("cat\thouse cat, Felis catus\ndog\thouse dog\n", encoding="utf-8")
    assert load_image_folder(tmp_path).train.class_names == ("house cat", "house dog")
    (tmp_path / "classes.tsv").write_text("cat\tpet, meows\ndog\tpet, barks\n", encoding="utf-8")
    assert load_image_folder(tmp_path).train.class_names == ("pet (cat)", "pet (dog)")


def test_hidden_and_other_files_are_ignored(tmp_path):
    flat_folder(tmp_path)
    for name in ("cat/.hidden.png", "cat/notes.txt", ".git/x.png", "__MACOSX/cat/._a.png", "readme.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    assert len(load_image_folder(tmp_path).train) == 5


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(root: Path, message: str, **settings: object) -> None:
    with pytest.raises(DataError, match=message):
        load_image_folder(root, **settings)


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_different_sizes_name_two_files_and_the_remedy(tmp_path, limit):
    flat_folder(tmp_path)
    save(tmp_path / "dog/big.png", pixels(0, 8, 9))
    refused(tmp_path, r"(?s)cat/a.png is 5x4.*dog/big.png is 9x8.*--image-size", memory_limit_bytes=limit)
    assert load_image_folder(tmp_path, image_size=4, memory_limit_bytes=limit).train.input_shape == (3, 4, 4)


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_unreadable_image_is_named(tmp_path, content):
    flat_folder(tmp_path)
    path = tmp_path / "dog/d.png"
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    refused(tmp_path, r"Cannot read the image .*dog/d.png")
    if content is not None:
        refused(tmp_path, r"Cannot read the image .*dog/d.png", memory_limit_bytes=0)


def test_damaged_image_is_found_when_it_is_read(tmp_path):
    flat_folder(tmp_path)
    path = tmp_path / "dog/d.png"
    path.write_bytes(path.read_bytes()[:60])
    lazy = load_image_folder(tmp_path, memory_limit_bytes=0).train
    with pytest.raises(DataError, match=r"dog/d.png"):
        list(iterate_batches(lazy, Views(), torch.arange(5), batch_size=2, view=None))


def test_empty_folders_and_single_classes(tmp_path):
    refused(tmp_path, "has no images")
    refused(tmp_path / "nowhere", "Cannot read the folder")
    save(tmp_path / "cat/a.png", pixels(0))
    refused(tmp_path, "single class")
    (tmp_path / "dog").mkdir()
    refused(tmp_path, r"(?s)classes without images.*dog")
    (tmp_path / "cat/a.png").unlink()
    (tmp_path / "cat/a.txt").write_bytes(b"x")
    refused(tmp_path, r"(?s)has no images.*1 other file\(s\) in 2 folder")


def test_splits_must_fit_together(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "val/a/1.png", "val/c/1.png"):
        save(tmp_path / name, pixels(0))
    refused(tmp_path, r"(?s)validation split .* lacks.*c")
    os.rename(tmp_path / "train", tmp_path / "test")
    refused(tmp_path, "has no training images")
    os.rename(tmp_path / "test", tmp_path / "train")
    os.rename(tmp_path / "val/c", tmp_path / "val/b")
    save(tmp_path / "valid/a/1.png", pixels(0))
    refused(tmp_path, "two validation folders")


def test_image_size_is_checked(tmp_path):
    with pytest.raises(InvalidValue, match="image_size"):
        load_image_folder(flat_folder(tmp_path), image_size=0)


# --- kinds of files and their orientation -----------------------------------------------------------------------------

LOSSLESS = ("png", "bmp", "ppm", "tif", "tiff", "gif")


@pytest.mark.parametrize("suffix", [*LOSSLESS, "webp", "jpg"])
@pytest.mark.parametrize("memory_limit_bytes", [0, 1 << 20])
def test_kinds_of_files(tmp_path, suffix, memory_limit_bytes):
    colours = {"cat": (0, 0, 255), "dog": (255, 0, 0)}
    for folder, colour in colours.items():
        (tmp_path / folder).mkdir()
        Image.new("RGB", (4, 3), colour).save(
            tmp_path / folder / f"x.{suffix}", **({"lossless": True} if suffix == "webp" else {})
        )
    samples = load_image_folder(tmp_path, memory_limit_bytes=memory_limit_bytes).train
    images = samples.fetch(torch.arange(2))
    assert images.shape == (2, 3, 3, 4)
    expected = torch.tensor(list(colours.values()), dtype=torch.float32)
    assert (images.float().mean(dim=(2, 3)) - expected).abs().max() <= (0 if suffix != "jpg" else 2)


def test_the_first_frame_of_a_moving_picture(tmp_path):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((0, 255, 0), (255, 0, 0))]
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        frames[0].save(tmp_path / folder / "x.gif", save_all=True, append_images=frames[1:])
    assert load_image_folder(tmp_path).train.inputs[:, :, 0, 0].tolist() == [[0, 255, 0]] * 2


@pytest.mark.parametrize("memory_limit_bytes", [0, 1 << 20])
def test_exif_orientation_is_applied_when_asked_for_and_said(tmp_path, memory_limit_bytes):
    stored = np.zeros((4, 6, 3), dtype=np.uint8)
    stored[:, 3:] = 255  # the right half is white: turned by a quarter to the right, it is the lower half
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        picture = Image.fromarray(stored)
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(tmp_path / folder / "x.jpg", exif=exif, quality=100)
    as_stored = load_image_folder(tmp_path, memory_limit_bytes=memory_limit_bytes)
    turned = load_image_folder(tmp_path, memory_limit_bytes=memory_limit_bytes, exif_orientation=True)
    assert as_stored.train.input_shape[1:] == (4, 6)
    assert turned.train.input_shape[1:] == (6, 4)
    image = turned.train.fetch(torch.tensor([0]))[0, 0].float()
    assert image[:3].mean() < 5
    assert image[3:].mean() > 250
    assert as_stored.notes[0].startswith("2 of 2 images")
    assert "not applied" in as_stored.notes[0]
    assert turned.notes == ("Images were turned as their EXIF orientation says.",)
    assert turned.train.fingerprint != as_stored.train.fingerprint
