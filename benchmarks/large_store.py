"""A store too large to make: how long it takes to open, what memory that needs, and how fast ids are found.

    python benchmarks/large_store.py                              # 100 million samples x 10 views, 14 classes
    python benchmarks/large_store.py --samples 1000000 --views 2

Ids and plan are written as a collection writes them. The shards are files of holes: of the right size, no byte on
the disk. Times are of one thread. Memory is what the process holds for itself; pages of mapped files, which the system
takes back when it needs them, are told beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import torch

from limbeck.targets import Dense8, Plan, TargetStore, measure_fidelity
from limbeck.targets.layout import member_folder, shard_file
from limbeck.targets.manifest import MANIFEST_FORMAT, Manifest, MemberRecord, ShardRecord, write_sealed
from limbeck.targets.writer import SHARD_BYTES, write_ids, write_plan

BATCH_SIZE = 4096
NUM_BATCHES = 200


def main() -> None:
    """Write the store, open it, look ids up, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000_000)
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--gap", type=int, default=7, help="between one id and the next; 1: ids are 0, 1, 2, ...")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder), arguments.samples, arguments.views, arguments.classes, arguments.gap)
        if (child := os.fork()) == 0:  # a process without what writing needed
            print(json.dumps(measured(Path(folder), arguments.samples, arguments.gap), indent=1), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


def write_store(folder: Path, num_samples: int, num_views: int, num_classes: int, gap: int) -> None:
    """Write ids, plan and manifest, and shards without content."""
    codec = Dense8(num_classes)
    fidelity = measure_fidelity(codec, torch.randn(16, num_classes))
    member = MemberRecord("teacher", "0" * 64, codec.name, codec.parameters(), None, codec.record_bytes, fidelity)
    plan = Plan(
        data_name="simulated",
        inputs_fingerprint="0" * 64,
        num_samples=num_samples,
        ids=write_ids(folder, torch.arange(num_samples) * gap),
        views={},
        views_fingerprint="0" * 64,
        num_views=num_views,
        class_names=[str(number) for number in range(num_classes)],
        num_classes=num_classes,
        precision="fp32",
        members=[member],
        records_per_shard=SHARD_BYTES // codec.record_bytes,
    )
    plan, digest = write_plan(folder, plan)
    (folder / member_folder(0)).mkdir()
    shards = []
    for number in range(plan.num_shards):
        records = plan.shard_range(number)
        size = len(records) * codec.record_bytes
        with open(folder / shard_file(0, number), "wb") as file:
            file.truncate(size)
        shards.append(ShardRecord(shard_file(0, number), records.start, len(records), size, "0" * 64))
    write_sealed(Manifest(plan, digest, [shards], "simulated"), folder / "manifest.json", format_name=MANIFEST_FORMAT)


def measured(folder: Path, num_samples: int, gap: int) -> dict[str, float]:
    """Open the store and read from it; return times and memory."""
    before, mapped_before = resident()
    start, processor = time.perf_counter(), time.process_time()
    store = TargetStore.open(folder, verify="sizes")
    opened, processor = time.perf_counter() - start, time.process_time() - processor
    ids = torch.randint(0, num_samples, (NUM_BATCHES + 1, BATCH_SIZE)) * gap
    start = time.perf_counter()
    store._rank_of_id(ids[-1])
    first = time.perf_counter() - start
    start, looking = time.perf_counter(), time.process_time()
    for batch in ids[:-1]:
        store._rank_of_id(batch)
    found, looking = time.perf_counter() - start, time.process_time() - looking
    own, mapped = resident()
    return {
        "shards": sum(len(shards) for shards in store.manifest.shards),
        "store_gigabytes": round(store.num_bytes / 1e9, 1),
        "open_seconds": round(opened, 2),
        "open_processor_seconds": round(processor, 2),
        "first_lookup_seconds": round(first, 2),
        "ids_per_second": round(NUM_BATCHES * BATCH_SIZE / found),
        "ids_per_processor_second": round(NUM_BATCHES * BATCH_SIZE / looking),
        "own_megabytes": round((own - before) / 1e6, 1),
        "mapped_megabytes": round((mapped - mapped_before) / 1e6, 1),
    }


def resident() -> tuple[int, int]:
    """Return the bytes in memory that are the process's own, and those of mapped files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, mapped = (int(lines[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
    return own, mapped


if __name__ == "__main__":
    main()
