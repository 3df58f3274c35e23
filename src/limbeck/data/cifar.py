"""CIFAR-10 and CIFAR-100 from their published archives, binary or pickled; nothing in them is run."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.downloads import check_md5
from limbeck.data.samples import Samples
from limbeck.data.splits import Splits
from limbeck.errors import DataError

_PIXELS = 3 * 32 * 32
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class CifarArchive:
    """One published archive: a member's last path part identifies it."""

    file_name: str
    md5: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str  # the member with the class names
    is_pickled: bool
    label_key: str  # of the pickled dictionaries
    num_label_bytes: int = 1  # per record of a binary file; the last one counts


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
CIFAR10_BINARY = CifarArchive(
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    tuple(f"{batch}.bin" for batch in _BATCHES),
    ("test_batch.bin",),
    "batches.meta.txt",
    is_pickled=False,
    label_key="",
)
CIFAR10_PICKLED = CifarArchive(
    "cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a",
    _BATCHES,
    ("test_batch",),
    "batches.meta",
    is_pickled=True,
    label_key="labels",
)
CIFAR100_BINARY = CifarArchive(
    "cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
    ("train.bin",),
    ("test.bin",),
    "fine_label_names.txt",
    is_pickled=False,
    label_key="",
    num_label_bytes=2,
)
CIFAR100_PICKLED = CifarArchive(
    "cifar-100-python.tar.gz",
    "eb9058c3a382ffc7106e4002c42a8d85",
    ("train",),
    ("test",),
    "meta",
    is_pickled=True,
    label_key="fine_labels",
)


def load_cifar(path: Path, archive: CifarArchive, *, name: str) -> Splits:
    """Load train and test from an archive; ids are the positions in the published order.

    Args:
        path: the archive.
        archive: what it must be.
        name: of the data set.
    Raises:
        DataError: another checksum, members missing, or content of another form.
    """
    check_md5(path, archive.md5)
    members = _read_members(path, {*archive.train, *archive.test, archive.names})
    class_names = _class_names(path, archive, members[archive.names])
    parts = []
    for split, files in (("train", archive.train), ("test", archive.test)):
        read = [_read_batch(path, archive, file, members[file]) for file in files]
        images, labels = torch.cat([images for images, _ in read]), torch.cat([labels for _, labels in read])
        parts.append(Samples(f"{name}/{split}", torch.arange(len(images)), images, labels, class_names))
    return Splits(parts[0], None, parts[1], name=name)


def load_plain_pickle(content: bytes, *, source: str) -> Any:
    """Unpickle dictionaries, lists, numbers, bytes and numpy arrays; anything else is refused before it can run.

    Args:
        content: the pickle, of Python 2 or 3; its strings come back as bytes.
        source: for messages.
    Raises:
        DataError: the pickle names anything but the making of arrays, holds arrays of objects, or is damaged.
    """
    try:
        loaded = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises many kinds
        raise DataError(f"{source} is damaged.", received=f"{type(error).__name__}: {error}") from error
    return loaded


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataError(
                "The pickle holds more than arrays; it is not loaded.",
                received=f"{module}.{name}",
                expected="dictionaries, lists, numbers, bytes and numpy arrays",
                remedy="get the archive from its publisher",
            )
        if name == "_reconstruct":
            return _empty_array
        if name == "encode":
            return _encode
        return getattr(np, name)


def _empty_array(kind: Any, shape: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """What numpy's ``_reconstruct`` does for plain arrays, whose state, shape included, is set afterwards."""
    if kind is not np.ndarray:
        raise DataError("The pickle holds an array of another class.", received=repr(kind))
    return np.ndarray((0,), np.uint8)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What ``_codecs.encode`` does for the bytes of old pickles; other codecs are refused."""
    if encoding not in ("latin1", b"latin1"):
        raise DataError("The pickle names another codec.", received=repr(encoding), expected="latin1")
    return text.encode("latin1")


def _read_members(path: Path, wanted: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as tar:
            for member in tar:
                last = member.name.rsplit("/", 1)[-1]
                if last in wanted and member.isreg() and (file := tar.extractfile(member)) is not None:
                    found[last] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged.", received=str(error), remedy="get it again") from error
    if lacking := sorted(wanted - found.keys()):
        raise DataError(f"{path} lacks members.", received=f"no {', '.join(lacking)}", remedy="get it again")
    return found


def _read_batch(path: Path, archive: CifarArchive, member: str, content: bytes) -> tuple[Tensor, Tensor]:
    if archive.is_pickled:
        batch = load_plain_pickle(content, source=f"{path}: {member}")
        pixels, given = (_entry(batch, "data"), _entry(batch, archive.label_key))
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or not isinstance(given, list):
            raise DataError(f"{path}: {member} holds no images.", expected="uint8 data and a list of labels")
        labels = np.array(given, dtype=np.int64)
    else:
        record = archive.num_label_bytes + _PIXELS
        if not content or len(content) % record:
            raise DataError(
                f"{path}: {member} is cut off.", received=f"{len(content)} bytes", expected=f"a multiple of {record}"
            )
        rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
        labels = rows[:, archive.num_label_bytes - 1].astype(np.int64)
        pixels = rows[:, archive.num_label_bytes :]
    return torch.from_numpy(pixels.reshape(-1, 3, 32, 32).copy()), torch.from_numpy(labels)


def _class_names(path: Path, archive: CifarArchive, content: bytes) -> tuple[str, ...]:
    if not archive.is_pickled:
        return tuple(content.decode("utf-8").split())
    names = _entry(load_plain_pickle(content, source=f"{path}: {archive.names}"), archive.label_key[:-1] + "_names")
    return tuple(name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names or ())


def _entry(batch: Any, key: str) -> Any:
    """The value of a key that may be text or bytes; None where it is missing."""
    return batch.get(key.encode(), batch.get(key)) if isinstance(batch, dict) else None
