"""Reading of image folders against torchvision's ImageFolder and a DataLoader, and of very many small files."""

from __future__ import annotations

import contextlib
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limbeck.bench.memory import resident_bytes
from limbeck.bench.timing import interleaved, machine_facts, reached, seconds_by_way
from limbeck.data import ReadSettings, Samples, Views, epoch_order, iterate_batches, load_image_folder
from limbeck.errors import require_positive

BATCH_SIZE = 64
IMAGE_SIZE = 96
NUM_CLASSES = 10
WORKERS = (0, 1, 2)
TARGET = 1 / 0.95  # seconds of ours over the floor's: 0.95 of its samples per second
LIST_SECONDS, BYTES_EACH = 10.0, 400.0
SMALL_SIZE = 8  # pixels
_NMS_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def run(
    *, num_samples: int = 1_500, num_small_files: int = 200_000, num_rounds: int = 7, seed: int = 0
) -> dict[str, Any]:
    """Time a pass over a folder of JPEG files, in turns, with 0, 1 and 2 worker processes.

    The floor is torchvision's ``ImageFolder`` with ``ToTensor`` in a shuffled ``DataLoader``; where torchvision cannot
    be imported, the same loop by hand (Pillow, to RGB, to a float tensor). Both give float32 images in [0, 1].
    Beside it, a folder of many tiny files is listed and fingerprinted, and part of it is read.

    Args:
        num_samples: JPEG files of 96 x 96 pixels.
        num_small_files: PPM files of 8 x 8 pixels; 0 leaves that part out.
        num_rounds: how often each pass is run.
        seed: of the pixels and orders.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds``, ``ratios`` (ours to the floor's with as many
        workers), ``targets``, ``reached``, ``small_files`` and ``machine``.
    Raises:
        InvalidValue: no samples or rounds.
    """
    require_positive("num_samples", num_samples)
    torchvision = _torchvision()
    with tempfile.TemporaryDirectory(prefix="limbeck-bench-") as folder:
        root = Path(folder) / "jpeg"
        _write_images(root, num_samples, IMAGE_SIZE, ".jpg", seed)
        samples = load_image_folder(root, memory_limit_bytes=0).train
        rival = _Folder(root) if torchvision is None else _image_folder(torchvision, root)
        ways: dict[str, Callable[[], object]] = {}
        for workers in WORKERS:
            ways[f"floor, {workers} workers"] = lambda workers=workers: _read_rival(rival, workers)  # type: ignore[misc]
            ways[f"limbeck, {workers} workers"] = lambda workers=workers: _read(samples, workers, seed)  # type: ignore[misc]
        timings = interleaved(ways, num_rounds=num_rounds, warmup=1)
        small = _small_files(Path(folder) / "small", num_small_files, seed) if num_small_files else {}
    ratios = {
        f"limbeck, {workers} workers": timings[f"limbeck, {workers} workers"].ratio_to(
            timings[f"floor, {workers} workers"]
        )
        for workers in WORKERS
    }
    targets = dict.fromkeys(ratios, TARGET)
    return {
        "name": "loading",
        "settings": {"num_samples": num_samples, "image_size": IMAGE_SIZE, "batch_size": BATCH_SIZE, "seed": seed},
        "floor": "a loop by hand (no torchvision)" if torchvision is None else "torchvision's ImageFolder, DataLoader",
        "seconds": seconds_by_way(timings),
        "ratios": ratios,
        "targets": targets,
        "reached": reached(ratios, targets),
        "small_files": small,
        "machine": machine_facts(),
    }


class _Folder(Dataset[tuple[Tensor, int]]):
    """What ImageFolder with ToTensor does, by hand."""

    def __init__(self, root: Path) -> None:
        classes = sorted(folder for folder in root.iterdir() if folder.is_dir())
        self.items = [(str(path), label) for label, folder in enumerate(classes) for path in sorted(folder.iterdir())]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        from PIL import Image

        path, label = self.items[place]
        with open(path, "rb") as file:
            pixels = np.array(Image.open(file).convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().to(torch.float32).div(255), label


def _torchvision() -> Any:
    """torchvision's data sets and transforms; None where they are absent.

    One that was built for another torch lacks its compiled operators, which reading images does not use: it imports
    once the schema is there that its Python code registers a shape rule for.
    """
    try:
        for operator in ("nms", "qnms"):
            with contextlib.suppress(RuntimeError):  # defined already
                torch.library.define(f"torchvision::{operator}", _NMS_SCHEMA)
        from torchvision import datasets, transforms
    except (ImportError, RuntimeError, OSError, AttributeError):
        return None
    return datasets, transforms


def _image_folder(torchvision: Any, root: Path) -> Any:
    datasets, transforms = torchvision
    return datasets.ImageFolder(str(root), transform=transforms.ToTensor())


def _write_images(root: Path, count: int, size: int, suffix: str, seed: int) -> None:
    from PIL import Image

    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (64, size // 8, size // 8, 3), dtype=np.uint8)
    for label in range(NUM_CLASSES):
        (root / f"class{label}").mkdir(parents=True)
    header = f"P6 {size} {size} 255\n".encode()
    for place in range(count):
        path = root / f"class{place % NUM_CLASSES}" / f"{place:06d}{suffix}"
        pixels = coarse[place % 64].repeat(8, axis=0).repeat(8, axis=1)
        if suffix == ".ppm":
            path.write_bytes(header + pixels.tobytes())
        else:
            Image.fromarray(pixels).save(path, quality=90)


def _read_rival(dataset: Any, workers: int) -> int:
    loader = DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True, num_workers=workers)
    return sum(len(labels) for _, labels in loader)


def _read(samples: Samples, workers: int, seed: int) -> int:
    order = epoch_order(samples.ids, seed=seed, epoch=0)
    reading = ReadSettings(num_workers=workers)
    batches = iterate_batches(samples, Views(), order, batch_size=BATCH_SIZE, view=None, reading=reading)
    return sum(len(batch) for batch in batches)


def _small_files(root: Path, count: int, seed: int) -> dict[str, float | bool]:
    """Seconds to list and fingerprint, bytes that stay for each file, and how memory grows while they are read."""
    _write_images(root, count, SMALL_SIZE, ".ppm", seed)
    start = time.perf_counter()
    samples = load_image_folder(root, memory_limit_bytes=0).train
    assert len(samples.fingerprint) == 64
    seconds = time.perf_counter() - start
    tracemalloc.start()
    again = load_image_folder(root, memory_limit_bytes=0).train
    assert again.fingerprint == samples.fingerprint
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    order = epoch_order(samples.ids, seed=seed, epoch=0)
    levels: list[int] = []
    for number, _batch in enumerate(iterate_batches(samples, Views(), order, batch_size=256, view=None)):
        if number % max(1, count // 256 // 10) == 0:
            levels.append(resident_bytes())
    growth = levels[-1] - levels[min(2, len(levels) - 1)]
    return {
        "num_files": count,
        "list_and_fingerprint_seconds": seconds,
        "target_seconds": LIST_SECONDS,
        "bytes_each": held / count,
        "target_bytes_each": BYTES_EACH,
        "epoch_growth_bytes": growth,
        "epoch_growth_bytes_each": growth / count,
        "reached": seconds < LIST_SECONDS and held / count < BYTES_EACH,
    }
