"""MNIST and Fashion-MNIST: four IDX files each."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck.bounds import require_plain_file, unpacked_limit
from limbeck.data.downloads import check_md5, download, find_file, missing
from limbeck.data.samples import Samples
from limbeck.data.splits import Splits
from limbeck.errors import DataError

_UINT8 = 0x08


@dataclass(frozen=True)
class IdxFile:
    """One file of a set."""

    name: str  # without .gz
    packed_md5: str  # of the published .gz
    unpacked_md5: str | None = None  # where it is published


@dataclass(frozen=True)
class IdxSet:
    """A set of four IDX files: images and labels to train, images and labels to test."""

    name: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    mirrors: tuple[str, ...]  # base URLs
    class_names: tuple[str, ...]


MNIST = IdxSet(
    "mnist",
    (
        IdxFile("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
        IdxFile("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
        IdxFile("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
        IdxFile("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
    ),
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    tuple("0123456789"),
)
FASHION_MNIST = IdxSet(
    "fashion-mnist",
    (
        IdxFile("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        IdxFile("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe"),
        IdxFile("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79"),
        IdxFile("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


def load_idx_set(idx_set: IdxSet, *, fetch: bool) -> Splits:
    """Load the four files, packed or not, from the search folders, else from a mirror where ``fetch``.

    Ids are the positions in the published files.

    Raises:
        DataError: files missing and not fetched, damaged, not the published ones, or of sizes that do not agree.
    """
    train_images, train_labels, test_images, test_labels = (
        _read_file(idx_set, file, fetch=fetch) for file in idx_set.files
    )
    return Splits(
        _samples(f"{idx_set.name}/train", train_images, train_labels, idx_set.class_names),
        None,
        _samples(f"{idx_set.name}/test", test_images, test_labels, idx_set.class_names),
        name=idx_set.name,
    )


def read_idx(path: Path, content: bytes) -> Tensor:
    """Return the uint8 tensor that an IDX file holds.

    The file is: two zero bytes, the type (8 for uint8), the number of dimensions, each size as a big-endian 32-bit
    integer, then the values.

    Args:
        path: for messages.
        content: the unpacked file.
    Raises:
        DataError: another type, or a length that the header does not announce.
    """
    if len(content) < 4 or content[0] or content[1] or content[2] != _UINT8 or not 1 <= content[3] <= 4:
        raise DataError(
            f"{path} is not an IDX file of bytes.",
            received=f"header {content[:4].hex()}",
            expected="0000 08 and 1 to 4",
        )
    start = 4 + 4 * content[3]
    sizes = struct.unpack(f">{content[3]}I", content[4:start]) if len(content) >= start else ()
    expected = start + int(np.prod(sizes, dtype=np.int64)) if sizes else start
    if len(content) != expected:
        raise DataError(
            f"{path} is cut off or too long.",
            received=f"{len(content)} bytes",
            expected=f"{expected} bytes for {'x'.join(map(str, sizes))} values",
            remedy="get the file again",
        )
    return torch.from_numpy(np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes).copy())


def _read_file(idx_set: IdxSet, file: IdxFile, *, fetch: bool) -> Tensor:
    packed_name = file.name + ".gz"
    path = find_file(idx_set.name, [packed_name, file.name])
    if path is None:
        if not fetch:
            raise missing(idx_set.name, [item.name + ".gz" for item in idx_set.files], reason="download is off")
        urls = [mirror + packed_name for mirror in idx_set.mirrors]
        path = download(idx_set.name, packed_name, urls=urls, md5=file.packed_md5)
    require_plain_file(path)
    try:
        content = _unpacked(path) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"Cannot read {path}.", received=str(error), remedy="remove it and get it again") from error
    if file.unpacked_md5 is not None:
        check_md5(path, file.unpacked_md5, content=content)
    return read_idx(path, content)


def _unpacked(path: Path) -> bytes:
    limit = unpacked_limit(path.stat().st_size)
    with gzip.open(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise DataError(f"{path} unpacks to far more than it is.", expected=f"at most {limit:,} bytes")
    return content


def _samples(name: str, images: Tensor, labels: Tensor, class_names: tuple[str, ...]) -> Samples:
    if images.dim() != 3 or labels.dim() != 1:
        raise DataError(
            f"The files of {name} hold no images and labels.",
            received=f"shapes {tuple(images.shape)} and {tuple(labels.shape)}",
            expected="(n, height, width) and (n,)",
        )
    return Samples(name, torch.arange(len(images)), images[:, None], labels.to(torch.int64), class_names)
