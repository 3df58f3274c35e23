"""An ONNX file as a teacher, run by onnxruntime."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.bounds import require_plain_file
from limbeck.errors import MissingPackage, TeacherError
from limbeck.inputs import Inputs, describe, num_rows
from limbeck.models.calling import LogitsAt
from limbeck.records.export_record import check_exported
from limbeck.teachers.feeding import Transform
from limbeck.teachers.function import FunctionTeacher
from limbeck.teachers.outputs import SMOOTHING

_DTYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(uint8)": torch.uint8,
    "tensor(int8)": torch.int8,
    "tensor(bool)": torch.bool,
}


def onnx_teacher(
    path: Path | str,
    *,
    name: str | None = None,
    logits: LogitsAt = None,
    outputs: str | None = None,
    smoothing: float = SMOOTHING,
    raw: bool = False,
    batch_size: int | None = None,
    transform: Transform | None = None,
) -> FunctionTeacher:
    """Return an ONNX file as a teacher; its identity is the SHA-256 of the file and of the weights beside it.

    A tensor goes to its one input, a mapping to the inputs by name, a tuple to the inputs in order, each in the dtype
    that the file declares. A file of a fixed batch size is fed so many rows at once, the last ones repeated.

    Args:
        path: of the ``.onnx`` file.
        name: shown in records; the file's name where not given.
        logits: the output's name, its place, or a function of all outputs by name; needed where there are several.
        outputs: "logits", "log_probs", "probs" or "label_probs"; see :class:`Outputs`.
        smoothing: of probabilities.
        raw: it takes raw samples, not the normalised view.
        batch_size: rows at once.
        transform: of its inputs.
    Raises:
        MissingPackage: no onnxruntime.
        TeacherError: a file that cannot be read, or that needs other inputs.
    """
    path = Path(path)
    check_exported(path)
    session = OnnxSession(path)
    return FunctionTeacher(
        session,
        outputs=outputs or "logits",
        name=name or path.name,
        raw=raw,
        logits=session.place_of(logits),
        smoothing=smoothing,
        batch_size=batch_size,
        transform=transform,
        content=_content_of(path),
    )


class OnnxSession:
    """Runs an ONNX file: inputs -> outputs by name.

    Args:
        path: of the file.
    Raises:
        MissingPackage: no onnxruntime.
        TeacherError: a file that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingPackage("ONNX files need onnxruntime.", remedy="pip install 'limbeck[onnx]'") from error
        require_plain_file(path)
        if not path.is_file():
            raise TeacherError(f"There is no file {path}.", expected="an ONNX file", remedy="check the path")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise TeacherError(
                f"onnxruntime cannot read {path}.",
                received=str(error).strip().splitlines()[0][:200],
                expected="an ONNX file, its external weights beside it",
                remedy="export the network again",
            ) from error
        self._path = path
        self._inputs = self._session.get_inputs()
        self._names: list[str] = [output.name for output in self._session.get_outputs()]

    @property
    def metadata(self) -> dict[str, str]:
        """The texts that the file keeps."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def input_names(self) -> list[str]:
        """Names of its inputs, in order."""
        return [needed.name for needed in self._inputs]

    def place_of(self, logits: LogitsAt) -> LogitsAt:
        """Return where the logits are among the outputs by name: the only one, or what was said."""
        if logits is None and len(self._names) == 1:
            return self._names[0]
        if isinstance(logits, int) and -len(self._names) <= logits < len(self._names):
            return self._names[logits]
        if callable(logits) or (logits if isinstance(logits, str) else "logits") in self._names:
            return logits
        raise TeacherError(
            f"{self._path.name} has several outputs.",
            received=", ".join(self._names),
            expected="logits=: the name of one of them",
            remedy=f'as_teacher(path, logits="{self._names[-1]}"); on the command line '
            f"onnx:{self._path},logits={self._names[-1]}",
        )

    def __call__(self, inputs: Inputs) -> dict[str, Tensor]:
        named = self._named(inputs)
        count, fixed = num_rows(inputs), self._fixed_batch()
        if fixed is None:
            return self._run(named)
        pieces = []
        for start in range(0, count, fixed):
            rows = torch.arange(start, start + fixed).clamp(max=count - 1)
            pieces.append(self._run({name: part[rows.to(part.device)] for name, part in named.items()}))
        return {name: torch.cat([piece[name] for piece in pieces])[:count] for name in pieces[0]}

    def _run(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        feed = {}
        for needed in self._inputs:
            dtype = _DTYPES.get(needed.type)
            feed[needed.name] = named[needed.name].detach().cpu().to(dtype).contiguous().numpy()
        returned = self._session.run(None, feed)
        return {
            name: torch.from_numpy(array)
            for name, array in zip(self._names, returned, strict=True)
            if isinstance(array, np.ndarray) and array.dtype.kind in "fiub"
        }

    def _named(self, inputs: Inputs) -> dict[str, Tensor]:
        names = [needed.name for needed in self._inputs]
        given: dict[str, Any]
        if isinstance(inputs, Mapping):
            given = {name: inputs[name] for name in names if name in inputs}
        else:
            parts = (inputs,) if isinstance(inputs, Tensor) else inputs
            given = dict(zip(names, parts, strict=False)) if len(parts) == len(names) else {}
        if len(given) < len(names):
            raise TeacherError(
                f"{self._path.name} takes other inputs.",
                received=describe(inputs),
                expected=", ".join(f"{needed.name}: {needed.shape} {needed.type}" for needed in self._inputs),
                remedy="give the samples those names, or a transform= that makes them",
            )
        return given

    def _fixed_batch(self) -> int | None:
        sizes = {needed.shape[0] for needed in self._inputs if needed.shape}
        fixed = {size for size in sizes if isinstance(size, int) and size > 0}
        return fixed.pop() if len(fixed) == 1 else None


def _content_of(path: Path) -> str:
    """Return the SHA-256 of the file and of all files that its weights lie in."""
    digest = hashlib.sha256(path.read_bytes())
    for beside in sorted(_external_files(path)):
        digest.update(b"\n" + beside.encode() + hashlib.sha256((path.parent / beside).read_bytes()).digest())
    return digest.hexdigest()


def _external_files(path: Path) -> set[str]:
    try:
        import onnx
    except ImportError as error:
        raise MissingPackage("ONNX files need onnx.", remedy="pip install 'limbeck[onnx]'") from error
    model = onnx.load(str(path), load_external_data=False)
    return {
        entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }
