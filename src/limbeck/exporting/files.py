"""The files of an export: written, compared with the network on every sample, timed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.data import Samples
from limbeck.data.normalise import to_float
from limbeck.errors import ModelError
from limbeck.exporting.deployed import deployed, dynamic_axes
from limbeck.exporting.hub_folder import load_hub_folder, write_hub_folder
from limbeck.exporting.parity import Parity, logits_of_network, measure_parity
from limbeck.exporting.program import program_of, quiet, write_onnx
from limbeck.exporting.session import Facts, SessionNetwork, as_file_input, load_program, runner
from limbeck.exporting.smaller import write_half, write_int8
from limbeck.exporting.source import Exported
from limbeck.inputs import Inputs, named_tensors, take_rows
from limbeck.metrics import latency
from limbeck.records.export_record import ExportedFile
from limbeck.settings import ExportSettings
from limbeck.teachers.onnx_file import OnnxSession
from limbeck.version import __version__

TIMED_BATCHES = (1, 64)
ONNX_FILES = {"float32": "model.onnx", "float16": "model.float16.onnx", "int8": "model.int8.onnx"}
PROGRAM_FILE = "model.pt2"


@dataclass(frozen=True)
class Reference:
    """What is measured of the network itself."""

    accuracy: float | None
    seconds: tuple[float, float]  # per sample, at TIMED_BATCHES


class FileWriter:
    """Writes the files of one network.

    Args:
        exported: the network.
        train: the training split, which int8 is calibrated on.
        samples: the split that the files are compared on.
        settings: of the export.
    """

    def __init__(self, exported: Exported, train: Samples, samples: Samples, settings: ExportSettings) -> None:
        saved = exported.saved
        self._network = saved.module.cpu().float().eval()
        self._exported, self._train, self._samples, self._settings = exported, train, samples, settings
        self._facts = Facts(
            class_names=tuple(saved.class_names),
            task=samples.task,
            preprocess="none" if settings.to == "hf" else settings.preprocess,
            normalise=exported.normalise,
            input_shape=saved.input_shape,
            fingerprint=saved.fingerprint,
            spec=saved.spec,
        )
        self._timed = samples.fetch(torch.arange(max(TIMED_BATCHES)) % len(samples))
        self.notes: list[str] = []
        self._parity: Parity | None = None

    @cached_property
    def example(self) -> Inputs:
        """A few samples, as the files take them: axes of any size have sizes that no other axis has.

        ``torch.export`` takes axes of the same size for one and the same.
        """
        first = as_file_input(self._facts, self._samples.fetch(torch.zeros(1, dtype=torch.int64)))
        if self._facts.preprocess == "resize" and isinstance(first, Tensor):
            first = F.pad(first, (0, 1, 0, 3))
        sizes = {size for _, part in named_tensors(first) for size in part.shape[1:]}
        count = next(number for number in range(2, len(sizes) + 3) if number not in sizes)
        return take_rows(first, torch.zeros(count, dtype=torch.int64))

    @property
    def free_axes(self) -> dict[str, set[int]]:
        """Which axes of each input take any size, by the input's name; "" for a single one."""
        axes = dynamic_axes(self.example, preprocess=self._facts.preprocess, is_ragged=self._is_ragged)
        return {"": set(axes[0])} if isinstance(axes, tuple) else {name: set(own) for name, own in axes.items()}

    def reference(self) -> Reference:
        """Return what is measured of the network itself, once the files are written."""
        assert self._parity is not None, "write() was called"
        inputs = to_float(self._timed, self._exported.normalise)
        return Reference(self._parity.network_accuracy, _seconds(self._network, inputs))

    def write(self, folder: Path) -> list[ExportedFile]:
        """Write every file and compare it.

        Raises:
            ModelError: a network that cannot be exported, or a file that differs by more than is allowed.
        """
        if self._settings.to == "hf":
            name, notes = write_hub_folder(folder, self._exported, task=self._facts.task)
            self.notes += notes
            return [self._compared(folder / name, "float32", load_hub_folder(folder, self._exported), "")]
        program = program_of(
            deployed(
                self._network,
                self.example,
                normalise=self._facts.normalise,
                preprocess=self._facts.preprocess,
                input_shape=self._facts.input_shape,
            ),
            self.example,
            preprocess=self._facts.preprocess,
            is_ragged=self._is_ragged,
        )
        if self._settings.to == "torch":
            path = folder / PROGRAM_FILE
            with quiet():
                torch.export.save(program, path, extra_files=self._facts.as_metadata(__version__))
                return [self._compared(path, "float32", load_program(path), "")]
        whole = folder / ONNX_FILES["float32"]
        write_onnx(program, whole, metadata=self._facts.as_metadata(__version__))
        files = []
        for precision in dict.fromkeys(self._settings.precision):
            path = folder / ONNX_FILES[precision]
            how = self._smaller(precision, whole, path)
            files.append(self._compared(path, precision, SessionNetwork(OnnxSession(path)), how))
        if "float32" not in self._settings.precision:
            whole.unlink()
        return files

    @property
    def _is_ragged(self) -> bool:
        return bool(getattr(self._samples.inputs, "is_ragged", False))

    def _smaller(self, precision: str, source: Path, target: Path) -> str:
        if precision == "float16":
            return write_half(source, target)
        if precision == "int8":
            return write_int8(
                source,
                target,
                train=self._train,
                num_calibration=self._settings.num_calibration,
                as_input=lambda raw: as_file_input(self._facts, raw),
            )
        return ""

    def _compared(self, path: Path, precision: str, module: nn.Module, how: str) -> ExportedFile:
        parity = measure_parity(
            logits_of_network(self._network, self._exported.normalise),
            runner(module, self._facts),
            self._samples,
            batch_size=self._settings.batch_size,
        )
        self._parity = parity
        self._check(parity, precision)
        content = path.read_bytes()
        seconds = _seconds(module, as_file_input(self._facts, self._timed))
        return ExportedFile(
            precision=precision,
            file=path.name,
            sha256=hashlib.sha256(content).hexdigest(),
            num_bytes=len(content),
            num_samples=parity.num_samples,
            max_logit_difference=parity.max_difference,
            mean_logit_difference=parity.mean_difference,
            num_changed_predictions=parity.num_changed,
            accuracy=parity.accuracy,
            accuracy_lost=parity.lost,
            seconds_per_sample_batch1=seconds[0],
            seconds_per_sample_batch64=seconds[1],
            how=how,
        )

    def _check(self, parity: Parity, precision: str) -> None:
        found = (
            f"largest difference of a logit {parity.max_difference:.3g}, {parity.num_changed} of "
            f"{parity.num_samples} predictions changed"
        )
        if precision == "float32":
            if parity.max_difference <= self._settings.tolerance:
                return
            raise ModelError(
                "The file does not compute what the network does; nothing was kept.",
                received=found,
                expected=f"differences of at most {self._settings.tolerance:g}",
                remedy="--tolerance NUMBER takes more; layers that draw random numbers in eval mode give other outputs",
            )
        if not (parity.max_difference < float("inf")) or parity.lost > self._settings.max_lost:
            raise ModelError(
                f"In {precision} the network loses too much; nothing was kept.",
                received=f"{100 * parity.lost:.2f} points of accuracy lost, {found}",
                expected=f"at most {100 * self._settings.max_lost:g} points",
                remedy=f"leave --precision {precision} out, take more with --max-lost, or give int8 more --calibration",
            )


def _seconds(module: nn.Module, inputs: Inputs) -> tuple[float, float]:
    """Return the median seconds per sample at each timed batch size."""
    with quiet():
        found = [latency(module, inputs, batch_size=size, num_runs=30, max_seconds=1.0) for size in TIMED_BATCHES]
    return found[0], found[1]
