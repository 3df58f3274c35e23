"""``limbeck cache`` and ``limbeck verify``: soft targets collected once, and whether they are still true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import click

from limbeck.cli.flags import AsJson, Assignments, ProgressChoice, RunnerChoice
from limbeck.cli.running import print_result, stopping_cleanly
from limbeck.errors import LimbeckError
from limbeck.ranks.launched import rank_number
from limbeck.settings import Argument, Setting


def cache(
    flags: dict[str, Any],
    out: Annotated[Path, Setting("Folder of the store; a stopped collection in it goes on.", "output")],
    config: Annotated[Path | None, Argument("YAML file as distill takes it; flags override it.")] = None,
    codec: Annotated[
        str,
        Setting("Codec: auto, dense16, dense8, sparse[:TOP] or lowrank[:BYTES].", "output"),
    ] = "auto",
    max_kl: Annotated[
        float,
        Setting("Nats that codec auto may cost at T = 1, 2, 4 and 8.", "output"),
    ] = 0.02,
    views: Annotated[
        int | None,
        Setting("Augmented views of each sample.", "data", unset="the clean view alone"),
    ] = None,
    view_seed: Annotated[int, Setting("Seed of the augmented views.", "data")] = 0,
    batch_size: Annotated[int, Setting("Samples per pass of the teacher.", "teacher")] = 512,
    shard_bytes: Annotated[int, Setting("Bytes of a shard, about.", "output")] = 256 << 20,
    shards: Annotated[
        str | None,
        Setting("Shards that this process collects, A:B or A:B:STEP (0::2 and 1::2 for two).", "machine", unset="all"),
    ] = None,
    runner: RunnerChoice = "serial",
    teacher_sharding: Annotated[
        Literal["none", "full"], Setting("Share the teacher's weights out among ranks (FSDP2), or not.", "machine")
    ] = "none",
    progress: ProgressChoice = "auto",
    assignments: Assignments = (),
    as_json: AsJson = False,
) -> None:
    """Collect trained teachers' soft targets of the training set into a store, once."""
    from limbeck.commands import cache as command
    from limbeck.commands.collecting import Collection
    from limbeck.commands.collection_summary import as_text

    collection = Collection(
        codec=codec,
        max_kl=max_kl,
        num_views=views,
        view_seed=view_seed,
        batch_size=batch_size,
        shard_bytes=shard_bytes,
        shards=shards,
        runner=runner,
        teacher_sharding=teacher_sharding,
    )
    with stopping_cleanly():
        result = command.run(
            file=config,
            flags=flags,
            assignments=assignments,
            out=out,
            collection=collection,
            progress=progress,
        )
    if rank_number() == 0:
        print_result(result, as_json=as_json, as_text=as_text)


def verify(
    flags: dict[str, Any],
    path: Annotated[Path, Argument("Folder of a store, run, network, export, cache; or a file in one.")],
    config: Annotated[Path | None, Setting("YAML file that the store was collected with.", "data")] = None,
    view_seed: Annotated[int | None, Setting("Seed of the augmented views.", "data", unset="the store's")] = None,
    count: Annotated[int, Setting("Records that the teacher computes again.", "teacher")] = 256,
    batch_size: Annotated[int, Setting("Samples per pass of the teacher.", "teacher")] = 64,
    assignments: Assignments = (),
    as_json: AsJson = False,
) -> None:
    """Check that a folder is as it was written; of a store also that it is of its data and what teachers compute."""
    from limbeck.commands import verify as command
    from limbeck.commands.verify_folder import Check

    passed: list[Check] = []
    try:
        for check in command.checks(
            path,
            file=config,
            flags=flags,
            assignments=assignments,
            view_seed=view_seed,
            count=count,
            batch_size=batch_size,
        ):
            passed.append(check)
            if not as_json:
                click.echo(f"{check.name}: {check.verdict}")
    except LimbeckError as error:
        if as_json:
            click.echo(json.dumps(command.described(path, passed, error), indent=1))
        raise
    print_result(
        command.described(path, passed) if as_json else path, as_json=as_json, as_text=lambda good: f"{good} is good"
    )
