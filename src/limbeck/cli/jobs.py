"""``limbeck distill`` and ``limbeck train``: every flag is a declared setting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from limbeck.cli.flags import Assignments, ConfigFile, ProgressChoice
from limbeck.cli.running import command_line, show, show_finished, stopping_cleanly

DISTILL_EXAMPLES = """
Examples:
  A photo folder, an ensemble of two networks trained here, a small student:
    limbeck distill --data photos/ --teacher convnet:channels=64x128x256 --teacher resnet20 \\
        --student convnet:channels=16x32 -T 4 --out runs/photos
  A trained timm network as the teacher, its soft targets collected once, three seeds:
    limbeck distill --data photos/ --teacher timm:resnet50@weights.safetensors --student timm:mobilenetv3_small_100 \\
        --epochs 30 --augment flip --seeds 3
  Settings from a file, one of them changed; the run goes on where it was stopped:
    limbeck distill job.yaml --set recipe.schedule=cosine --out runs/job
"""
TRAIN_EXAMPLES = """
Examples:
  A teacher to be, on a photo folder:
    limbeck train --data photos/ --student resnet20 --epochs 60 --augment flip --out runs/teacher
  A table of features, a network of two hidden layers, three seeds:
    limbeck train --data table.csv --label-column species --student mlp:widths=64x64 --seeds 3
  Then distil it:
    limbeck distill --data photos/ --teacher runs/teacher --student convnet:channels=16x32
"""


def distill(
    flags: dict[str, Any],
    run_flags: dict[str, Any],
    config: ConfigFile = None,
    progress: ProgressChoice = "auto",
    assignments: Assignments = (),
) -> None:
    """Distil into a student, beside the same student alone, and write a report: from teachers, peers or itself."""
    from limbeck.commands.distill import run

    _run_and_show(run, file=config, flags=flags, assignments=assignments, **run_flags, progress=progress)


def train(
    flags: dict[str, Any],
    run_flags: dict[str, Any],
    config: ConfigFile = None,
    progress: ProgressChoice = "auto",
    assignments: Assignments = (),
) -> None:
    """Train one network on labels: a teacher to be, or a student without one."""
    from limbeck.commands.train import run

    _run_and_show(run, file=config, flags=flags, assignments=assignments, **run_flags, progress=progress)


def _run_and_show(run: Callable[..., tuple[Any, Path]], **settings: Any) -> None:
    from limbeck.distillation.run_directory import FinishedRun

    try:
        with stopping_cleanly():
            result, folder = run(**settings, command=command_line())
    except FinishedRun as finished:
        show_finished(finished.path)
        return
    show(result.record, folder)
