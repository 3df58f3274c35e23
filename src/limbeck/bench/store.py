"""Cost of reading soft targets from a store against indexing them in memory, and of collecting them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.bench.timing import Timing, interleaved, machine_facts, reached, seconds_by_way
from limbeck.data import Samples, Views
from limbeck.errors import require_positive
from limbeck.models import build
from limbeck.targets import TargetStore
from limbeck.teachers import LogitsTeacher, ModuleTeacher, collect

TEMPERATURE = 4.0
DENSE = ("dense16", "dense8")
COMPACT = ("sparse:32", "lowrank:200")
COMPACT_CLASSES = 1000
TEACHER_BATCH = 512
READS_PER_ROUND = 10  # a reading is short: it is timed this many times as often as a collection
TARGETS = {"dense16": 1.5, "dense8": 1.5, "collecting": 1.05}  # of each one's own floor


def run(
    *, num_samples: int = 60_000, num_classes: int = 10, batch_size: int = 128, num_rounds: int = 5, seed: int = 0
) -> dict[str, Any]:
    """Time an epoch of shuffled batches of soft targets, and a collection; in turns, on the CPU.

    Three floors. ``memory``: indexing the same shuffled rows of the same logits, float32, in memory, ``logits[rows]``,
    against the codecs that keep all classes; ``memory_select`` is the faster ``index_select``. ``memory_1000``: of
    1,000 classes, a sixth of the samples, against the codecs that keep less. ``teacher``: a network 784-1200-1200
    over the inputs, batch 512, against a whole collection with it: plan, fidelity, encoding, hashing, writing, proof
    that the teacher is unchanged. Sample ids have gaps, as they have where a validation split is held out.

    Args:
        num_samples: of the epoch.
        num_classes: of the dense codecs and the teacher.
        batch_size: of the batches that are read.
        num_rounds: how often a collection is timed; reading ten times as often.
        seed: of the random inputs, logits and weights.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds`` (median and quartiles per way), ``ratios`` (to its
        floor, the median over the rounds), ``targets``, ``reached``, ``bytes_per_sample`` and ``machine``.
    Raises:
        InvalidValue: a size that is not above 0.
    """
    for name, size in (("num_samples", num_samples), ("num_classes", num_classes), ("batch_size", batch_size)):
        require_positive(name, size)
    reads = {"batch_size": batch_size, "num_rounds": READS_PER_ROUND * num_rounds, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        dense, dense_bytes = _time_reading(place, DENSE, num_samples, num_classes, **reads)
        few = max(1, num_samples // 6)
        compact, compact_bytes = _time_reading(place, COMPACT, few, COMPACT_CLASSES, **reads)
        collecting = _time_collecting(place, num_samples, num_classes, num_rounds=num_rounds, seed=seed)
    compact = {f"{name}_{COMPACT_CLASSES}": timing for name, timing in compact.items()}
    compact_bytes = {f"{name}_{COMPACT_CLASSES}": size for name, size in compact_bytes.items()}
    ratios: dict[str, float] = {}
    for timings in (dense, compact, collecting):
        floor, *ways = timings
        ratios |= {way: timings[way].ratio_to(timings[floor]) for way in ways}
    return {
        "name": "store",
        "settings": {
            "num_samples": num_samples,
            "num_classes": num_classes,
            "batch_size": batch_size,
            "temperature": TEMPERATURE,
            "teacher_batch_size": TEACHER_BATCH,
            "num_rounds": num_rounds,
            "seed": seed,
            "dtype": "float32",
        },
        "floor": "logits[rows] of the same rows in memory; for collecting, the teacher's passes alone",
        "seconds": seconds_by_way(dense | compact | collecting),
        "ratios": ratios,
        "targets": dict(TARGETS),
        "reached": reached(ratios, TARGETS),
        "bytes_per_sample": dense_bytes | compact_bytes,
        "machine": machine_facts(),
    }


def _time_reading(
    folder: Path,
    codecs: Sequence[str],
    num_samples: int,
    num_classes: int,
    *,
    batch_size: int,
    num_rounds: int,
    seed: int,
) -> tuple[dict[str, Timing], dict[str, int]]:
    """Return times of an epoch's reading, the floor first, and the bytes of a record."""
    generator = torch.Generator().manual_seed(seed)
    ids = _ids_with_gaps(num_samples, generator)
    logits = torch.randn(num_samples, 32, generator=generator) @ torch.randn(32, num_classes, generator=generator)
    teacher = _logits_by_id(ids, logits)
    samples = _samples(ids, torch.zeros(num_samples, 1), num_classes)
    order = torch.randperm(num_samples, generator=generator)
    positions = torch.split(order, batch_size)
    batches = torch.split(ids[order], batch_size)
    ways: dict[str, Callable[[], object]] = {
        "memory": lambda: _index(logits, positions),
        "memory_select": lambda: _select(logits, positions),
    }
    sizes = {"memory": 4 * num_classes}
    for codec in codecs:
        path = folder / f"{num_classes}-{codec.replace(':', '-')}"
        store = collect(teacher, samples, Views(), path, codec=codec)
        assert store is not None, "one process collects every shard"
        name = codec.partition(":")[0]
        ways[name] = _reader(store, batches)
        sizes[name] = store.codecs[0].record_bytes
    return interleaved(ways, num_rounds=num_rounds), sizes


def _select(logits: Tensor, positions: Sequence[Tensor]) -> None:
    for batch in positions:
        logits.index_select(0, batch)


def _index(logits: Tensor, positions: Sequence[Tensor]) -> None:
    for batch in positions:
        logits[batch]


def _reader(store: TargetStore, batches: Sequence[Tensor]) -> Callable[[], None]:
    def read() -> None:
        for ids in batches:
            store.targets(ids).logits_at(TEMPERATURE)

    return read


def _time_collecting(
    folder: Path, num_samples: int, num_classes: int, *, num_rounds: int, seed: int
) -> dict[str, Timing]:
    """Return times of the teacher's passes alone, and of whole collections, each into a folder of its own."""
    generator = torch.Generator().manual_seed(seed)
    ids = _ids_with_gaps(num_samples, generator)
    inputs = torch.randn(num_samples, 784, generator=generator)
    samples = _samples(ids, inputs, num_classes)
    module = build("mlp:widths=1200x1200", input_shape=(784,), num_classes=num_classes, seed=seed)
    teacher = ModuleTeacher(module)
    count = 0

    def passes() -> None:
        with torch.no_grad():
            for part in torch.split(torch.arange(num_samples), TEACHER_BATCH):
                module(inputs.index_select(0, part))

    def collection() -> None:
        nonlocal count
        count += 1
        collect(teacher, samples, Views(), folder / f"collection-{count}", codec="dense8", batch_size=TEACHER_BATCH)

    return interleaved({"teacher": passes, "collecting": collection}, num_rounds=num_rounds, warmup=1)


def _ids_with_gaps(num_samples: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(num_samples + num_samples // 9, generator=generator)[:num_samples].sort().values


def _logits_by_id(ids: Tensor, logits: Tensor) -> LogitsTeacher:
    rows = torch.zeros(int(ids[-1]) + 1, logits.shape[1])
    rows[ids] = logits
    return LogitsTeacher(rows)


def _samples(ids: Tensor, inputs: Tensor, num_classes: int) -> Samples:
    names = tuple(str(index) for index in range(num_classes))
    return Samples("random", ids, inputs, torch.zeros(len(ids), dtype=torch.int64), names)
