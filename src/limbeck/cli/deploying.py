"""Commands for a network that is to be shipped: search, export, predict."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import click

from limbeck.cli.flags import AsJson, Assignments, ConfigFile, ProgressChoice
from limbeck.cli.running import command_line, print_result, show, show_finished, stopping_cleanly
from limbeck.settings import Argument, Setting
from limbeck.settings.job_configs import ImageSize, Threads

T = TypeVar("T")
COUNT_INTERVAL_SECONDS = 0.5
EXPORT_EXAMPLES = """
Examples:
  An ONNX file of a run's student, compared with it on the whole validation set:
    limbeck export runs/photos
  Half precision and eight bits beside it, with accuracy, size and time of each:
    limbeck export runs/photos --precision float32 --precision float16 --precision int8
  A folder that timm or transformers loads:
    limbeck export runs/photos --to hf --out photos-student
"""
PREDICT_EXAMPLES = """
Examples:
  A folder of images, a line of JSON each:
    limbeck predict runs/photos new-photos/ --json
  The three likeliest classes, by the ONNX file:
    limbeck predict runs/photos/export/onnx/model.onnx cat.jpg --top 3
  Lines of text:
    limbeck predict runs/intents --tokenizer bert-tiny/ < lines.txt
"""
SEARCH_EXAMPLES = """
Examples:
  The smallest network of a family that keeps 98 % of the teacher's accuracy:
    limbeck search --data photos/ --teacher runs/teacher --student convnet:channels=8x16..64x128
  In half an hour, faster than 2 ms in an ONNX file:
    limbeck search --data photos/ --teacher runs/teacher --cost onnx_latency --max-latency-ms 2 --budget 30m
"""


def search(
    flags: dict[str, Any],
    run_flags: dict[str, Any],
    config: ConfigFile = None,
    progress: ProgressChoice = "auto",
    assignments: Assignments = (),
) -> None:
    """Find the smallest student that is good enough: accuracy against size or latency, winners on fresh seeds."""
    from limbeck.commands import search as command
    from limbeck.distillation.run_directory import FinishedRun
    from limbeck.reports.reading import read_search

    try:
        with stopping_cleanly():
            result, folder = command.run(
                file=config,
                flags=flags,
                assignments=assignments,
                **run_flags,
                progress=progress,
                command=command_line(),
            )
    except FinishedRun as finished:
        found = read_search(finished.path, show_finished(finished.path))
    else:
        show(result.run.record, folder)
        found = result.found
    if found is not None:
        click.echo("\n" + command.as_text(found))


def export(
    flags: dict[str, Any],
    run_flags: dict[str, Any],
    student: Annotated[Path, Argument("A run's folder, or the folder of a saved network.")],
    data: Annotated[str | None, Setting("Data set, as distill takes it.", "data", unset="the run's")] = None,
    label_column: Annotated[str | None, Setting("Column of the labels in a table.", "data", unset="the run's")] = None,
    image_size: ImageSize = None,
    factory: Annotated[str | None, Setting("package.module:factory of a network of your own.", "student")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained network as files that run without Limbeck, each compared with it on a whole split."""
    from limbeck.commands import export as command

    with stopping_cleanly():
        record = command.run(
            student,
            settings={**flags, **run_flags},
            data=data,
            loading={"label_column": label_column, "image_size": image_size},
            factory=factory,
            num_threads=threads,
        )
    print_result(asdict(record) if as_json else record, as_json=as_json, as_text=command.as_text)


def predict(
    student: Annotated[Path, Argument("A run's folder, an export's folder, or its .onnx or .pt2 file.")],
    paths: Annotated[
        Sequence[Path], Argument("Images, folders of them, or tables; none for text on standard input.")
    ] = (),
    top: Annotated[int, Setting("Likeliest classes to give of each sample.", "output")] = 1,
    label_column: Annotated[
        str | None, Setting("Column of the labels in a table, to be left out.", "data", unset="label")
    ] = None,
    tokenizer: Annotated[str | None, Setting("Folder of the tokenizer, for text.", "data", unset="none")] = None,
    batch_size: Annotated[int, Setting("Samples per pass.", "machine")] = 64,
    multi_label: Annotated[
        bool, Setting("Labels are independent: give all above one half; files of an export know.", "student")
    ] = False,
    factory: Annotated[str | None, Setting("package.module:factory of a network of your own.", "student")] = None,
    threads: Threads = None,
    as_json: Annotated[bool, Setting("Print a line of JSON for each sample.", "output", flag="--json")] = False,
) -> None:
    """Predict classes of images, rows of a table or lines of text, as they are read."""
    from limbeck.commands import predict as command

    lines = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin
    shown = command.as_json if as_json else command.as_text
    with stopping_cleanly():
        for prediction in _counted(
            command.run(
                student,
                paths,
                lines=lines,
                label_column=label_column,
                tokenizer=tokenizer,
                num_top=top,
                batch_size=batch_size,
                factory=factory,
                is_multi_label=multi_label,
                num_threads=threads,
            )
        ):
            click.echo(shown(prediction))


def _counted(items: Iterable[T]) -> Iterator[T]:
    """Yield the items; count them on standard error where a person sees it and the items go elsewhere."""
    is_shown = sys.stderr.isatty() and not sys.stdout.isatty()
    last, count = time.monotonic(), 0
    for item in items:
        yield item
        count += 1
        if is_shown and time.monotonic() - last > COUNT_INTERVAL_SECONDS:
            last = time.monotonic()
            print(f"\r{count:,} samples", end="", file=sys.stderr, flush=True)
    if is_shown and count:
        print(f"\r{count:,} samples", file=sys.stderr)
