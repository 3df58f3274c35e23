"""Commands that take a trained network out of the house: export, predict."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from limbeck.cli.flags import AsJson, ImageSize, Threads
from limbeck.cli.running import print_result, stopping_cleanly
from limbeck.settings import Argument, Setting

EXPORT_EXAMPLES = """
Examples:
  An ONNX file of a run's student, compared with it on the whole validation set:
    limbeck export runs/photos
  Half precision and eight bits beside it, with accuracy, size and time of each:
    limbeck export runs/photos --precision float32 --precision float16 --precision int8
  A folder that timm or transformers loads:
    limbeck export runs/photos --to hf --out photos-student
"""


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
