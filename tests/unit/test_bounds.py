"""Sizes are bounded by what a file holds, and by a stated limit that a flag raises."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.bounds import VARIABLE, TooLarge, memory_limit_bytes, require_honest_zip, require_memory
from limbeck.data import as_samples, load_data
from limbeck.errors import DataError, InvalidValue, ModelError
from limbeck.models import build, load_weights


def npz_with(path, headers):
    """Write arrays of 100 zero bytes under headers that claim what they like."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, (shape, dtype) in headers.items():
            file = io.BytesIO()
            np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
            archive.writestr(f"{name}.npy", file.getvalue() + bytes(100))


def test_the_limit_is_stated_and_can_be_raised(monkeypatch):
    assert memory_limit_bytes() == 16 << 30
    with pytest.raises(TooLarge, match="--memory-limit") as caught:
        require_memory(20 << 30, "An array")
    assert "20.0 GiB" in str(caught.value)
    monkeypatch.setenv(VARIABLE, "24")
    require_memory(20 << 30, "An array")
    for wrong in ("much", "0", "nan"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(InvalidValue, match=VARIABLE):
            memory_limit_bytes()


@pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6, 10**6), (2**62, 2**62)])
def test_an_array_is_no_longer_than_its_file(tmp_path, shape):
    npz_with(tmp_path / "claims.npz", {"inputs": (shape, "<f4"), "labels": ((3,), "<i8")})
    with pytest.raises(DataError, match="not as long as its header says"):
        load_data(tmp_path / "claims.npz")


def test_a_small_file_does_not_become_gigabytes(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inputs.npy", bytes(1 << 20))
        archive.filelist[0].file_size = 3 << 29
    with pytest.raises(DataError, match="far more than it is"):
        load_data(path)
    with pytest.raises(ModelError, match="far more than it is"):
        require_honest_zip(path, ModelError)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("mlp:widths=99999999999", "up to 16,777,216"),
        ("mlp:widths=9999999x9999999", "too much memory"),
        ("mlp:widths=" + "x".join(["1"] * 2001), "2,000 layers"),
        ("convnet:channels=999999x999999", "too much memory"),
        ("resnet:depth=99998", "up to 2,000"),
        ("resnet20:width=1e300", "too many"),
        ("resnet20:width=3000", "too much memory"),
        ("vgg16:width=1000", "too much memory"),
    ],
)
def test_networks_are_bounded_before_they_are_built(spec, words):
    shape = (3, 32, 32) if spec.startswith(("resnet", "vgg")) else (1, 8, 8)
    with pytest.raises((InvalidValue, TooLarge), match=words):
        build(spec, input_shape=shape, num_classes=10)


def test_images_are_bounded_before_they_are_resized(monkeypatch):
    with pytest.raises(TooLarge, match="30000 x 30000"):
        load_data("digits", image_size=30_000)
    monkeypatch.setenv(VARIABLE, "0.001")
    with pytest.raises(TooLarge, match="64 x 64"):
        load_data("digits", image_size=64)


def test_an_image_that_claims_more_than_it_holds_is_not_decoded(tmp_path):
    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 13_000, 9_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(TooLarge, match="13000 x 9000"):
        load_data(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "images" / name / "one.png")
    os.mkfifo(tmp_path / "images" / "a" / "pipe.png")
    os.mkfifo(tmp_path / "data.npz")
    os.mkfifo(tmp_path / "table.csv")
    for path in (tmp_path / "images", tmp_path / "data.npz", tmp_path / "table.csv"):
        with pytest.raises(DataError, match="is no file"):
            load_data(path)
    with pytest.raises(DataError, match="is no file"):
        as_samples(([tmp_path / "images" / "a" / "pipe.png"], [0]))
    with pytest.raises(DataError, match="is no file"):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "data.npz")


def test_a_link_to_nothing_is_told(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "one.png")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match="link to nothing"):
        load_data(tmp_path)


def test_a_state_dict_that_holds_itself_is_refused(tmp_path):
    content: dict = {}
    content["model"] = content
    torch.save(content, tmp_path / "loop.pt")
    with pytest.raises(ModelError, match="no state dict"):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "loop.pt")
