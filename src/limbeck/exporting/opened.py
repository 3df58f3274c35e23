"""A student to predict with: a run's folder, an ONNX file, a ``torch.export`` program, an export's folder."""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limbeck.data import Normalise
from limbeck.errors import ModelError
from limbeck.exporting.session import METADATA, Facts, SessionNetwork, runner
from limbeck.inputs import Inputs
from limbeck.models import load_factory, load_model
from limbeck.records.export_record import EXPORT_FILE, check_exported, read_export
from limbeck.teachers.exported import TEXT_FOLDERS, load_exported
from limbeck.teachers.onnx_file import OnnxSession

SUFFIXES = (".onnx", ".pt2")


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network that takes raw samples.

    Args:
        facts: its classes, task and input.
        logits_of: raw samples to logits (batch, classes).
        input_names: of its named inputs; empty where it takes one tensor.
    """

    facts: Facts
    logits_of: Callable[[Inputs], Tensor]
    input_names: tuple[str, ...]

    def probabilities(self, raw: Inputs) -> Tensor:
        """Return the probability of each class, or of each independent label: shape (batch, classes)."""
        logits = self.logits_of(raw)
        return torch.sigmoid(logits) if self.facts.task == "multi_label" else torch.softmax(logits, dim=-1)


def open_student(path: Path, *, factory: str | None = None, is_multi_label: bool = False) -> Predictor:
    """Return what predicts, from a folder or a file.

    Args:
        path: a folder that a network is saved in, an export's folder, a ``.onnx`` or ``.pt2`` file of an export.
        factory: ``package.module:factory`` of a network of one's own.
        is_multi_label: the labels are independent; files of an export know it themselves.
    Raises:
        ModelError: nothing to predict with is there.
        RecordError: a file that was changed after it was exported.
    """
    if path.is_dir() and (path / EXPORT_FILE).is_file():
        record = read_export(path)
        if record.to != "hf":
            return open_student(path / record.files[0].file)
    if path.is_dir():
        return _from_folder(path, factory=factory, is_multi_label=is_multi_label)
    if path.suffix not in SUFFIXES or not path.is_file():
        raise ModelError(
            f"{path} is nothing to predict with.",
            received="no such file or folder" if not path.exists() else f"a file {path.suffix}",
            expected="a run's folder, or a file of limbeck export: " + ", ".join(SUFFIXES),
        )
    check_exported(path)
    return _from_onnx(path) if path.suffix == ".onnx" else _from_program(path)


def _from_folder(folder: Path, *, factory: str | None, is_multi_label: bool) -> Predictor:
    saved = load_model(folder, factory=load_factory(factory) if factory else None)
    facts = Facts(
        class_names=tuple(saved.class_names),
        task="multi_label" if is_multi_label else "single_label",
        preprocess="none",
        normalise=Normalise.from_saved(saved.normalise),
        input_shape=saved.input_shape,
        fingerprint=saved.fingerprint,
        spec=saved.spec,
    )
    parameters = inspect.signature(saved.module.forward).parameters
    return Predictor(facts, runner(saved.module, facts), tuple(parameters))


def _from_onnx(path: Path) -> Predictor:
    session = OnnxSession(path)
    facts = Facts.read(session.metadata, source=str(path))
    return Predictor(facts, runner(SessionNetwork(session), facts), tuple(session.input_names))


def _from_program(path: Path) -> Predictor:
    (module,) = load_exported(path).modules
    with zipfile.ZipFile(path) as archive:
        places = ((name, name.split("/")) for name in archive.namelist())
        texts = {parts[-1]: name for name, parts in places if parts[-2:-1] and parts[-2] in TEXT_FOLDERS}
        metadata = {METADATA: archive.read(texts[METADATA]).decode("utf-8")} if METADATA in texts else {}
    facts = Facts.read(metadata, source=str(path))
    return Predictor(facts, runner(module, facts), ())
