"""What a collection is, what it cost, and from which epoch on it is cheaper than running the teacher."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from limbeck.data import Samples, Views, iterate_batches
from limbeck.targets import Plan, TargetStore
from limbeck.teachers import CollectionProgress, Teacher
from limbeck.teachers.collecting import members_of
from limbeck.teachers.precision import Forward

TIMED_SECONDS = 0.5  # for which the teacher, and reading, are timed
TIMED_BATCHES = 64  # at most


def summarise(plan: Plan, folder: Path, *, num_complete: int, progress: CollectionProgress | None) -> dict[str, Any]:
    """Return what a collection is and how far it has come, JSON-able.

    Args:
        plan: of the collection.
        folder: the store's.
        num_complete: shards that are finished, by any process.
        progress: of this process at its end; None where it found everything finished.
    """
    return {
        "store": str(folder),
        "finished": num_complete == plan.num_shards,
        "data": plan.data_name,
        "num_samples": plan.num_samples,
        "num_views": plan.num_views,
        "precision": plan.precision,
        "num_shards": plan.num_shards,
        "num_shards_finished": num_complete,
        "members": [
            {
                "name": member.name,
                "codec": member.codec,
                "parameters": member.parameters,
                "record_bytes": member.record_bytes,
                "note": member.note,
                "num_measured": member.fidelity.num_samples,
                "top1_agreement": member.fidelity.top1_agreement,
                "mean_kl_nats": {f"{d.temperature:g}": d.mean for d in member.fidelity.divergences},
            }
            for member in plan.members
        ],
        "num_collected": progress.num_done if progress else 0,
        "elapsed_seconds": progress.elapsed_seconds if progress else 0.0,
        "records_per_second": _records_per_second(progress),
        "notes": [],
    }


def break_even(
    store: TargetStore,
    teacher: Teacher,
    samples: Samples,
    views: Views,
    *,
    batch_size: int,
    progress: CollectionProgress | None,
) -> dict[str, Any]:
    r"""Return from which epoch on the store is cheaper than running the teacher in every step.

    .. math:: k = \lceil C / (F - R) \rceil

    with C the seconds of the whole collection, F those of the teacher's passes in an epoch of training, and R those of
    reading an epoch's targets; F and R are timed on some batches.

    Args:
        store: whole.
        teacher: of the store.
        samples: of the store.
        views: of the store.
        batch_size: of training.
        progress: of the collection; where it is None, the teacher's speed stands for the collection's.
    Returns:
        JSON-able: "collecting_seconds", "teacher_seconds_per_epoch", "reading_seconds_per_epoch" and "num_epochs", None
        where reading is no faster than the teacher.
    """
    plan = store.manifest.plan
    positions = torch.arange(min(len(samples), TIMED_BATCHES * batch_size))
    view = None if plan.num_views is None else 0
    batches = list(iterate_batches(samples, views, positions, batch_size=batch_size, view=view))
    forward = Forward(members_of(teacher), precision=plan.precision)

    def output(index: int) -> None:
        with torch.no_grad():
            for logits in forward(batches[index]):
                logits.cpu()

    def read(index: int) -> None:
        for member in range(store.num_members):
            store.targets(batches[index].ids, view=view, member=member).logits_at(1.0)

    sizes = [len(batch) for batch in batches]
    teacher_seconds = len(samples) * _seconds_per_sample(output, sizes)
    reading_seconds = len(samples) * _seconds_per_sample(read, sizes)
    speed = _records_per_second(progress)
    collecting = plan.num_records / speed if speed else teacher_seconds * (plan.num_views or 1)
    saved = teacher_seconds - reading_seconds
    return {
        "batch_size": batch_size,
        "collecting_seconds": collecting,
        "teacher_seconds_per_epoch": teacher_seconds,
        "teacher_records_per_second": len(samples) / teacher_seconds,
        "reading_seconds_per_epoch": reading_seconds,
        "num_epochs": math.ceil(collecting / saved) if saved > 0 else None,
    }


def as_text(result: dict[str, Any]) -> str:
    """Return a collection's result as lines: codec and fidelity of each teacher, size, time, break-even."""
    views = "the clean view" if result["num_views"] is None else f"{result['num_views']} views"
    lines = [f"{result['store']}: {result['num_samples']:,} samples of {result['data']}, {views}"]
    temperatures = list(result["members"][0]["mean_kl_nats"])
    heads = "".join(f"{f'T={t}':>9}" for t in temperatures)
    lines.append(f"  {'codec':<10}{'bytes':>8}{'top-1':>9}{heads}   teacher (KL in nats, bytes a sample and view)")
    for member in result["members"]:
        divergences = "".join(f"{value:>9.1e}" for value in member["mean_kl_nats"].values())
        lines.append(
            f"  {member['codec']:<10}{member['record_bytes']:>8,}{member['top1_agreement']:>9.2%}{divergences}"
            f"   {member['name']}"
        )
        if member["note"] != "asked for":
            lines.append(f"    {member['note']}; measured on {member['num_measured']:,} samples")
    if result["num_collected"]:
        seconds, speed = result["elapsed_seconds"], result["records_per_second"]
        lines.append(f"collected: {result['num_collected']:,} records in {seconds:.1f} s, {speed:,.0f} records/s")
    else:
        lines.append("collected: nothing; all was finished before")
    shards = len(result["members"]) * result["num_shards"]
    if result["finished"]:
        lines += [f"size: {result['num_bytes']:,} bytes in {counted(shards, 'shard')}", _break_even_text(result)]
    else:
        whole, planned = result["num_shards_finished"], counted(result["num_shards"], "shard")
        lines.append(f"unfinished: {whole} of {planned}; the rest is left to other processes")
    return "\n".join([*lines, *result["notes"]])


def counted(number: int, noun: str) -> str:
    """Return a number and its noun.

    Example:
        >>> counted(1, "shard"), counted(2000, "shard")
        ('1 shard', '2,000 shards')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _break_even_text(result: dict[str, Any]) -> str:
    facts = result["break_even"]
    text = (
        f"break-even: collecting takes {facts['collecting_seconds']:.2f} s; an epoch costs "
        f"{facts['teacher_seconds_per_epoch']:.2f} s with the teacher ({facts['teacher_records_per_second']:,.0f} "
        f"records/s), {facts['reading_seconds_per_epoch']:.3f} s with the store: "
    )
    if facts["num_epochs"] is None:
        return text + "this teacher is as fast as reading"
    return text + f"the store costs less from {counted(facts['num_epochs'], 'epoch')} on, those of all seeds together"


def _records_per_second(progress: CollectionProgress | None) -> float | None:
    return progress.num_done / max(progress.elapsed_seconds, 1e-9) if progress else None


def _seconds_per_sample(work: Callable[[int], None], sizes: list[int]) -> float:
    """Return the time of one sample, over the batches or for half a second, after one batch to warm up."""
    work(0)
    done, start = 0, time.perf_counter()
    for index, size in enumerate(sizes):
        work(index)
        done += size
        if time.perf_counter() - start > TIMED_SECONDS:
            break
    return (time.perf_counter() - start) / done
