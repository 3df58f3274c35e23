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

from limbeck import options
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


@app.command()
def distill(
    config: options.ConfigFile = None,
    method: options.Method = None,
    data: options.Data = None,
    teacher: options.Teacher = None,
    student: options.Students = None,
    exits: options.Exits = None,
    update: options.Update = None,
    temperature: options.Temperature = None,
    hard_weight: options.HardWeight = None,
    soft_weight: options.SoftWeight = None,
    hint_weight: options.HintWeight = None,
    teacher_weight: options.TeacherWeight = None,
    pooling: options.Pooling = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seeds: options.Seeds = None,
    labels: options.Labels = None,
    augment: options.Augment = None,
    teacher_augment: options.Augment = None,
    views: options.NumViews = None,
    store: options.Store = None,
    codec: options.Codec = None,
    image_size: options.ImageSize = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    precision: options.Precision = None,
    threads: options.Threads = None,
    progress: options.ProgressChoice = "auto",
    assignments: options.Assignments = None,
) -> None:
    """Distil into a student, beside the same student alone, and write a report: from teachers, peers or itself."""
    from limbeck.commands import distill as command

    flags = {
        "method": method,
        "data": data,
        "teachers": teacher,
        "student": student,
        "temperature": temperature,
        "hard_weight": hard_weight,
        "soft_weight": soft_weight,
        "hint_weight": hint_weight,
        "exits": [path for text in exits or [] for path in text.split(",")],
        "update": update,
        "teacher_weights": teacher_weight,
        "pooling": pooling,
        "recipe": {"num_epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate},
        "seeds": seeds,
        "num_labelled": labels,
        "augmentations": augment,
        "teacher_augmentations": teacher_augment,
        "num_views": views,
        "store": None if store is None else str(store),
        "codec": codec,
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
    config: options.ConfigFile = None,
    data: options.Data = None,
    student: options.Student = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seeds: options.Seeds = None,
    labels: options.Labels = None,
    augment: options.Augment = None,
    image_size: options.ImageSize = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    precision: options.Precision = None,
    threads: options.Threads = None,
    progress: options.ProgressChoice = "auto",
    assignments: options.Assignments = None,
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
def cache(
    out: Annotated[Path, typer.Option(help="The store's folder; a stopped collection in it goes on.")],
    config: Annotated[Path | None, typer.Argument(help="YAML file as distill takes it; flags override it.")] = None,
    data: options.Data = None,
    teacher: options.StoredTeacher = None,
    codec: Annotated[str, typer.Option(help="auto, dense16, dense8, sparse[:TOP] or lowrank[:BYTES].")] = "auto",
    max_kl: Annotated[float, typer.Option(help="Of auto: nats that it may cost at T = 1, 2, 4, 8.")] = 0.02,
    views: Annotated[int | None, typer.Option(help="Augmented views of each sample.  [the clean view alone]")] = None,
    view_seed: Annotated[int, typer.Option(help="Of the augmented views.")] = 0,
    augment: options.Augment = None,
    image_size: options.ImageSize = None,
    batch_size: Annotated[int, typer.Option(help="Of the teacher's passes.")] = 512,
    precision: Annotated[str | None, typer.Option(help="Of the teacher's passes: fp32, bf16 or fp16.  [fp32]")] = None,
    shard_bytes: Annotated[int, typer.Option(help="Size of a shard, about.")] = 256 << 20,
    shards: Annotated[
        str | None, typer.Option(help="A:B or A:B:STEP, for one of several processes: 0::2 and 1::2.  [all]")
    ] = None,
    device: options.Device = None,
    threads: options.Threads = None,
    progress: options.ProgressChoice = "auto",
    assignments: options.Assignments = None,
    as_json: options.AsJson = False,
) -> None:
    """Collect what trained teachers say of the training set into a store, once."""
    from limbeck.commands import cache as command
    from limbeck.commands.collection_summary import as_text

    flags = {
        "data": data,
        "teachers": teacher,
        "augmentations": augment,
        "image_size": image_size,
        "device": device,
        "precision": precision,
        "num_threads": threads,
    }
    collection = command.Collection(
        codec=codec,
        max_kl=max_kl,
        num_views=views,
        view_seed=view_seed,
        batch_size=batch_size,
        shard_bytes=shard_bytes,
        shards=shards,
    )
    with _stopping_cleanly():
        result = command.run(
            file=config,
            flags=_given(flags),
            assignments=assignments or [],
            out=out,
            collection=collection,
            progress=progress,
        )
    typer.echo(json.dumps(result, indent=1) if as_json else as_text(result))


@app.command()
def verify(
    store: Annotated[Path, typer.Argument(help="A store's folder.")],
    config: Annotated[Path | None, typer.Option(help="YAML file that the store was collected with.")] = None,
    data: options.Data = None,
    teacher: options.StoredTeacher = None,
    augment: options.Augment = None,
    view_seed: Annotated[int | None, typer.Option(help="Of the augmented views.  [the store's]")] = None,
    image_size: options.ImageSize = None,
    count: Annotated[int, typer.Option(help="Records that the teacher answers again.")] = 256,
    batch_size: Annotated[int, typer.Option(help="Of the teacher's passes.")] = 64,
    device: options.Device = None,
    threads: options.Threads = None,
    assignments: options.Assignments = None,
    as_json: options.AsJson = False,
) -> None:
    """Hash a store again; with its data and teachers, see that it is theirs and still what they say."""
    from limbeck.commands import verify as command

    flags = {
        "data": data,
        "teachers": teacher,
        "augmentations": augment,
        "image_size": image_size,
        "device": device,
        "num_threads": threads,
    }
    passed: list[command.Check] = []
    try:
        for check in command.checks(
            store,
            file=config,
            flags=_given(flags),
            assignments=assignments or [],
            view_seed=view_seed,
            count=count,
            batch_size=batch_size,
        ):
            passed.append(check)
            if not as_json:
                typer.echo(f"{check.name}: {check.verdict}")
    except LimbeckError as error:
        if as_json:
            typer.echo(json.dumps(command.described(store, passed, error), indent=1))
        raise
    typer.echo(json.dumps(command.described(store, passed), indent=1) if as_json else f"{store} is good")


specialists = typer.Typer(help="A generalist's specialists.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(specialists, name="specialists")


@specialists.command()
def plan(
    generalist: Annotated[str, typer.Option(help="A folder that limbeck saved a network in.")],
    count: Annotated[int, typer.Option(help="Of specialists.")],
    out: Annotated[Path, typer.Option(help="The plan, a YAML file; its picture is written beside it.")],
    data: options.Data = None,
    split: Annotated[
        str, typer.Option(help="Whose samples the generalist is asked about; no label is read.")
    ] = "train",
    method: Annotated[
        str, typer.Option(help="kmeans (the paper's), spectral, or confusion (reads labels).")
    ] = "kmeans",
    size: Annotated[int | None, typer.Option(help="Classes of every specialist, exactly.")] = None,
    max_size: Annotated[int | None, typer.Option(help="The most classes of a specialist.")] = None,
    overlap: Annotated[int, typer.Option(help="Classes of others that each takes in.")] = 0,
    seed: Annotated[int, typer.Option(help="Of K-means.")] = 0,
    image_size: options.ImageSize = None,
    device: options.Device = None,
    threads: options.Threads = None,
    assignments: options.Assignments = None,
    as_json: options.AsJson = False,
) -> None:
    """Decide which classes each specialist learns: those that the generalist takes for each other."""
    from limbeck.commands import specialists as command

    flags = {"data": data, "image_size": image_size, "device": device, "num_threads": threads}
    summary = command.plan(
        generalist,
        flags=_given(flags),
        assignments=assignments or [],
        split=split,
        method=method,
        num_specialists=count,
        size=size,
        max_size=max_size,
        overlap=overlap,
        seed=seed,
        out=out,
    )
    typer.echo(json.dumps(summary, indent=1) if as_json else command.as_text(summary))


@specialists.command("train")
def train_specialists(
    generalist: Annotated[str, typer.Option(help="A folder that limbeck saved a network in.")],
    plan: Annotated[Path, typer.Option(help="YAML file that limbeck specialists plan wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the committee; what is trained in it already stays.")],
    data: options.Data = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: Annotated[float | None, typer.Option(help="The schedule's peak.")] = None,
    labels: options.Labels = None,
    augment: options.Augment = None,
    variant: Annotated[
        str | None,
        typer.Option(help="dustbin; full_softmax: keeps all classes, soft targets for the others.  [dustbin]"),
    ] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", "-T", help="Of full_softmax.  [2]")] = None,
    hard_weight: Annotated[float | None, typer.Option(help="Of full_softmax, of the labels.  [1]")] = None,
    soft_weight: Annotated[float | None, typer.Option(help="Of full_softmax, of the soft targets.  [1]")] = None,
    special_share: Annotated[float, typer.Option(help="Of each batch, that is of the specialist's classes.")] = 0.5,
    form: Annotated[str, typer.Option(help="Of the dustbin's correction: exact, or as the paper words it.")] = "exact",
    top_classes: Annotated[
        int, typer.Option(help="Of the generalist's most probable classes, so many wake specialists.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of order and dropout.")] = 0,
    jobs: Annotated[str, typer.Option(help="Where they run: serial, processes:N, ray, or ray://HOST:PORT.")] = "serial",
    image_size: options.ImageSize = None,
    device: options.Device = None,
    precision: options.Precision = None,
    threads: options.Threads = None,
    progress: options.ProgressChoice = "auto",
    assignments: options.Assignments = None,
    as_json: options.AsJson = False,
) -> None:
    """Train a plan's specialists from the generalist's weights; the committee is then a teacher."""
    from limbeck.commands import specialists as command

    flags = {
        "data": data,
        "recipe": {"num_epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate},
        "num_labelled": labels,
        "augmentations": augment,
        "image_size": image_size,
        "device": device,
        "precision": precision,
        "num_threads": threads,
    }
    learning = {
        "variant": variant,
        "temperature": temperature,
        "hard_weight": hard_weight,
        "soft_weight": soft_weight,
    }
    with _stopping_cleanly(kept=str(out)):
        summary = command.train(
            generalist,
            plan,
            flags=_given(flags),
            assignments=assignments or [],
            learning=_given(learning),
            special_share=special_share,
            form=form,
            num_top_classes=top_classes,
            seed=seed,
            out=out,
            jobs=jobs,
            progress=progress,
        )
    typer.echo(json.dumps(summary, indent=1) if as_json else command.trained_as_text(summary))


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder of a saved network: a run, a teacher, a committee.")],
    data: Annotated[str, typer.Option(help="As in distill.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    threshold: Annotated[
        float | None,
        typer.Option(help="Of a network with exits: confidence at which an exit answers.  [the head does]"),
    ] = None,
    top_classes: Annotated[
        int | None,
        typer.Option(help="Of a committee: so many of the generalist's top classes wake specialists.  [the folder's]"),
    ] = None,
    factory: Annotated[str | None, typer.Option(help="package.module:factory of a network of your own.")] = None,
    image_size: options.ImageSize = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: options.Threads = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure a saved network, or a generalist with its specialists, on a split."""
    from limbeck.commands import evaluate as command

    measured = command.run(
        model,
        data=data,
        split=split,
        image_size=image_size,
        factory=factory,
        device=device,
        num_threads=threads,
        threshold=threshold,
        num_top_classes=top_classes,
    )
    typer.echo(json.dumps(measured, indent=1) if as_json else command.as_text(measured))


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(help="A recipe's name.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Tell what recipes there are.")] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Run the whole path on a few samples, in under a minute.")
    ] = False,
    seeds: options.Seeds = None,
    out: Annotated[Path | None, typer.Option(help="Folder of record and page.  [runs/reproduce/NAME]")] = None,
    networks: Annotated[
        Path | None, typer.Option(help="Folder of trained networks, shared by recipes.  [networks beside OUT]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16 or auto.")] = "fp32",
    threads: options.Threads = None,
    progress: options.ProgressChoice = "auto",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting of the recipe: --set student_recipe.num_epochs=30")
    ] = None,
) -> None:
    """Run a paper's claims again: paper, ours and verdict, claim by claim; a stopped run goes on."""
    from limbeck.commands import reproduce as command

    if listing:
        typer.echo(command.listing())
        return
    with _stopping_cleanly(kept="the networks that are trained"):
        done = command.run(
            name,
            smoke=smoke,
            seeds=seeds,
            assignments=assignments or [],
            out=out,
            networks=networks,
            device=device,
            precision=precision,
            num_threads=threads,
            progress=progress,
            command=_command_line(),
        )
    _show(done.record, done.folder)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its record.json.")],
    out: Annotated[Path | None, typer.Option(help="File to write.  [report.html beside the record]")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write this page of all reproductions in a folder of NAME/record.json instead.")
    ] = None,
) -> None:
    """Draw a run's report again from its record."""
    from limbeck.commands import report as command

    target = command.run(run, out=out) if markdown is None else command.results(run, markdown)
    typer.echo(f"report: {target}")


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="chunked, cohort, combine, loading, loss, stacked, step or store.")],
    as_json: options.AsJson = False,
    rounds: Annotated[int | None, typer.Option(help="Interleaved rounds; medians are taken.")] = None,
    threads: options.Threads = None,
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
def _stopping_cleanly(*, kept: str | None = None) -> Iterator[None]:
    """Turn Ctrl-C into one message and exit code 130; ``kept`` is what the same command goes on from in any case."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        print(f"limbeck: {interrupt or 'stopped'}", file=sys.stderr)
        if getattr(interrupt, "checkpoint", None) is not None:
            kept = str(interrupt.checkpoint)  # type: ignore[attr-defined]
        if kept is not None:
            print(f"  kept: {kept}", file=sys.stderr)
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

    from limbeck.records import RunRecord
    from limbeck.reports import reproduction_table, summary_table

    console = Console()
    console.print(summary_table(record) if isinstance(record, RunRecord) else reproduction_table(record))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
