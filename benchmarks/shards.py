"""Tar shards: how long the index takes, the first time and again, what memory it needs, and how fast samples are read.

    python benchmarks/shards.py                               # 40 shards of 5,000 samples, in a temporary folder
    python benchmarks/shards.py --shards 4 --samples 1000

A sample is a PNG of 32 x 32 pixels and its class. The same pictures lie in a folder, too; the last rounds read random
batches of 256 from both, interleaved, and give the ratio of their times. Times are the processor's, of one thread:
others may run on the machine. The index is compared with what ``tarfile`` needs to list the same members.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from large_store import resident
from PIL import Image

from limbeck.data import Samples, load_image_folder, load_shards

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
        if (child := os.fork()) == 0:
            print(json.dumps(measured(Path(scratch)), indent=1), flush=True)
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
    for shard in range(num_shards):
        with tarfile.open(scratch / "shards" / f"train-{shard:04d}.tar", "w") as tar:
            for place in range(num_samples):
                key, content = f"{shard:04d}{place:06d}", pictures[(shard + place) % NUM_PICTURES]
                label = (shard * num_samples + place) % 100
                for name, data in ((f"{key}.png", content), (f"{key}.cls", b"%d" % label)):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
                (scratch / "folder" / f"{label:03d}" / f"{key}.png").write_bytes(content)


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor's seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def list_members(path: Path) -> list[tarfile.TarInfo]:
    """Return what ``tarfile`` lists."""
    with tarfile.open(path) as tar:
        return tar.getmembers()


def measured(scratch: Path) -> dict[str, float]:
    """Return seconds, bytes and ratios."""
    paths = sorted((scratch / "shards").iterdir())
    own, _ = resident()
    first = seconds_of(lambda: load_shards(str(scratch / "shards"), memory_limit_bytes=0))
    loaded: list[Samples] = []
    again = seconds_of(lambda: loaded.append(load_shards(str(scratch / "shards"), memory_limit_bytes=0).train))
    samples = loaded[0]
    held = resident()[0] - own
    by_tarfile = seconds_of(lambda: [list_members(path) for path in paths])
    folder = load_image_folder(scratch / "folder", memory_limit_bytes=0).train
    draw = torch.Generator().manual_seed(0)
    ratios, rates = [], []
    for _ in range(NUM_ROUNDS):
        chosen = torch.randint(0, len(samples), (BATCH_SIZE,), generator=draw)
        there, here = (seconds_of(partial(one.fetch, chosen)) for one in (folder, samples))
        ratios.append(here / there)
        rates.append(BATCH_SIZE / here)
    return {
        "shards": len(paths),
        "samples": len(samples),
        "gigabytes": round(sum(path.stat().st_size for path in paths) / 1e9, 2),
        "first_seconds": round(first, 2),
        "first_samples_per_second": round(len(samples) / first),
        "again_seconds": round(again, 2),
        "tarfile_over_first": round(by_tarfile / first, 2),
        "own_bytes_per_sample": round(held / len(samples), 1),
        "images_per_second": round(statistics.median(rates)),
        "shards_over_folder": round(statistics.median(ratios), 2),
    }


if __name__ == "__main__":
    main()
