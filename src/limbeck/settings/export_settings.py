"""The settings of an export: what ``limbeck export`` takes as flags and ``limbeck.export`` as arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from limbeck.settings.checking import check
from limbeck.settings.setting import Count, Fraction, Positive, Setting

ExportFormat = Literal["onnx", "torch", "hf"]
Preprocess = Literal["none", "normalise", "resize"]
ExportPrecision = Literal["float32", "float16", "int8"]
SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """How a trained network leaves the house."""

    to: Annotated[
        ExportFormat,
        Setting(
            "onnx: model.onnx; torch: a torch.export program; hf: a folder that timm or transformers loads.", "output"
        ),
    ] = "onnx"
    precision: Annotated[
        Sequence[ExportPrecision],
        Setting("Precision of a file, repeated for more; float16 and int8 are of ONNX.", "output"),
    ] = ("float32",)
    preprocess: Annotated[
        Preprocess,
        Setting(
            "What the file does itself: none; normalise: takes raw samples; resize: images of any size, too.", "data"
        ),
    ] = "normalise"
    split: Annotated[SplitName, Setting("Split that the file is compared with the network on.", "data")] = "validation"
    tolerance: Annotated[
        Positive, Setting("Largest difference of a logit from the network's, in float32.", "output")
    ] = 1e-3
    max_lost: Annotated[
        Fraction, Setting("Largest loss of accuracy of a float16 or int8 file; a fraction.", "output")
    ] = 0.02
    num_calibration: Annotated[
        Count, Setting("Training samples that the ranges of int8 are measured on.", "data", flag="--calibration")
    ] = 512
    batch_size: Annotated[Count, Setting("Samples per pass of the comparison.", "machine")] = 256
    licence: Annotated[
        str | None, Setting("Licence of the weights, for the model card: apache-2.0, mit.", "output", unset="unknown")
    ] = None
    push: Annotated[
        str | None,
        Setting(
            "Repository of the Hugging Face hub to push the folder to, OWNER/NAME.",
            "output",
            unset="none",
            is_key=False,
        ),
    ] = None
    private: Annotated[bool, Setting("Make that repository private where it is new.", "output", is_key=False)] = False
    out: Annotated[
        str | Path | None,
        Setting("Folder to write.", "output", unset="export/FORMAT in the run's folder", is_key=False),
    ] = None
    overwrite: Annotated[bool, Setting("Replace the export that is in the folder.", "output", is_key=False)] = False

    def __post_init__(self) -> None:
        check(self)
