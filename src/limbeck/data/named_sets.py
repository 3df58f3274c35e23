"""The data sets that have a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from limbeck.data.archives import archive_key
from limbeck.data.cifar import (
    CIFAR10_BINARY,
    CIFAR10_PICKLED,
    CIFAR100_BINARY,
    CIFAR100_PICKLED,
    CifarArchive,
    load_cifar,
)
from limbeck.data.decoded import read_decoded, write_decoded
from limbeck.data.digits import load_digits
from limbeck.data.downloads import cache_folder, download, find_file, missing
from limbeck.data.idx import FASHION_MNIST, MNIST, load_idx_set
from limbeck.data.image_archives import load_archive
from limbeck.data.splits import Splits, renamed

_CIFAR_MIRROR = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class Entry:
    """One named data set."""

    summary: str
    read: Callable[[bool], Splits]  # takes whether it may download


def _load_cifar(name: str, archives: tuple[CifarArchive, ...], folder_archive: str, may_download: bool) -> Splits:
    """The first archive that is here, binary or pickled, then a folder of images, else a download of the binary one."""
    names = [archive.file_name for archive in archives]
    path = find_file(name, [*names, folder_archive])
    if path is not None and path.name == folder_archive:
        splits = load_archive(path, name=name)
        return dataclasses.replace(splits, notes=(*splits.notes, f"Read from {folder_archive}: JPEG, slightly lossy."))
    if path is None:
        if not may_download:
            raise missing(name, [" or ".join([*names, folder_archive])], reason="download is off")
        path = download(name, names[0], urls=[_CIFAR_MIRROR + names[0]], md5=archives[0].md5)
    kept = cache_folder() / "decoded" / f"{archive_key(path)}.safetensors"
    read = read_decoded(kept)
    if read is None:
        read = load_cifar(path, archives[names.index(path.name)], name=name)
        write_decoded(kept, read)
    return read


def _load_tiny_imagenet(_: bool) -> Splits:
    """Its labelled ``val`` is the test split; the published test images have no labels."""
    name = "tiny-imagenet-32"
    path = find_file(name, [f"{name}.tar.gz", f"{name}.zip"])
    if path is None:
        raise missing(name, [f"{name}.tar.gz"], reason="it has no public mirror")
    splits = load_archive(path, name=name)
    if splits.test is None:
        splits = renamed(dataclasses.replace(splits, test=splits.validation, validation=None), name)
    return splits


CATALOG: dict[str, Entry] = {
    "digits": Entry("1,797 handwritten digits, 8x8 grey, 10 classes; comes with scikit-learn", lambda _: load_digits()),
    "mnist": Entry("70,000 handwritten digits, 28x28 grey, 10 classes", lambda fetch: load_idx_set(MNIST, fetch=fetch)),
    "fashion-mnist": Entry(
        "70,000 pieces of clothing, 28x28 grey, 10 classes", lambda fetch: load_idx_set(FASHION_MNIST, fetch=fetch)
    ),
    "cifar10": Entry(
        "60,000 photographs, 32x32 RGB, 10 classes",
        lambda fetch: _load_cifar("cifar10", (CIFAR10_BINARY, CIFAR10_PICKLED), "cifar10-jpeg.tar.gz", fetch),
    ),
    "cifar100": Entry(
        "60,000 photographs, 32x32 RGB, 100 classes",
        lambda fetch: _load_cifar("cifar100", (CIFAR100_BINARY, CIFAR100_PICKLED), "cifar100-jpeg.tar.gz", fetch),
    ),
    "tiny-imagenet-32": Entry("110,000 photographs, 32x32 RGB, 200 classes; no download", _load_tiny_imagenet),
}
