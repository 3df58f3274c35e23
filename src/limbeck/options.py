"""The flags that commands share: type, name and help of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path | None, typer.Argument(help="YAML file with settings; flags override it.")]
Data = Annotated[
    str | None,
    typer.Option(help="digits, mnist, cifar10 ..., an image folder, an archive of one, or an .npz file.  [digits]"),
]
Student = Annotated[str | None, typer.Option(help="Network to train: mlp:widths=30x30, or package.module:factory.")]
Students = Annotated[
    list[str] | None,
    typer.Option("--student", help="Network to train: mlp:widths=30x30, or package.module:factory. One for each peer."),
]
Method = Annotated[
    str | None,
    typer.Option(help="teacher; mutual: students that learn from each other; self: from its own deepest exit."),
]
Exits = Annotated[
    list[str] | None, typer.Option(help="Of method self: modules that get an exit, as layer1,layer2 or repeated.")
]
Update = Annotated[str | None, typer.Option(help="Of method mutual: alternating or simultaneous.  [alternating]")]
HintWeight = Annotated[float | None, typer.Option(help="Of method self: weight of the deepest features.")]
Teacher = Annotated[
    list[str] | None,
    typer.Option(
        help="Repeat for an ensemble. A network to train, SPEC@WEIGHTS, or a folder that limbeck saved one in."
    ),
]
StoredTeacher = Annotated[
    list[str] | None,
    typer.Option("--teacher", help="Repeat for an ensemble. A folder that limbeck saved one in, or SPEC@WEIGHTS."),
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
NumViews = Annotated[int | None, typer.Option(help="Show so many augmented views in turn.  [a new one in each pass]")]
Store = Annotated[Path | None, typer.Option(help="Soft targets that limbeck cache made; teachers may be left out.")]
Codec = Annotated[
    str | None, typer.Option(help="Of the soft targets kept: auto, dense16, dense8, sparse, lowrank.  [dense16]")
]
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
