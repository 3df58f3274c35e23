"""A network as a ``torch.export`` program, and as an ONNX file made of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError, MissingPackage, ModelError
from limbeck.exporting.deployed import dynamic_axes
from limbeck.inputs import Inputs
from limbeck.models.factory import failure

AXES = {0: "batch", 1: "sequence", 2: "height", 3: "width"}


def program_of(
    network: nn.Module, raw: Inputs, *, preprocess: str = "normalise", is_ragged: bool = False
) -> torch.export.ExportedProgram:
    """Return a deployed network as a program of tensors, with any batch size.

    Args:
        network: from :func:`limbeck.exporting.deployed.deployed`.
        raw: two or more samples, as it takes them.
        preprocess: what it does itself.
        is_ragged: whether sequences may have any length.
    Raises:
        ModelError: a network whose code depends on values or on one fixed batch size.
    """
    arguments: tuple[Any, ...] = (raw,) if isinstance(raw, Tensor) else ()
    named: dict[str, Any] = dict(raw) if isinstance(raw, Mapping) else {}
    shapes = dynamic_axes(raw, preprocess=preprocess, is_ragged=is_ragged)
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(network, arguments, named, dynamic_shapes=shapes)
    except LimbeckError:
        raise
    except Exception as error:
        raise ModelError(
            "torch.export cannot make a program of this network.",
            received=_first_lines(error),
            expected="layers whose sizes follow from the input's shape, for any batch size",
            remedy="use operations on tensors in place of Python's on their values (.item(), if x.sum() > 0), and "
            "sizes from x.shape in place of numbers",
        ) from error


def write_onnx(program: torch.export.ExportedProgram, path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write a program as an ONNX file with one output, ``logits``.

    Args:
        program: from :func:`program_of`.
        path: of the file.
        metadata: texts that the file keeps.
    Raises:
        MissingPackage: no onnx or onnxscript.
        ModelError: an operator that ONNX lacks; it is named, with the module that it stands in.
    """
    onnx = require_onnx()
    try:
        with quiet():
            made = torch.onnx.export(program, dynamo=True, output_names=["logits"], verbose=False)
            assert made is not None, "with dynamo=True a program is returned"
            proto = made.model_proto
    except ImportError as error:
        raise MissingPackage("ONNX export needs onnxscript.", remedy="pip install 'limbeck[onnx]'") from error
    except Exception as error:
        raise _lacking(program, error) from error
    name_axes(proto)
    onnx.helper.set_model_props(proto, dict(metadata))
    onnx.save(proto, str(path))


def name_axes(proto: Any) -> None:
    """Name the free axes of inputs and output by what they are, in place of the exporter's symbols."""
    symbols: dict[str, str] = {}
    for value in [*proto.graph.input, *proto.graph.output]:
        for place, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param:
                name = symbols.setdefault(size.dim_param, AXES.get(place, f"axis{place}"))
                size.dim_param = name
    del proto.graph.value_info[:]  # sizes of what lies between, in the old symbols; they are inferred anew


def require_onnx() -> Any:
    """Return the package onnx, with onnxruntime beside it.

    Raises:
        MissingPackage: one is not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            "ONNX files need onnx, onnxscript and onnxruntime.",
            received=str(error)[:200],
            remedy="pip install 'limbeck[onnx]'",
        ) from error
    return onnx


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn of themselves; the caller measures what they made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _lacking(program: torch.export.ExportedProgram, error: Exception) -> ModelError:
    """Return the error for an operator that ONNX lacks, with the module that it stands in."""
    text = "\n".join(str(part) for part in _causes(error))
    found = re.search(r"OpOverload\(op='([\w.]+)'|for (?:the )?(?:operator )?'?([a-z_]\w*::?[\w.]+)'?", text)
    operator = next((part for part in found.groups() if part), None) if found else None
    where = _module_with(program, operator) if operator else None
    return ModelError(
        "This network has no ONNX form.",
        received=f"operator {operator}" + (f" in the module {where}" if where else "")
        if operator
        else _first_lines(error),
        expected="operators that torch.onnx knows",
        remedy="put other layers in its place, or export with --to torch",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _module_with(program: torch.export.ExportedProgram, operator: str) -> str | None:
    """Return the module that an operator stands in; a decomposed one (prims.x) is found by its name's end."""
    wanted = operator.replace("::", ".").removesuffix(".default").split(".")[1]
    for node in program.graph.nodes:
        if str(node.target).removesuffix(".default").endswith(wanted):
            stack = list(node.meta.get("nn_module_stack", {}).values())
            path, kind = stack[-1] if stack else ("", "")
            name = getattr(kind, "__name__", str(kind).rpartition(".")[2])
            return f"{str(path).removeprefix('network.') or 'network'} ({name})"
    return None


def _first_lines(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or failure(error)
