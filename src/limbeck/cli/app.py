"""The table of commands, and how the command line ends."""

from __future__ import annotations

import sys

import click

from limbeck.cli import jobs, results, specialists, stores
from limbeck.cli.flags import command
from limbeck.cli.manual import ManualGroup
from limbeck.cli.running import EXIT_USER_ERROR
from limbeck.errors import LimbeckError
from limbeck.settings import METHODS, DistillConfig, TrainJobConfig

START = """
The main job:
  limbeck distill            the whole job on embedded digits, in about a minute: teachers, student, report
  limbeck distill --data photos/ --teacher resnet20 --student convnet:channels=16x32
  limbeck distill --help     every setting, with examples

Every run writes a folder with the student, record.json and report.html. In Python: limbeck.distill(...).
Completion: eval "$(_LIMBECK_COMPLETE=bash_source limbeck)"; zsh_source and fish_source for other shells.
"""
INPUTS = ("data", "label_column", "exif_orientation", "image_size")
TEACHERS = ("teachers", "teacher_weights", "pooling", "augmentations")
MACHINE = ("device", "num_threads")
LEARNING = ("num_labelled", "augmentations", "num_epochs", "batch_size", "learning_rate", "precision")


def app() -> click.Group:
    """Return the command line: one line a command."""
    taught, labelled = [DistillConfig], [TrainJobConfig]
    committees = [
        command(specialists.plan, kinds=labelled, only=(*INPUTS, *MACHINE)),
        command(specialists.train, kinds=labelled, only=(*INPUTS, *LEARNING, *MACHINE)),
    ]
    commands = [
        command(jobs.distill, kinds=list(METHODS.values()), examples=jobs.DISTILL_EXAMPLES),
        command(jobs.train, kinds=labelled, examples=jobs.TRAIN_EXAMPLES),
        command(stores.cache, kinds=taught, only=(*INPUTS, *TEACHERS, *MACHINE, "precision")),
        command(stores.verify, kinds=taught, only=(*INPUTS, *TEACHERS, *MACHINE)),
        ManualGroup("specialists", committees, help="Plan and train a generalist's specialists."),
        command(results.evaluate),
        command(results.reproduce),
        command(results.report),
        command(results.bench),
        command(results.schema),
    ]
    return ManualGroup(
        "limbeck",
        commands,
        help="Distil trained classifiers into one small network, with evidence that it was worth it.",
        epilog=START,
    )


def main() -> None:
    """Run the command line: a mistake of the user's gives one message and exit code 2, never a traceback."""
    try:
        app()(prog_name="limbeck")
    except LimbeckError as error:
        print(f"limbeck: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
