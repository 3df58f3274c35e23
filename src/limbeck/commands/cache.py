"""``limbeck cache``: what trained teachers say of a training set, collected once into a store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.commands.collecting import Collection, Opened, Request, collect_by_jobs, open_request
from limbeck.commands.collection_summary import break_even, counted, summarise
from limbeck.data import Samples
from limbeck.distillation.target_source import showing_collection
from limbeck.errors import ConfigError, InvalidValue
from limbeck.jobs import runner_from
from limbeck.ranks.group import ALONE, Ranks
from limbeck.targets import Plan, TargetStore
from limbeck.targets.layout import MANIFEST
from limbeck.targets.writer import shard_is_complete
from limbeck.teachers import CollectionProgress, collect, collect_on_ranks, prepare_collection
from limbeck.teachers.sharded import sharded_over
from limbeck.training import progress_for


class CollectionInterrupted(KeyboardInterrupt):
    """A collection was stopped on request; ``checkpoint`` is the folder that it goes on from."""

    def __init__(self, folder: Path, plan: Plan | None, digest: str) -> None:
        self.checkpoint = None if plan is None else folder
        text = "stopped before the first record"
        if plan is not None:
            whole = _num_complete(folder, plan, digest)
            text = f"stopped with {whole} of {counted(plan.num_shards, 'shard')} finished"
        super().__init__(text)


def run(
    *,
    file: Path | None,
    flags: dict[str, Any],
    assignments: Sequence[str],
    out: Path,
    collection: Collection,
    progress: str,
) -> dict[str, Any]:
    """Collect as the flags and the file say; return what was collected and what it cost, JSON-able."""
    _check_views(flags, collection)
    runner_from(collection.runner)  # before anything is read
    request = Request(file, flags, tuple(assignments), collection, takes_ranks=True)
    opened = open_request(request)
    ranks = opened.runtime.ranks
    _check_shares(collection, ranks)
    if collection.teacher_sharding == "none":
        return _collected(request, opened, out, ranks, progress=progress if ranks.is_first else "silent")
    with sharded_over(opened.teacher, ranks=ranks, device=opened.runtime.device) as is_first:
        return _collected(request, opened, out, ALONE, progress=progress) if is_first else {}


def _collected(request: Request, opened: Opened, out: Path, ranks: Ranks, *, progress: str) -> dict[str, Any]:
    """Collect what a request asks for by the processes that ``ranks`` says."""
    config, teacher, samples, views = opened.config, opened.teacher, opened.samples, opened.views
    collection, arguments, display = request.collection, opened.arguments, progress_for(progress)
    plan: Plan | None = None
    digest = ""
    reached: CollectionProgress | None = None
    try:
        display.say(f"{out}: {teacher.name} on {len(samples):,} samples of {config.data}")
        plan, digest = ranks.from_first(lambda: prepare_collection(teacher, samples, views, out, **arguments))
        shards = chosen_shards(collection.shards, num_shards=plan.num_shards)
        display.say(_describe(plan, out, digest))
        with showing_collection(display) as show:

            def report(done: CollectionProgress) -> None:
                nonlocal reached
                reached = done
                show(done)

            if collection.runner != "serial":
                begun = time.perf_counter()
                wanted = range(plan.num_shards) if shards is None else shards
                count = collect_by_jobs(
                    request, out, plan, digest, shards=wanted, threads_per_job=config.num_threads,
                    device=config.device, say=display.say,
                )  # fmt: skip
                reached = CollectionProgress(count, count, time.perf_counter() - begun) if count else None
                store = _sealed(out, plan, samples)
            elif ranks.size == 1:
                store = collect(teacher, samples, views, out, **arguments, shards=shards, progress=report)
            else:
                store = collect_on_ranks(teacher, samples, views, out, **arguments, ranks=ranks, progress=report)
    except KeyboardInterrupt:
        raise CollectionInterrupted(out, plan, digest) from None
    num_complete = _num_complete(out, plan, digest)
    if ranks.size == 1 and store is None and num_complete == plan.num_shards:  # other processes have ended since
        store = collect(teacher, samples, views, out, **arguments, shards=shards)
    result = summarise(plan, out, num_complete=num_complete, progress=reached)
    if store is not None and ranks.is_first:
        result["num_bytes"] = store.num_bytes
        result["break_even"] = break_even(
            store, teacher, samples, views, batch_size=config.recipe.batch_size, progress=reached
        )
    if config.augmentations and collection.num_views is None:
        given = " ".join(config.augmentations)
        result["notes"].append(f"The clean view is kept. For a student that sees {given}, give --views N.")
    return result


def chosen_shards(text: str | None, *, num_shards: int) -> list[int] | None:
    """Return the shards that "A:B" or "A:B:STEP" means, as Python slices do; None, for all, where nothing is given.

    Raises:
        ConfigError: another form.
        InvalidValue: shards that are not there.
    Example:
        >>> chosen_shards("1::3", num_shards=8)
        [1, 4, 7]
    """
    if text is None:
        return None
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or any(part and not part.isdigit() for part in parts) or parts[2:] == ["0"]:
        raise ConfigError(
            "--shards takes A:B, or A:B:STEP.", received=text, expected="like 0:4 and 4:8, or 0::2 and 1::2"
        )
    bounds = [int(part) if part else None for part in parts]
    chosen = list(range(num_shards)[slice(*bounds)])
    if not chosen or (bounds[1] is not None and bounds[1] > num_shards):
        raise InvalidValue(
            "There are no such shards.", received=f"--shards {text}", expected=f"shards of 0:{num_shards}"
        )
    return chosen


def _check_views(flags: dict[str, Any], collection: Collection) -> None:
    if flags.get("augmentations") and collection.num_views is None:
        raise ConfigError(
            "--augment without --views keeps nothing augmented.",
            received="--augment " + " --augment ".join(flags["augmentations"]),
            expected="--views N: how many augmented views of each sample to keep",
        )


def _check_shares(collection: Collection, ranks: Ranks) -> None:
    given = [f"--shards {collection.shards}"] if collection.shards is not None else []
    given += [f"--runner {collection.runner}"] if collection.runner != "serial" else []
    if given and ranks.size > 1:
        raise ConfigError(
            "Ranks share out all shards.",
            received=f"{given[0]}, {ranks.size} ranks",
            expected="either",
            remedy=f"leave {given[0].split()[0]} out",
        )
    if collection.teacher_sharding == "full" and ranks.size == 1:
        raise ConfigError(
            "A teacher's weights are sharded over ranks.",
            received="--teacher-sharding full in one process",
            expected="several ranks: torchrun --nproc-per-node N -m limbeck cache ...",
            remedy="start it with torchrun, or leave --teacher-sharding out",
        )


def _sealed(folder: Path, plan: Plan, samples: Samples) -> TargetStore | None:
    """Return the store if it is whole: then whoever was last has sealed it."""
    if not (folder / MANIFEST).exists():
        return None
    return TargetStore.open(folder, samples=samples, class_names=plan.class_names, verify="sizes")


def _num_complete(folder: Path, plan: Plan, digest: str) -> int:
    return sum(shard_is_complete(folder, plan, digest, shard) for shard in range(plan.num_shards))


def _describe(plan: Plan, folder: Path, digest: str) -> str:
    kept = "the clean view" if plan.num_views is None else f"{plan.num_views} views"
    codecs = ", ".join(f"{member.codec} ({member.record_bytes} bytes)" for member in plan.members)
    text = f"{kept} as {codecs}: {plan.num_records:,} records in {counted(plan.num_shards, 'shard')}"
    whole = _num_complete(folder, plan, digest)
    return text + (f", {whole} of them finished before" if whole else "")
