"""``limbeck specialists``: a generalist's specialists, planned and trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from limbeck.cli.flags import AsJson, Assignments, ProgressChoice, RunnerChoice
from limbeck.cli.running import given, print_result, stopping_cleanly
from limbeck.settings import Setting

Generalist = Annotated[str, Setting("Folder that limbeck saved a network in.", "teacher")]


def plan(
    flags: dict[str, Any],
    generalist: Generalist,
    count: Annotated[int, Setting("Number of specialists.", "student")],
    out: Annotated[Path, Setting("The plan, a YAML file; its picture is written beside it.", "output")],
    split: Annotated[
        Literal["train", "validation", "test"],
        Setting("Split that the generalist predicts; no label is read.", "data"),
    ] = "train",
    method: Annotated[
        str,
        Setting("Clustering: kmeans (the paper's), spectral, or confusion (reads labels).", "student"),
    ] = "kmeans",
    size: Annotated[int | None, Setting("Classes of every specialist, exactly.", "student")] = None,
    max_size: Annotated[int | None, Setting("Largest number of classes of a specialist.", "student")] = None,
    overlap: Annotated[int, Setting("Classes of other specialists that each takes in.", "student")] = 0,
    seed: Annotated[int, Setting("Seed of K-means.", "student")] = 0,
    assignments: Assignments = (),
    as_json: AsJson = False,
) -> None:
    """Decide which classes each specialist learns: those that the generalist takes for each other."""
    from limbeck.commands import specialists as command

    summary = command.plan(
        generalist,
        flags=flags,
        assignments=assignments,
        split=split,
        method=method,
        num_specialists=count,
        size=size,
        max_size=max_size,
        overlap=overlap,
        seed=seed,
        out=out,
    )
    print_result(summary, as_json=as_json, as_text=command.as_text)


def train(
    flags: dict[str, Any],
    generalist: Generalist,
    plan: Annotated[Path, Setting("YAML file that limbeck specialists plan wrote.", "student")],
    out: Annotated[Path, Setting("Folder of the committee; what is trained in it stays.", "output")],
    variant: Annotated[
        Literal["dustbin", "full_softmax"] | None,
        Setting(
            "Output layer: dustbin, or full_softmax (all classes, soft targets for the others).",
            "student",
            unset="dustbin",
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        Setting("Temperature T of full_softmax.", "loss", unset="2", short="-T"),
    ] = None,
    hard_weight: Annotated[float | None, Setting("Weight of full_softmax's labels.", "loss", unset="1")] = None,
    soft_weight: Annotated[float | None, Setting("Weight of full_softmax's soft targets.", "loss", unset="1")] = None,
    special_share: Annotated[
        float,
        Setting("Share of each batch that is of the specialist's classes.", "training"),
    ] = 0.5,
    form: Annotated[
        Literal["exact", "paper"],
        Setting("Form of the dustbin's correction.", "student"),
    ] = "exact",
    top_classes: Annotated[
        int,
        Setting("Number of the generalist's most probable classes that select specialists.", "student"),
    ] = 1,
    seed: Annotated[int, Setting("Seed of order and dropout.", "training")] = 0,
    jobs: RunnerChoice = "serial",
    progress: ProgressChoice = "auto",
    assignments: Assignments = (),
    as_json: AsJson = False,
) -> None:
    """Train a plan's specialists from the generalist's weights; the committee is then a teacher."""
    from limbeck.commands import specialists as command

    learning = {
        "variant": variant,
        "temperature": temperature,
        "hard_weight": hard_weight,
        "soft_weight": soft_weight,
    }
    with stopping_cleanly(kept=str(out)):
        summary = command.train(
            generalist,
            plan,
            flags=flags,
            assignments=assignments,
            learning=given(learning),
            special_share=special_share,
            form=form,
            num_top_classes=top_classes,
            seed=seed,
            out=out,
            jobs=jobs,
            progress=progress,
        )
    print_result(summary, as_json=as_json, as_text=command.trained_as_text)
