"""``limbeck verify``: whether a folder is as it was written, and a store of given data and teachers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limbeck.commands.collection_summary import counted
from limbeck.commands.networks import trained_teacher
from limbeck.commands.settings import prepare
from limbeck.commands.verify_files import is_store
from limbeck.commands.verify_folder import Check, verify_folder
from limbeck.config import read_file
from limbeck.data import Samples, Views, augmentations_from
from limbeck.errors import ConfigError, LimbeckError, require_positive
from limbeck.settings import DistillConfig
from limbeck.targets import Plan, TargetStore
from limbeck.targets.matching import check_class_names, check_samples, check_teachers, check_views
from limbeck.teachers import Teacher, verify_store
from limbeck.teachers.class_map import class_map_for
from limbeck.teachers.collecting import members_of
from limbeck.teachers.comparing import TOLERANCE
from limbeck.training import Runtime


def checks(
    folder: Path,
    *,
    file: Path | None,
    flags: dict[str, Any],
    assignments: Sequence[str],
    view_seed: int | None,
    count: int,
    batch_size: int,
) -> Iterator[Check]:
    """Yield each check as it is passed: the files; with data, samples and classes and views; with teachers, theirs too.

    What is no store is checked file by file, see :func:`limbeck.commands.verify_folder.verify_folder`.

    Raises:
        StoreError: the first check that is not passed.
        RecordError: files that are damaged, or nothing of limbeck's.
        ConfigError: teachers without data.
    """
    require_positive("count", count)
    require_positive("batch_size", batch_size)
    asked = set(flags) | (set(read_file(file).values) if file is not None else set())
    if "teachers" in asked and "data" not in asked:
        raise ConfigError(
            "A teacher runs again only with the data at hand.",
            received="a teacher, no data",
            remedy="give --data as well",
        )
    if not is_store(folder) and not asked & {"data", "teachers"}:
        yield from verify_folder(folder)
        return
    store = TargetStore.open(folder, verify="sizes")
    plan = store.manifest.plan
    yield Check("manifest", f"whole, of {plan.data_name}, {store.manifest.created}")
    store.verify()
    num_shards = sum(len(shards) for shards in store.manifest.shards)
    yield Check("files", f"{counted(num_shards, 'shard')}, {store.num_bytes:,} bytes, as written")
    if "data" not in asked:
        return
    prepared = prepare(DistillConfig, file=file, flags=flags, assignments=assignments)
    config, splits = prepared.config, prepared.splits
    samples = splits.train
    check_samples(plan, samples)
    yield Check("samples", f"{len(samples):,} of {samples.name}, fingerprint {samples.inputs_fingerprint[:12]}")
    if config.maps_classes and plan.class_names != list(samples.class_names):
        found = class_map_for(plan.class_names, samples.class_names, config)
        check_class_names(plan, found.teacher_names)
        yield Check("classes", found.note)
    else:
        check_class_names(plan, samples.class_names)
        yield Check("classes", f"{samples.num_classes}, in the store's order")
    augmentations = flags.get("augmentations") or plan.views["augmentations"]
    seed = int(plan.views["seed"]) if view_seed is None else view_seed
    views = Views(augmentations_from(augmentations), prepared.normalise, seed)
    check_views(plan, views)
    kept = "the clean view" if plan.num_views is None else f"{plan.num_views} views, seed {seed}"
    yield Check("views", f"{kept}, fingerprint {views.fingerprint[:12]}")
    if "teachers" not in asked:
        return
    device = Runtime.resolve(config.device, plan.precision).device
    teacher = trained_teacher(
        config,
        from_command_line="teachers" in flags,
        train=samples,
        normalise=prepared.normalise,
        device=device,
    )
    yield from _teachers(store, plan, teacher, samples, views, count=count, batch_size=batch_size)


def described(folder: Path, passed: Sequence[Check], error: LimbeckError | None = None) -> dict[str, Any]:
    """Return the verdict, JSON-able."""
    result: dict[str, Any] = {
        "path": str(folder),
        "good": error is None,
        "passed": [asdict(check) for check in passed],
    }
    if error is not None:
        given = {name: getattr(error, name) for name in ("fact", "received", "expected", "remedy")}
        result["failed"] = {name: None if value is None else str(value) for name, value in given.items()}
    return result


def _teachers(
    store: TargetStore, plan: Plan, teacher: Teacher, samples: Samples, views: Views, *, count: int, batch_size: int
) -> Iterator[Check]:
    members = members_of(teacher)
    check_teachers(plan, [member.fingerprint for member in members])
    yield Check("teachers", ", ".join(f"{member.name}, fingerprint {member.fingerprint[:12]}" for member in members))
    count = min(count, plan.num_records)
    largest = verify_store(store, teacher, samples, views, count=count, batch_size=batch_size)
    limit = TOLERANCE[plan.precision]
    yield Check(
        "answers",
        f"{count:,} of {plan.num_records:,} records computed again, at most {largest:.2g} nats apart at T = 1 "
        f"(rounding explains {limit:g})",
        largest,
    )
