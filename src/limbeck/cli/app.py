"""The table of commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click

from limbeck.cli import deploying, jobs, results, specialists, stores
from limbeck.cli.flags import command, first_line
from limbeck.cli.manual import ManualGroup
from limbeck.ranks.launched import refuse_ranks
from limbeck.settings import METHODS, DistillConfig, ExportSettings, SearchConfig, TrainJobConfig
from limbeck.version import __version__

START = """
The main job:
  limbeck distill            the whole job on embedded digits, in about a minute: teachers, student, report
  limbeck distill --data photos/ --teacher resnet20 --student convnet:channels=16x32
  limbeck distill --help     every setting, with examples

Every run writes a folder with the student, record.json and report.html. In Python: limbeck.distill(...).
Completion: eval "$(_LIMBECK_COMPLETE=bash_source limbeck)"; zsh_source and fish_source for other shells.
"""
INPUTS = ("data", "label_column", "exif_orientation", "image_size")
CLASSES = ("teacher_class_names", "class_map", "allow_missing_classes")
TEACHERS = ("teachers", "teacher_weights", "pooling", *CLASSES, "augmentations")
MACHINE = ("device", "num_threads")
FOR_RANKS = ("distill", "train", "cache", "reproduce")
LEARNING = ("num_labelled", "augmentations", "num_epochs", "batch_size", "learning_rate", "precision")


def app() -> click.Group:
    """Return the command line: one line a command."""
    taught, labelled = [DistillConfig], [TrainJobConfig]
    committees = _group(
        "specialists",
        {
            specialists.plan: {"kinds": labelled, "only": (*INPUTS, *MACHINE)},
            specialists.train: {"kinds": labelled, "only": (*INPUTS, *LEARNING, *MACHINE)},
        },
        help="Plan and train a generalist's specialists.",
    )
    commands: dict[Callable[..., None] | click.Group, dict[str, Any]] = {
        jobs.distill: {"kinds": list(METHODS.values()), "examples": jobs.DISTILL_EXAMPLES},
        jobs.train: {"kinds": labelled, "examples": jobs.TRAIN_EXAMPLES},
        deploying.search: {"kinds": [SearchConfig], "examples": deploying.SEARCH_EXAMPLES},
        stores.cache: {"kinds": taught, "only": (*INPUTS, *TEACHERS, *MACHINE, "precision")},
        stores.verify: {"kinds": taught, "only": (*INPUTS, *TEACHERS, *MACHINE)},
        committees: {},
        deploying.export: {"kinds": [ExportSettings], "examples": deploying.EXPORT_EXAMPLES},
        deploying.predict: {"examples": deploying.PREDICT_EXAMPLES},
        results.evaluate: {},
        results.reproduce: {},
        results.report: {"needs_torch": False},
        results.bench: {},
        results.schema: {"needs_torch": False},
    }
    what = "Distil trained classifiers into one small network, with evidence that it was worth it."
    group = _group("limbeck", commands, help=what, epilog=START, callback=_check_ranks)
    return click.version_option(__version__, prog_name="limbeck", message="%(prog)s %(version)s")(group)


def _group(name: str, commands: Mapping[Any, dict[str, Any]], **settings: Any) -> ManualGroup:
    """Return a group of functions, each a command with how it is made, and of other groups."""
    makers: dict[str, Callable[[], click.Command]] = {}
    helps: dict[str, str] = {}
    for one, how in commands.items():
        if isinstance(one, click.Group):
            makers[str(one.name)], helps[str(one.name)] = partial(_itself, one), one.help or ""
        else:
            makers[one.__name__], helps[one.__name__] = partial(command, one, **how), first_line(one)
    return ManualGroup(name, makers, helps, **settings)


@click.pass_context
def _check_ranks(context: click.Context) -> None:
    if context.invoked_subcommand not in FOR_RANKS:
        refuse_ranks()


def _itself(group: click.Group) -> click.Group:
    return group
