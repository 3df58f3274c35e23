"""``limbeck cache``: what trained teachers say of a training set, collected once into a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.commands.collection_summary import break_even, counted, summarise
from limbeck.commands.networks import trained_teacher
from limbeck.commands.settings import prepare
from limbeck.data import Normalise, Views, augmentations_from
from limbeck.distillation.target_source import showing_collection
from limbeck.errors import ConfigError, InvalidValue
from limbeck.ranks.group import Ranks
from limbeck.settings import DistillConfig
from limbeck.targets import Plan
from limbeck.targets.writer import shard_is_complete
from limbeck.teachers import CollectionProgress, collect, collect_together, prepare_collection
from limbeck.training import Runtime, progress_for


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
    prepared = prepare(DistillConfig, file=file, flags=flags, assignments=assignments)
    config, splits, normalise = prepared.config, prepared.splits, prepared.normalise
    runtime = Runtime.resolve(
        config.device, "fp32" if config.precision == "auto" else config.precision, takes_ranks=True
    )
    ranks = runtime.ranks
    _check_shards(collection, ranks)
    display = progress_for(progress if ranks.is_first else "silent")
    teacher = trained_teacher(
        config,
        from_command_line="teachers" in flags,
        train=splits.train,
        normalise=normalise,
        device=runtime.device,
    )
    views = views_for(config.augmentations, normalise, collection)
    arguments: dict[str, Any] = {
        "num_views": collection.num_views,
        "codec": collection.codec,
        "max_kl": collection.max_kl,
        "batch_size": collection.batch_size,
        "precision": runtime.precision,
        "shard_bytes": collection.shard_bytes,
    }
    plan: Plan | None = None
    digest = ""
    reached: CollectionProgress | None = None
    try:
        display.say(f"{out}: {teacher.name} on {len(splits.train):,} samples of {config.data}")
        plan, digest = ranks.from_first(lambda: prepare_collection(teacher, splits.train, views, out, **arguments))
        shards = chosen_shards(collection.shards, num_shards=plan.num_shards)
        display.say(_describe(plan, out, digest))
        with showing_collection(display) as show:

            def report(done: CollectionProgress) -> None:
                nonlocal reached
                reached = done
                show(done)

            if ranks.size == 1:
                store = collect(teacher, splits.train, views, out, **arguments, shards=shards, progress=report)
            else:
                store = collect_together(teacher, splits.train, views, out, **arguments, ranks=ranks, progress=report)
    except KeyboardInterrupt:
        raise CollectionInterrupted(out, plan, digest) from None
    num_complete = _num_complete(out, plan, digest)
    if ranks.size == 1 and store is None and num_complete == plan.num_shards:  # other processes have ended since
        store = collect(teacher, splits.train, views, out, **arguments, shards=shards)
    result = summarise(plan, out, num_complete=num_complete, progress=reached)
    if store is not None and ranks.is_first:
        result["num_bytes"] = store.num_bytes
        result["break_even"] = break_even(
            store, teacher, splits.train, views, batch_size=config.recipe.batch_size, progress=reached
        )
    if config.augmentations and collection.num_views is None:
        given = " ".join(config.augmentations)
        result["notes"].append(f"The clean view is kept. For a student that sees {given}, give --views N.")
    return result


def views_for(augmentations: Sequence[Any], normalise: Normalise | None, collection: Collection) -> Views:
    """Return the views that are kept: the clean one alone, or augmented ones that can be shown again."""
    if collection.num_views is None:
        return Views(normalise=normalise)
    return Views(augmentations_from(augmentations), normalise, collection.view_seed)


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


def _check_shards(collection: Collection, ranks: Ranks) -> None:
    if collection.shards is not None and ranks.size > 1:
        raise ConfigError(
            "Ranks share out all shards.",
            received=f"--shards {collection.shards}, {ranks.size} ranks",
            expected="either",
            remedy="leave --shards out",
        )


def _num_complete(folder: Path, plan: Plan, digest: str) -> int:
    return sum(shard_is_complete(folder, plan, digest, shard) for shard in range(plan.num_shards))


def _describe(plan: Plan, folder: Path, digest: str) -> str:
    kept = "the clean view" if plan.num_views is None else f"{plan.num_views} views"
    codecs = ", ".join(f"{member.codec} ({member.record_bytes} bytes)" for member in plan.members)
    text = f"{kept} as {codecs}: {plan.num_records:,} records in {counted(plan.num_shards, 'shard')}"
    whole = _num_complete(folder, plan, digest)
    return text + (f", {whole} of them finished before" if whole else "")
