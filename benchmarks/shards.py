"""Tar shards and Parquet: how long a start takes, the first time and again, its memory, and how fast samples are read.

    python benchmarks/shards.py                               # 40 files of 5,000 samples, in a temporary folder
    python benchmarks/shards.py --shards 4 --samples 1000

A sample is a PNG of 32 x 32 pixels and its class. The same pictures lie in tar shards, Parquet files and a folder; the
last rounds read random batches of 256 from each, interleaved, and give the ratios of their times to the folder's.
Times are the processor's, of one thread: others may run on the machine. Indexing is compared with what ``tarfile``
needs to list the same members; the first start on Parquet writes it as Arrow. Each start has a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import io
import json
import os
import resource
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import torch
from large_store import resident
from PIL import Image

from limbeck.data import Samples, from_arrays, load_image_folder, load_shards, load_tables
from limbeck.data.image_inputs import ImageSettings

BATCH_SIZE, NUM_ROUNDS = 256, 15
NUM_PICTURES = 500  # that differ


def main() -> None:
    """Write shards and folder, measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--samples", type=int, default=5000, help="of a shard")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LIMBECK_CACHE"] = f"{scratch}/cache"
        write(Path(scratch), arguments.shards, arguments.samples)
        time.sleep(3.0)  # a file that has just changed is not remembered
        for kind in ("shards", "tables"):
            for measure in (first_start, later_start):
                if (child := os.fork()) == 0:
                    print(json.dumps(measure(Path(scratch), kind)), flush=True)
                    os._exit(0)
                os.waitpid(child, 0)


def write(scratch: Path, num_shards: int, num_samples: int) -> None:
    """Write the pictures twice: into shards, and into a folder of 100 classes."""
    draw, pictures = np.random.default_rng(0), []
    for _ in range(NUM_PICTURES):
        file = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "png")
        pictures.append(file.getvalue())
    for number in range(100):
        (scratch / "folder" / f"{number:03d}").mkdir(parents=True)
    (scratch / "shards").mkdir()
    (scratch / "tables").mkdir()
    for shard in range(num_shards):
        rows = []
        with tarfile.open(scratch / "shards" / f"train-{shard:04d}.tar", "w") as tar:
            for place in range(num_samples):
                key, content = f"{shard:04d}{place:06d}", pictures[(shard + place) % NUM_PICTURES]
                label = (shard * num_samples + place) % 100
                for name, data in ((f"{key}.png", content), (f"{key}.cls", b"%d" % label)):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
                (scratch / "folder" / f"{label:03d}" / f"{key}.png").write_bytes(content)
                rows.append({"image": {"bytes": content, "path": f"{key}.png"}, "label": label})
        parquet.write_table(pyarrow.Table.from_pylist(rows), scratch / "tables" / f"train-{shard:04d}.parquet")


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor's seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def after_trimming() -> int:
    """Return the process's own bytes once what it has freed was given back to the system."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return resident()[0]


def list_members(path: Path) -> list[tarfile.TarInfo]:
    """Return what ``tarfile`` lists."""
    with tarfile.open(path) as tar:
        return tar.getmembers()


def loaded(scratch: Path, kind: str) -> Samples:
    """Return the samples of tar shards or tables, read on demand however few they are."""
    if kind == "shards":
        return load_shards(str(scratch / kind), memory_limit_bytes=0).train
    from_arrays.ImageSettings = partial(ImageSettings, memory_limit_bytes=0)
    return load_tables("parquet", str(scratch / kind)).train


def first_start(scratch: Path, kind: str) -> dict[str, float | str]:
    """Return what the first start takes, which indexes tar files and writes Parquet as Arrow."""
    import datasets  # noqa: F401 - its own start is not counted

    paths = sorted((scratch / kind).iterdir())
    before = sum(resident())
    first = seconds_of(lambda: loaded(scratch, kind))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before / 1e6
    by_tarfile = seconds_of(lambda: [list_members(path) for path in paths]) if kind == "shards" else 0.0
    return {
        "start": f"first, {kind}",
        "files": len(paths),
        "gigabytes": round(sum(path.stat().st_size for path in paths) / 1e9, 2),
        "seconds": round(first, 2),
        "peak_megabytes": round(peak, 1),
        **({"tarfile_over_first": round(by_tarfile / first, 2)} if by_tarfile else {}),
    }


def later_start(scratch: Path, kind: str) -> dict[str, float | str]:
    """Return what a later start takes and holds, and how fast random batches are read."""
    import datasets  # noqa: F401

    own, found = after_trimming(), list[Samples]()
    again = seconds_of(lambda: found.append(loaded(scratch, kind)))
    samples, held = found[0], after_trimming() - own
    folder = load_image_folder(scratch / "folder", memory_limit_bytes=0).train
    draw = torch.Generator().manual_seed(0)
    ratios, rates = [], []
    for _ in range(NUM_ROUNDS):
        chosen = torch.randint(0, len(samples), (BATCH_SIZE,), generator=draw)
        there, here = (seconds_of(partial(one.fetch, chosen)) for one in (folder, samples))
        ratios.append(here / there)
        rates.append(BATCH_SIZE / here)
    return {
        "start": f"again, {kind}",
        "samples": len(samples),
        "seconds": round(again, 2),
        "own_bytes_per_sample": round(held / len(samples), 1),
        "images_per_second": round(statistics.median(rates)),
        "over_folder": round(statistics.median(ratios), 2),
    }


if __name__ == "__main__":
    main()
