"""Named sets and paths become splits; downloads are checked; what is missing or damaged is told."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from real_archives import copy_every

from limbeck.data import (
    as_samples,
    catalog,
    cifar,
    data_set_names,
    idx,
    image_archives,
    load_archive,
    load_data,
    load_npz,
    named_sets,
)
from limbeck.data.decoded import read_decoded, write_decoded
from limbeck.data.downloads import cache_folder, download
from limbeck.errors import DataError, InvalidValue, UnknownName

REAL = os.environ.get("LIMBECK_DATA", "")


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> Path:
    """An empty cache and an empty data folder for each test."""
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LIMBECK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "data").mkdir()
    return tmp_path


def real(monkeypatch, name: str) -> None:
    """Read from the real data folder, or skip."""
    if not REAL:
        pytest.skip("LIMBECK_DATA is not set")
    if not (Path(REAL) / name).exists():
        pytest.skip(f"LIMBECK_DATA has no {name}")
    monkeypatch.setenv("LIMBECK_DATA", REAL)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


# --- digits -----------------------------------------------------------------------------------------------------------


def test_digits_are_bytes_with_a_fixed_test_split():
    from sklearn.datasets import load_digits

    splits = load_data("digits", seed=0)
    values = load_digits()
    for part in (splits.train, splits.validation, splits.test):
        assert part.input_shape == (1, 8, 8)
        expected = np.round(values.images[part.ids.numpy()] / 16 * 255)
        assert np.abs(part.inputs[:, 0].numpy() - expected).max() <= 1
        assert np.array_equal(part.labels.numpy(), values.target[part.ids.numpy()])
    assert int(splits.train.inputs.max()) == 255
    ids = [set(part.ids.tolist()) for part in (splits.train, splits.validation, splits.test)]
    assert set.union(*ids) == set(range(1797))
    assert sum(map(len, ids)) == 1797
    other = load_data("digits", seed=1)
    assert torch.equal(other.test.ids, splits.test.ids)
    assert not torch.equal(other.validation.ids, splits.validation.ids)
    counts = torch.bincount(splits.test.labels)
    assert int(counts.max() - counts.min()) <= 2


def test_digits_of_a_scikit_learn_that_keeps_them_elsewhere_are_the_same(monkeypatch):
    usual = load_data("digits").train
    monkeypatch.setattr("limbeck.data.digits.FILE", "datasets/moved.csv.gz")
    assert load_data("digits").train.fingerprint == usual.fingerprint


def test_validation_fraction():
    none = load_data("digits", validation_fraction=0)
    assert none.validation is None
    assert len(none.train) == 1438
    fifth = load_data("digits", validation_fraction=0.2)
    assert len(fifth.validation) == round(0.2 * 1438)
    assert any("held out for validation" in note for note in fifth.notes)
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(InvalidValue, match="validation_fraction"):
            load_data("digits", validation_fraction=wrong)


def test_named_sets_can_be_resized():
    splits = load_data("digits", image_size=16)
    assert splits.test.input_shape == (1, 16, 16)
    before = load_data("digits").test.inputs.float().mean()
    assert abs(float(splits.test.inputs.float().mean() - before)) < 2
    with pytest.raises(InvalidValue, match="image_size"):
        load_data("digits", image_size=0)


# --- names and paths --------------------------------------------------------------------------------------------------


def test_unknown_names_and_paths(folders):
    with pytest.raises(UnknownName, match="did you mean mnist"):
        load_data("minst")
    with pytest.raises(DataError, match="no file or folder"):
        load_data("data/minst")
    (folders / "x.rtf").write_text("1,2")
    with pytest.raises(DataError, match="unknown kind"):
        load_data(folders / "x.rtf")
    assert set(data_set_names()) >= {"digits", "mnist", "cifar10", "cifar100", "tiny-imagenet-32"}


def image_folder(root: Path, splits: tuple[str, ...] = ("",), *, per_class: int = 10) -> Path:
    rng = np.random.default_rng(0)
    for split in splits:
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for index in range(per_class):
                pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


def test_folder_without_splits_gets_all_three(folders):
    splits = load_data(image_folder(folders / "pets"))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [14, 2, 4]
    assert torch.bincount(splits.test.labels).tolist() == [2, 2]
    assert len(splits.notes) == 2
    assert "no test split" in splits.notes[0]
    assert torch.equal(load_data(folders / "pets", seed=5).test.ids, splits.test.ids)
    assert splits.train.name == "pets/train"
    assert splits.test.name == "pets/test"


def test_folder_with_splits_keeps_them(folders):
    splits = load_data(image_folder(folders / "pets", ("train", "val", "test")))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20, 20, 20]
    assert splits.notes == ()


def tar_of(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w:gz") as tar:
        tar.add(folder, folder.name)
    return target


def test_archive_is_decoded_once(folders, monkeypatch):
    image_folder(folders / "pets", ("train", "test"))
    archive = tar_of(folders / "pets", folders / "download.tar.gz")
    first = load_data(archive)
    assert (first.name, len(first.test)) == ("pets", 20)
    assert torch.equal(first.test.inputs, load_data(folders / "pets").test.inputs)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_archives, "load_image_folder", fail)
    monkeypatch.setattr(image_archives, "unpack", fail)
    second = load_data(archive)
    assert second.train.fingerprint == first.train.fingerprint
    assert second.test.fingerprint == first.test.fingerprint
    assert second.train.class_names == ("cat", "dog")
    with pytest.raises(AssertionError, match="decoded again"):
        load_data(archive, image_size=3)  # another size is another result


def test_archive_of_class_folders_without_a_top_folder(folders):
    image_folder(folders / "pets")
    archive = folders / "plain.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("cat", "dog"):
            tar.add(folders / "pets" / name, name)
    splits = load_archive(archive)
    assert (splits.name, splits.train.class_names) == ("plain", ("cat", "dog"))


def test_damaged_decoded_file_is_made_again(folders):
    archive = tar_of(image_folder(folders / "pets"), folders / "x.tar.gz")
    first = load_data(archive).train.fingerprint
    kept = next((cache_folder() / "decoded").iterdir())
    kept.write_bytes(kept.read_bytes()[:200])
    assert load_data(archive).train.fingerprint == first


def test_decoded_splits_come_back_equal_and_lazy_ones_are_not_kept(folders):
    splits = dataclasses.replace(load_data("digits"), notes=("a note",))
    write_decoded(folders / "kept.safetensors", splits)
    again = read_decoded(folders / "kept.safetensors")
    assert again.notes == ("a note",)
    assert again.name == "digits"
    for part in ("train", "validation", "test"):
        assert getattr(again, part).fingerprint == getattr(splits, part).fingerprint
    assert read_decoded(folders / "nothing") is None
    lazy = catalog.load_image_folder(image_folder(folders / "pets"), memory_limit_bytes=0)
    write_decoded(folders / "lazy.safetensors", lazy)
    assert not (folders / "lazy.safetensors").exists()


def test_unwritable_cache_only_costs_time(folders):
    (folders / "file").write_text("in the way")
    write_decoded(folders / "file" / "kept.safetensors", load_data("digits"))
    assert read_decoded(folders / "file" / "kept.safetensors") is None


# --- npz --------------------------------------------------------------------------------------------------------------


def test_npz(folders):
    path = folders / "toy.npz"
    inputs, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    np.savez(path, inputs=inputs, labels=labels)
    splits = load_data(path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [29, 3, 8]
    assert splits.train.class_names == ("0", "1")
    np.savez(path, inputs=inputs, labels=labels, test_inputs=inputs[:5], test_labels=labels[:5] + 1)
    assert load_npz(path).train.class_names == ("0", "1", "2")
    words = np.array(["b", "a"])[labels]
    np.savez(path, inputs=inputs, labels=words, validation_inputs=inputs[:4], validation_labels=words[:4])
    splits = load_data(path)
    assert splits.train.class_names == ("a", "b")
    assert splits.validation.labels.tolist() == [1, 0, 1, 0]
    np.savez(path, inputs=inputs, labels=labels, class_names=["no", "yes"], test_inputs=inputs[:4])
    assert load_data(path).test.labels.tolist() == [-1] * 4


def test_npz_refusals(folders):
    path = folders / "toy.npz"
    np.savez(path, inputs=np.zeros((4, 2)))
    with pytest.raises(DataError, match="lacks labels"):
        load_data(path)
    np.savez(path, input=np.zeros((4, 2)), labels=np.zeros(4))
    with pytest.raises(DataError, match=r"(?s)unknown key: input.*did you mean inputs"):
        load_data(path)
    np.savez(path, inputs=np.zeros((4, 2)), labels=np.array([0, "x", None, 1], dtype=object))
    with pytest.raises(DataError, match="plain arrays"):
        load_data(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="Cannot read"):
        load_data(path)
    np.savez(path, inputs=np.zeros((4, 2)), labels=np.zeros(4, dtype=np.int64))
    with pytest.raises(DataError, match="single class"):
        load_data(path)


# --- IDX --------------------------------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def toy_idx_set() -> tuple[idx.IdxSet, dict[str, bytes]]:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (20, 4, 5)), np.arange(20) % 3, rng.integers(0, 256, (6, 4, 5)), np.arange(6) % 3]
    contents = {file.name: idx_bytes(array) for file, array in zip(idx.MNIST.files, arrays, strict=True)}
    packed = {name + ".gz": gzip.compress(content, mtime=0) for name, content in contents.items()}
    files = tuple(idx.IdxFile(name, md5(packed[name + ".gz"]), md5(content)) for name, content in contents.items())
    return idx.IdxSet("toy", files, (), ("a", "b", "c")), packed


def put(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_idx_files_packed_or_not_in_either_folder(folders):
    toy, packed = toy_idx_set()
    put(folders / "data" / "toy", packed)
    first = idx.load_idx_set(toy, fetch=False)
    assert (first.train.input_shape, len(first.test), first.train.labels.tolist()[:4]) == ((1, 4, 5), 6, [0, 1, 2, 0])
    assert first.train.inputs.numpy().tobytes() == gzip.decompress(packed["train-images-idx3-ubyte.gz"])[16:]
    for name in packed:
        (folders / "data" / "toy" / name).unlink()
    put(folders / "cache" / "toy", {name[:-3]: gzip.decompress(content) for name, content in packed.items()})
    assert idx.load_idx_set(toy, fetch=False).train.fingerprint == first.train.fingerprint


def test_missing_files_say_where_to_put_them(folders):
    with pytest.raises(DataError) as caught:
        load_data("mnist", download=False)
    for part in (
        "download is off",
        "train-images-idx3-ubyte.gz",
        str(folders / "data" / "mnist"),
        str(folders / "cache"),
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-1], "cut off or too long"),
        (lambda b: b + b"x", "cut off or too long"),
        (lambda b: b"\0\0\x0d\1" + b[4:], "not an IDX file"),
        (lambda b: b[:6], "cut off or too long"),
        (lambda b: b"", "not an IDX file"),
    ],
)
def test_damaged_idx_files(damage, message):
    with pytest.raises(DataError, match=message):
        idx.read_idx(Path("x"), damage(idx_bytes(np.zeros((3, 2)))))


def test_other_bytes_than_the_published_are_refused(folders):
    toy, packed = toy_idx_set()
    other = gzip.decompress(packed["train-images-idx3-ubyte.gz"])[:-1] + b"\0\0"[:1]
    put(folders / "data" / "toy", {**packed, "train-images-idx3-ubyte.gz": gzip.compress(other[:-1] + b"\x77")})
    with pytest.raises(DataError, match="not the published file"):
        idx.load_idx_set(toy, fetch=False)
    put(folders / "data" / "toy", {"train-images-idx3-ubyte.gz": packed["train-images-idx3-ubyte.gz"][:-20]})
    with pytest.raises(DataError, match="Cannot read"):
        idx.load_idx_set(toy, fetch=False)


# --- downloads --------------------------------------------------------------------------------------------------------


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; files called cut.* announce more bytes than they send."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if not Path(self.path).name.startswith("cut."):
            super().do_GET()
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True


@pytest.fixture
def server(folders) -> Iterator[tuple[str, Path]]:
    served = folders / "served"
    served.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served)))
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/", served
    http.shutdown()
    http.server_close()
    thread.join()


CONTENT = bytes(range(256)) * 1000


def test_download_keeps_a_right_file_quietly(server, capsys, caplog):
    url, served = server
    put(served, {"x.bin": CONTENT})
    path = download("toy", "kept.bin", urls=[url + "x.bin"], md5=md5(CONTENT))
    assert path == cache_folder() / "toy" / "kept.bin"
    assert path.read_bytes() == CONTENT
    assert capsys.readouterr() == ("", "")
    assert not caplog.records


def test_next_mirror_is_tried(server):
    url, served = server
    put(served, {"x.bin": CONTENT, "wrong.bin": b"wrong", "cut.bin": CONTENT})
    urls = [url + name for name in ("nowhere.bin", "wrong.bin", "cut.bin", "x.bin")]
    assert download("toy", "kept.bin", urls=urls, md5=md5(CONTENT)).read_bytes() == CONTENT


@pytest.mark.parametrize(("name", "told"), [("nowhere.bin", "404"), ("wrong.bin", "hash"), ("cut.bin", "kept.bin")])
def test_nothing_wrong_is_kept(server, name, told):
    url, served = server
    put(served, {"wrong.bin": b"wrong", "cut.bin": CONTENT})
    with pytest.raises(DataError) as caught:
        download("toy", "kept.bin", urls=[url + name], md5=md5(CONTENT))
    assert told in str(caught.value)
    assert url + name in str(caught.value)
    assert str(cache_folder() / "toy") in str(caught.value)
    left = list((cache_folder() / "toy").iterdir()) if (cache_folder() / "toy").exists() else []
    assert left == []


def test_unreachable_mirror_is_told():
    with pytest.raises(DataError, match="not here"):
        download("toy", "x", urls=["http://127.0.0.1:9/x"], md5="0" * 32)


def test_idx_set_is_downloaded_once(server):
    url, served = server
    toy, packed = toy_idx_set()
    put(served, packed)
    toy = dataclasses.replace(toy, mirrors=(url + "nowhere/", url))
    first = idx.load_idx_set(toy, fetch=True)
    for name in packed:
        (served / name).unlink()
    assert idx.load_idx_set(toy, fetch=True).train.fingerprint == first.train.fingerprint


# --- CIFAR ------------------------------------------------------------------------------------------------------------


def cifar_batches() -> dict[str, tuple[np.ndarray, list[int]]]:
    rng = np.random.default_rng(0)
    names = [*cifar.CIFAR10_PICKLED.train, *cifar.CIFAR10_PICKLED.test]
    return {name: (rng.integers(0, 256, (4, 3072), dtype=np.uint8), rng.integers(0, 10, 4).tolist()) for name in names}


WORDS = [f"class{number}" for number in range(10)]


def write_members(path: Path, folder: str, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def binary_archive(folder: Path) -> cifar.CifarArchive:
    members = {
        f"{name}.bin": b"".join(bytes([label]) + row.tobytes() for row, label in zip(rows, labels, strict=True))
        for name, (rows, labels) in cifar_batches().items()
    }
    members["batches.meta.txt"] = ("\n".join(WORDS) + "\n\n").encode()
    path = write_members(folder / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", members)
    return dataclasses.replace(cifar.CIFAR10_BINARY, md5=md5(path.read_bytes()))


def pickled_archive(folder: Path, *, protocol: int = 2, extra: object = None) -> cifar.CifarArchive:
    members = {
        name: pickle.dumps({b"data": rows, b"labels": labels, b"filenames": [b"x"] * 4}, protocol)
        for name, (rows, labels) in cifar_batches().items()
    }
    members["batches.meta"] = pickle.dumps({b"label_names": [word.encode() for word in WORDS]}, protocol)
    if extra is not None:
        members["test_batch"] = pickle.dumps(extra, protocol)
    path = write_members(folder / "cifar-10-python.tar.gz", "cifar-10-batches-py", members)
    return dataclasses.replace(cifar.CIFAR10_PICKLED, md5=md5(path.read_bytes()))


def check_cifar(splits: catalog.Splits) -> None:
    batches = cifar_batches()
    rows = np.concatenate([batches[name][0] for name in cifar.CIFAR10_PICKLED.train])
    assert np.array_equal(splits.train.inputs.numpy().reshape(20, 3072), rows)
    labels = [label for name in cifar.CIFAR10_PICKLED.train for label in batches[name][1]]
    assert splits.train.labels.tolist() == labels
    assert splits.test.labels.tolist() == batches["test_batch"][1]
    assert splits.train.class_names == tuple(WORDS)
    assert splits.train.ids.tolist() == list(range(20))


def test_cifar_binary(folders):
    archive = binary_archive(folders)
    check_cifar(cifar.load_cifar(folders / archive.file_name, archive, name="cifar10"))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_cifar_pickled(folders, protocol):
    archive = pickled_archive(folders, protocol=protocol)
    check_cifar(cifar.load_cifar(folders / archive.file_name, archive, name="cifar10"))


class Hostile:
    def __reduce__(self):
        return os.system, ("touch /tmp/ran",)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({b"data": Hostile(), b"labels": [0]}, "more than arrays"),
        (np.load, "more than arrays"),
        ({b"data": [1], b"labels": [0]}, "holds no images"),
        ({b"data": np.zeros((1, 3072), dtype=object), b"labels": [0]}, "holds no images"),
        ([1, 2], "holds no images"),
    ],
)
def test_cifar_pickles_cannot_run_or_hide_anything(folders, extra, message):
    archive = pickled_archive(folders, extra=extra)
    with pytest.raises(DataError, match=message):
        cifar.load_cifar(folders / archive.file_name, archive, name="cifar10")


def test_cifar_archive_must_be_the_published_one(folders):
    binary_archive(folders)
    with pytest.raises(DataError, match="not the published file"):
        cifar.load_cifar(folders / "cifar-10-binary.tar.gz", cifar.CIFAR10_BINARY, name="cifar10")


def test_cifar100_takes_the_fine_label(folders):
    rows = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    content = b"".join(bytes([9, fine]) + row.tobytes() for fine, row in zip([0, 1, 2, 0, 1, 2], rows, strict=True))
    members = {"train.bin": content, "test.bin": content, "fine_label_names.txt": b"x\ny\nz\n"}
    path = write_members(folders / "c.tar.gz", "cifar-100-binary", members)
    archive = dataclasses.replace(cifar.CIFAR100_BINARY, md5=md5(path.read_bytes()))
    splits = cifar.load_cifar(path, archive, name="cifar100")
    assert splits.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert np.array_equal(splits.test.inputs.numpy().reshape(6, 3072), rows)
    path = write_members(folders / "c.tar.gz", "cifar-100-binary", {**members, "train.bin": content[:-1]})
    archive = dataclasses.replace(archive, md5=md5(path.read_bytes()))
    with pytest.raises(DataError, match="cut off"):
        cifar.load_cifar(path, archive, name="cifar100")


def test_cifar10_by_name_finds_any_archive_and_decodes_it_once(folders, monkeypatch):
    binary = binary_archive(folders / "cache" / "cifar10")
    pickled = pickled_archive(folders / "data")

    def entry(fetch: bool) -> catalog.Splits:
        return named_sets._load_cifar("cifar10", (binary, pickled), "cifar10-jpeg.tar.gz", fetch)

    monkeypatch.setitem(catalog.CATALOG, "cifar10", named_sets.Entry("toy", entry))
    first = load_data("cifar10", validation_fraction=0)
    check_cifar(first)
    monkeypatch.setattr(named_sets, "load_cifar", None)
    assert load_data("cifar10", validation_fraction=0).train.fingerprint == first.train.fingerprint
    (folders / "cache" / "cifar10" / binary.file_name).unlink()
    monkeypatch.setattr(named_sets, "load_cifar", cifar.load_cifar)
    assert load_data("cifar10", validation_fraction=0).train.fingerprint == first.train.fingerprint


def test_cifar10_offline_names_what_would_do(folders):
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz or cifar-10-python.tar.gz or cifar10-jpeg.tar.gz"):
        load_data("cifar10", download=False)


def test_tiny_imagenet_tests_on_val(folders):
    image_folder(folders / "tiny-imagenet-32", ("train", "val"))
    tar_of(folders / "tiny-imagenet-32", folders / "data" / "tiny-imagenet-32.tar.gz")
    splits = load_data("tiny-imagenet-32")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [18, 2, 20]
    assert splits.test.name == "tiny-imagenet-32/test"
    os.remove(folders / "data" / "tiny-imagenet-32.tar.gz")
    with pytest.raises(DataError, match="no public mirror"):
        load_data("tiny-imagenet-32")


# --- the real sets ----------------------------------------------------------------------------------------------------


def test_real_mnist(monkeypatch):
    real(monkeypatch, "mnist")
    splits = load_data("mnist", download=False)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [54000, 6000, 10000]
    assert torch.bincount(splits.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    whole = load_data("mnist", download=False, validation_fraction=0).train
    from limbeck.data import Normalise

    normalise = Normalise.fit(whole)
    assert (round(normalise.mean[0], 4), round(normalise.std[0], 4)) == (0.1307, 0.3081)  # the well-known figures


def test_real_cifar10_every_fiftieth_image(folders, monkeypatch):
    real(monkeypatch, "cifar10-jpeg.tar.gz")
    copy_every(50, Path(REAL) / "cifar10-jpeg.tar.gz", folders / "data" / "cifar10-jpeg.tar.gz")
    monkeypatch.setenv("LIMBECK_DATA", str(folders / "data"))
    first = load_data("cifar10", download=False)
    assert [len(part) for part in (first.train, first.validation, first.test)] == [900, 100, 200]
    assert first.train.class_names[:3] == ("airplane", "automobile", "bird")
    assert torch.bincount(first.train.labels).tolist() == [90] * 10
    assert any("JPEG" in note for note in first.notes)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was decoded again"))
    second = load_data("cifar10", download=False)
    assert second.train.fingerprint == first.train.fingerprint


def test_as_samples_agrees_with_load(folders):
    digits = load_data("digits").test
    again = as_samples((digits.inputs.numpy(), digits.labels.numpy()), ids=digits.ids, class_names=digits.class_names)
    assert again.fingerprint == digits.fingerprint
