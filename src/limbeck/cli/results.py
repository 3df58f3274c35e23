"""Commands on what is there: evaluate, reproduce, report, bench, schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import click

from limbeck.cli.flags import AsJson, ProgressChoice
from limbeck.cli.running import command_line, print_result, show, stopping_cleanly
from limbeck.settings import Argument, Setting
from limbeck.settings.job_configs import (
    BFrames,
    ClipSplit,
    ImageSize,
    LabelColumn,
    NumSegments,
    SegmentChoices,
    SkipBroken,
    Threads,
)
from limbeck.settings.jobs import Device, ForwardPrecision


def evaluate(
    model: Annotated[Path, Argument("Folder of a saved network: a run, a teacher, a committee.")],
    data: Annotated[str, Setting("Data set, as distill takes it.", "data")],
    label_column: LabelColumn = None,
    split: Annotated[Literal["train", "validation", "test"], Setting("Split to measure on.", "data")] = "test",
    threshold: Annotated[
        float | None,
        Setting("Confidence at which a network with exits stops at one.", "student", unset="its last layer decides"),
    ] = None,
    top_classes: Annotated[
        int | None,
        Setting(
            "Number of a committee's most probable classes that select specialists.", "student", unset="the folder's"
        ),
    ] = None,
    factory: Annotated[
        str | None,
        Setting("package.module:factory of a network of your own.", "student"),
    ] = None,
    image_size: ImageSize = None,
    num_segments: NumSegments = 3,
    segment_choices: SegmentChoices = 3,
    b_frames: BFrames = "skip",
    skip_broken: SkipBroken = False,
    clip_split: ClipSplit = 1,
    device: Device = "auto",
    num_threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a saved network, or a generalist with its specialists, on a split."""
    from limbeck.commands import evaluate as command
    from limbeck.commands.settings import clip_options

    measured = command.run(
        model,
        data=data,
        label_column=label_column,
        split=split,
        image_size=image_size,
        clips=clip_options(
            num_segments=num_segments,
            segment_choices=segment_choices,
            b_frames=b_frames,
            skip_broken=skip_broken,
            clip_split=clip_split,
        ),
        factory=factory,
        device=device,
        num_threads=num_threads,
        threshold=threshold,
        num_top_classes=top_classes,
    )
    print_result(measured, as_json=as_json, as_text=command.as_text)


def reproduce(
    name: Annotated[str | None, Argument("A recipe's name.")] = None,
    listing: Annotated[bool, Setting("List the recipes.", "output", flag="--list")] = False,
    smoke: Annotated[
        bool,
        Setting("Run the whole path on a few samples, in under a minute.", "training", flag="--smoke"),
    ] = False,
    seeds: Annotated[int | None, Setting("Number of runs (seeds 0, 1, ...).", "training", unset="the recipe's")] = None,
    out: Annotated[
        Path | None,
        Setting("Folder of record and page.", "output", unset="runs/reproduce/NAME"),
    ] = None,
    networks: Annotated[
        Path | None,
        Setting("Folder of trained networks, shared by recipes.", "output", unset="networks beside OUT"),
    ] = None,
    device: Device = "auto",
    precision: ForwardPrecision = "fp32",
    num_threads: Threads = None,
    jobs: Annotated[
        str | None,
        Setting(
            "Where a recipe's jobs run: serial, processes:N, ray, or ray://HOST:PORT.", "machine", unset="the recipe's"
        ),
    ] = None,
    progress: ProgressChoice = "auto",
    assignments: Annotated[
        Sequence[str],
        Setting("Any setting of the recipe: --set student_recipe.num_epochs=30", "training", flag="--set"),
    ] = (),
) -> None:
    """Run a paper's claims again: paper, ours and verdict, claim by claim; a stopped run goes on."""
    from limbeck.commands import reproduce as command

    if listing:
        click.echo(command.listing())
        return
    with stopping_cleanly(kept="the networks that are trained"):
        done = command.run(
            name,
            smoke=smoke,
            seeds=seeds,
            assignments=[*assignments, *([] if jobs is None else [f"jobs={jobs}"])],
            out=out,
            networks=networks,
            device=device,
            precision=precision,
            num_threads=num_threads,
            progress=progress,
            command=command_line(),
        )
    show(done.record, done.folder)


def report(
    runs: Annotated[Sequence[Path], Argument("A run's folder, or its record.json; several are compared.")],
    out: Annotated[
        Path | None,
        Setting("File to write.", "output", unset="report.html beside the record; comparison.html here"),
    ] = None,
    markdown: Annotated[
        Path | None,
        Setting(
            "Write this page of all reproductions in a folder of NAME/record.json instead, and a page with figures of "
            "each in the folder of its name.",
            "output",
        ),
    ] = None,
) -> None:
    """Draw a run's report again from its record, or several runs side by side."""
    from limbeck.commands import report as command

    if markdown is not None:
        target = command.results(command.only(runs), markdown)
    elif len(runs) == 1:
        target = command.run(runs[0], out=out)
    else:
        target, told = command.compare(runs, out=out)
        click.echo(told + "\n")
    click.echo(f"report: {target}")


def bench(
    what: Annotated[
        str, Argument("chunked, cohort, combine, convnet, loading, loss, speech, stacked, step, store, video, or all.")
    ],
    as_json: AsJson = False,
    out: Annotated[
        Path | None,
        Setting("JSON file for the result; a figure, .svg, is put beside it.", "output", flag="--out"),
    ] = None,
    rounds: Annotated[int | None, Setting("Interleaved rounds; medians are taken.", "machine")] = None,
    num_threads: Threads = None,
) -> None:
    """Time the library against plain PyTorch in the same run."""
    from limbeck.commands import bench as command

    measured = command.run(what, num_rounds=rounds, num_threads=num_threads, out=out)
    print_result(measured, as_json=as_json, as_text=command.as_texts)


def schema(
    table: Annotated[
        bool, Setting("Print the settings as a Markdown table instead.", "machine", flag="--table")
    ] = False,
) -> None:
    """Print the JSON schema of distill's configuration."""
    if table:
        from limbeck.settings.table import settings_table

        click.echo(settings_table(), nl=False)
        return
    from limbeck.config import json_schema

    click.echo(json.dumps(json_schema(), indent=1))
