"""A folder of a million image files: how long it takes to start, the first time and again, and what memory that needs.

    python benchmarks/many_files.py                       # a million files of 1,000 classes, in a temporary folder
    python benchmarks/many_files.py --files 20000 --classes 100

The files are one small picture each, 8 x 8 pixels in colour. To start is to list the files, to look at a thousand of
them, to compute ids, labels and fingerprint, and to read the first batch of an epoch. Each start is a process of its
own. Memory is what the process holds for itself beyond what it held after the imports; pages of mapped files, which the
system can take back, are told beside it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from large_store import resident
from PIL import Image

from limbeck.data import Views, epoch_order, iterate_batches, load_image_folder

BATCH_SIZE = 256
NUM_BATCHES = 40


def main() -> None:
    """Write the folder, start twice, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="to be used again, or made; by default a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LIMBECK_CACHE"] = f"{scratch}/cache"
        root = arguments.folder or Path(scratch) / "photos"
        if not root.is_dir():
            write_files(root, arguments.files, arguments.classes)
            time.sleep(3.0)  # a folder that has just changed is not remembered
        for name in ("first", "again"):
            if (child := os.fork()) == 0:
                print(json.dumps({"start": name, **measured(root)}), flush=True)
                os._exit(0)
            os.waitpid(child, 0)


def write_files(root: Path, num_files: int, num_classes: int) -> None:
    """Write the pictures, as many for each class."""
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(content, "png")
    for number in range(num_classes):
        folder = root / f"n{number:08d}"
        folder.mkdir(parents=True)
        for place in range(number, num_files, num_classes):
            with open(f"{folder}/n{number:08d}_{place}.png", "wb") as file:
                file.write(content.getvalue())


def measured(root: Path) -> dict[str, float]:
    """Start once; return seconds and megabytes."""
    own, mapped = resident()
    begun = time.perf_counter()
    samples = load_image_folder(root, memory_limit_bytes=0).train
    listed = time.perf_counter()
    assert samples.fingerprint
    printed = time.perf_counter()
    order = epoch_order(samples.ids, seed=0, epoch=0)
    batches = iterate_batches(samples, Views(), order, batch_size=BATCH_SIZE, view=None, prefetch=0)
    next(batches)
    started = time.perf_counter()
    now, mapped_now = resident()
    for _ in range(NUM_BATCHES):
        next(batches)
    later, _ = resident()
    return {
        "files": len(samples),
        "load_seconds": round(listed - begun, 2),
        "fingerprint_seconds": round(printed - listed, 2),
        "first_batch_seconds": round(started - printed, 2),
        "start_seconds": round(started - begun, 2),
        "own_megabytes": round((now - own) / 1e6, 1),
        "mapped_megabytes": round((mapped_now - mapped) / 1e6, 1),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - (own + mapped) / 1e6, 1),
        "more_megabytes_after_40_batches": round((later - now) / 1e6, 1),
    }


if __name__ == "__main__":
    main()
