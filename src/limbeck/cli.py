"""The command line. Flags only: everything heavy is imported when a command runs, so that --help answers at once."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from limbeck.errors import LimbeckError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="limbeck",
    help="Distil trained classifiers into one small network, with evidence that it was worth it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigFile = Annotated[Path | None, typer.Argument(help="YAML file with settings; flags override it.")]
Data = Annotated[
    str | None,
    typer.Option(help="digits, mnist, cifar10 ..., an image folder, an archive of one, or an .npz file.  [digits]"),
]
Student = Annotated[str | None, typer.Option(help="Network to train: mlp:widths=30x30, or package.module:factory.")]
Teacher = Annotated[
    list[str] | None,
    typer.Option(
        help="Repeat for an ensemble. A network to train, SPEC@WEIGHTS, or a folder that limbeck saved one in."
    ),
]
TeacherWeight = Annotated[list[float] | None, typer.Option(help="One for each teacher, in order.  [equal]")]
Pooling = Annotated[str | None, typer.Option(help="Of several teachers: arithmetic or geometric mean.")]
Temperature = Annotated[float | None, typer.Option("--temperature", "-T", help="Of the soft targets, above 0.")]
HardWeight = Annotated[float | None, typer.Option(help="Weight of the labels' loss.")]
SoftWeight = Annotated[float | None, typer.Option(help="Weight of the soft targets' loss.")]
Epochs = Annotated[int | None, typer.Option(help="Of every network that is trained.")]
BatchSize = Annotated[int | None, typer.Option(help="Samples per optimiser step.")]
LearningRate = Annotated[float | None, typer.Option(help="The schedule's peak, of the student.")]
Seeds = Annotated[int | None, typer.Option(help="How many runs, seeds 0, 1, ...")]
Labels = Annotated[int | None, typer.Option(help="Labels to keep; the other training samples become unlabelled.")]
Augment = Annotated[list[str] | None, typer.Option(help="jitter:2, crop:4:reflect, flip, mixup:0.2; repeat for more.")]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to this many pixels a side.")]
Out = Annotated[Path | None, typer.Option(help="Folder to write; a stopped run in it goes on.  [runs/...]")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Remove the run that is in the folder.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads.  [torch's choice]")]
ProgressChoice = Annotated[str, typer.Option("--progress", help="auto, bar, plain or silent.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="Any key of the configuration: --set recipe.schedule=cosine")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def distill(
    config: ConfigFile = None,
    data: Data = None,
    teacher: Teacher = None,
    student: Student = None,
    temperature: Temperature = None,
    hard_weight: HardWeight = None,
    soft_weight: SoftWeight = None,
    teacher_weight: TeacherWeight = None,
    pooling: Pooling = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seeds: Seeds = None,
    labels: Labels = None,
    augment: Augment = None,
    teacher_augment: Augment = None,
    image_size: ImageSize = None,
    out: Out = None,
    overwrite: Overwrite = False,
    device: Device = None,
    precision: Precision = None,
    threads: Threads = None,
    progress: ProgressChoice = "auto",
    assignments: Assignments = None,
) -> None:
    """Distil teachers into a student, beside the same student without a teacher, and write a report."""
    from limbeck.commands import distill as command

    flags = {
        "data": data,
        "teachers": teacher,
        "student": student,
        "temperature": temperature,
        "hard_weight": hard_weight,
        "soft_weight": soft_weight,
        "teacher_weights": teacher_weight,
        "pooling": pooling,
        "recipe": {"num_epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate},
        "teacher_recipe": {"num_epochs": epochs},
        "seeds": seeds,
        "num_labelled": labels,
        "augmentations": augment,
        "teacher_augmentations": teacher_augment,
        "image_size": image_size,
        "device": device,
        "precision": precision,
        "num_threads": threads,
    }
    with _stopping_cleanly():
        result, folder = command.run(
            file=config,
            flags=_given(flags),
            assignments=assignments or [],
            out=out,
            overwrite=overwrite,
            progress=progress,
            command=_command_line(),
        )
    _show(result.record, folder)


@app.command()
def train(
    config: ConfigFile = None,
    data: Data = None,
    student: Student = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seeds: Seeds = None,
    labels: Labels = None,
    augment: Augment = None,
    image_size: ImageSize = None,
    out: Out = None,
    overwrite: Overwrite = False,
    device: Device = None,
    precision: Precision = None,
    threads: Threads = None,
    progress: ProgressChoice = "auto",
    assignments: Assignments = None,
) -> None:
    """Train one network on labels: a teacher to be, or a student without one."""
    from limbeck.commands import train as command

    flags = {
        "data": data,
        "student": student,
        "recipe": {"num_epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate},
        "seeds": seeds,
        "num_labelled": labels,
        "augmentations": augment,
        "image_size": image_size,
        "device": device,
        "precision": precision,
        "num_threads": threads,
    }
    with _stopping_cleanly():
        result, folder = command.run(
            file=config,
            flags=_given(flags),
            assignments=assignments or [],
            out=out,
            overwrite=overwrite,
            progress=progress,
            command=_command_line(),
        )
    _show(result.record, folder)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder with student.safetensors and model.json: a run, or a teacher.")],
    data: Annotated[str, typer.Option(help="As in distill.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    factory: Annotated[str | None, typer.Option(help="package.module:factory of a network of your own.")] = None,
    image_size: ImageSize = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure a saved network on a split."""
    from limbeck.commands import evaluate as command

    measured = command.run(
        model, data=data, split=split, image_size=image_size, factory=factory, device=device, num_threads=threads
    )
    if as_json:
        typer.echo(json.dumps(measured, indent=1))
        return
    typer.echo(f"{measured['network']} on {measured['data']}, {measured['split']}: {measured['num_samples']} samples")
    for name, item in measured["measurements"].items():
        typer.echo(f"  {name:<16}{item['value']:>10.4g}  {item['unit']}")
    for pair in measured["most_confused"]:
        typer.echo(f"  {pair['true']} taken for {pair['predicted']}: {pair['count']}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its record.json.")],
    out: Annotated[Path | None, typer.Option(help="File to write.  [report.html beside the record]")] = None,
) -> None:
    """Draw a run's report again from its record."""
    from limbeck.reports import read_record, write_report

    record = read_record(run)
    target = out or (run if run.is_dir() else run.parent) / "report.html"
    write_report(record, target)
    typer.echo(f"report: {target}")


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="loss, stacked or step.")],
    as_json: AsJson = False,
    rounds: Annotated[int | None, typer.Option(help="Interleaved rounds; medians are taken.")] = None,
    threads: Threads = None,
) -> None:
    """Time the library against plain PyTorch in the same run."""
    from limbeck.commands import bench as command

    measured = command.run(what, num_rounds=rounds, num_threads=threads)
    typer.echo(json.dumps(measured, indent=1) if as_json else command.as_text(measured))


@app.command()
def schema() -> None:
    """Print the JSON schema of distill's configuration."""
    from limbeck.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


def main() -> None:
    """Run the command line: a mistake of the user's gives one message and exit code 2, never a traceback."""
    try:
        app()
    except LimbeckError as error:
        print(f"limbeck: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


@contextmanager
def _stopping_cleanly() -> Iterator[None]:
    """Turn Ctrl-C into one message and exit code 130."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        print(f"limbeck: {interrupt or 'stopped'}", file=sys.stderr)
        if getattr(interrupt, "checkpoint", None) is not None:
            print(f"  kept: {interrupt.checkpoint}", file=sys.stderr)  # type: ignore[attr-defined]
            print("  remedy: run the same command again to go on from there", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """Leave out the flags that were not given."""
    given = {key: _given(value) if isinstance(value, dict) else value for key, value in flags.items()}
    return {key: value for key, value in given.items() if value is not None and value not in ([], {})}


def _command_line() -> str:
    return shlex.join(["limbeck", *sys.argv[1:]])


def _show(record: Any, folder: Path) -> None:
    from rich.console import Console

    from limbeck.reports import summary_table

    console = Console()
    console.print(summary_table(record))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
