"""``limbeck cache --runner``: shards of a collection as jobs, in processes of this machine or on Ray.

Each worker makes teachers, data and views from the same flags, once, and keeps them for its next shards.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from limbeck.commands.networks import trained_teacher
from limbeck.commands.settings import prepare
from limbeck.data import Normalise, Samples, Views, augmentations_from
from limbeck.jobs import Job, job_key, run_jobs, runner_from
from limbeck.settings import DistillConfig
from limbeck.targets import Plan
from limbeck.targets.writer import damaged_files, shard_is_complete
from limbeck.teachers import Teacher, collect
from limbeck.training import Runtime

MOST_JOBS = 512  # each looks through the folder once


@dataclass(frozen=True, kw_only=True)
class Collection:
    """How the outputs are kept; see ``limbeck.teachers.collect``."""

    codec: str = "auto"
    max_kl: float = 0.02
    num_views: int | None = None  # None: the clean view alone
    view_seed: int = 0
    batch_size: int = 512
    shard_bytes: int = 256 << 20
    shards: str | None = None  # "A:B" or "A:B:STEP" of the plan's, for one of several processes; None: all
    runner: str = "serial"  # of the shards, as limbeck.jobs.runner_from takes it
    teacher_sharding: str = "none"  # "full": the teacher's weights are sharded over ranks


@dataclass(frozen=True)
class Request:
    """What the command line asked for, which any process can make teacher, data and views of."""

    file: Path | None
    flags: dict[str, Any]
    assignments: tuple[str, ...]
    collection: Collection
    takes_ranks: bool = False
    working_folder: str = field(default_factory=os.getcwd)  # that relative paths start from


@dataclass(frozen=True, eq=False)
class Opened:
    """A request, resolved."""

    config: DistillConfig
    teacher: Teacher
    samples: Samples
    views: Views
    runtime: Runtime
    arguments: dict[str, Any]  # of ``collect``


def open_request(request: Request) -> Opened:
    """Load data and teachers of a request onto this process's device."""
    prepared = prepare(DistillConfig, file=request.file, flags=request.flags, assignments=request.assignments)
    config, collection = prepared.config, request.collection
    precision = "fp32" if config.precision == "auto" else config.precision
    runtime = Runtime.resolve(config.device, precision, takes_ranks=request.takes_ranks)
    teacher = trained_teacher(
        config,
        from_command_line="teachers" in request.flags,
        train=prepared.splits.train,
        normalise=prepared.normalise,
        device=runtime.device if collection.teacher_sharding == "none" else torch.device("cpu"),
    )
    arguments = {
        "num_views": collection.num_views,
        "codec": collection.codec,
        "max_kl": collection.max_kl,
        "batch_size": collection.batch_size,
        "precision": runtime.precision,
        "shard_bytes": collection.shard_bytes,
    }
    views = views_for(config.augmentations, prepared.normalise, collection)
    return Opened(config, teacher, prepared.splits.train, views, runtime, arguments)


def views_for(augmentations: Sequence[Any], normalise: Normalise | None, collection: Collection) -> Views:
    """Return the views that are kept: the clean one alone, or augmented ones that can be shown again."""
    if collection.num_views is None:
        return Views(normalise=normalise)
    return Views(augmentations_from(augmentations), normalise, collection.view_seed)


def collect_by_jobs(
    request: Request,
    folder: Path,
    plan: Plan,
    digest: str,
    *,
    shards: Sequence[int],
    threads_per_job: int | None,
    device: str,
    say: Callable[[str], object],
) -> int:
    """Collect shards of a plan by jobs; whoever is done last seals the store. Return how many records there were to do.

    Args:
        request: what the workers make their teacher of.
        folder: the store's, on a file system that all workers share.
        plan: of the store.
        digest: of the plan.
        shards: that are wanted; those that are whole are not collected again.
        threads_per_job: CPU threads of each.
        device: that was asked for; a GPU is reserved for each worker on Ray unless it is the CPU.
        say: called with a line whenever something happens.
    Raises:
        JobsFailed: shards that failed in every attempt; the others are kept.
        InvalidValue, UnknownName, MissingPackage: a runner that is not there.
    """
    text = request.collection.runner
    runner = runner_from(text, keeps_workers=True, takes_gpus=not device.startswith("cpu"))
    missing = [
        shard
        for shard in shards
        if not shard_is_complete(folder, plan, digest, shard) or damaged_files(folder, plan, digest, shard)
    ]
    num_jobs = min(len(missing), getattr(runner, "num_workers", MOST_JOBS))
    packed = pickle.dumps(request)
    with tempfile.TemporaryDirectory(prefix="jobs-", dir=folder) as root:
        jobs = []
        for number in range(num_jobs):
            own = missing[number::num_jobs]
            key = job_key({"plan": digest, "shards": own})
            arguments = (packed, str(folder.resolve()), own)
            jobs.append(Job(_name_of(own), key, collect_shards, arguments))
        run_jobs(jobs, root, runner=runner, threads_per_job=threads_per_job, retries=3, progress=say)
    return sum(len(plan.shard_range(shard)) for shard in missing)


def collect_shards(job_folder: Path, packed: bytes, folder: str, shards: list[int]) -> None:
    """Do one job: collect some shards into the store, with the teacher that this process keeps."""
    opened = _kept(packed)
    collect(opened.teacher, opened.samples, opened.views, Path(folder), **opened.arguments, shards=shards)


@lru_cache(maxsize=1)
def _kept(packed: bytes) -> Opened:
    request: Request = pickle.loads(packed)
    os.chdir(request.working_folder)
    return open_request(replace(request, takes_ranks=False))


def _name_of(shards: Sequence[int]) -> str:
    return f"shard-{shards[0]}" if len(shards) == 1 else f"{len(shards)}-shards-from-{shards[0]}"
