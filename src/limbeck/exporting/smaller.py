"""Smaller ONNX files: half precision, and integers of eight bits."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data import Samples
from limbeck.errors import DataError
from limbeck.exporting.program import quiet, require_onnx
from limbeck.inputs import Inputs, named_tensors

QUANTISED = ["Conv", "MatMul", "Gemm"]
CALIBRATION_BATCH = 32


def write_half(source: Path, target: Path) -> str:
    """Write a float32 file with weights and arithmetic in float16; inputs and logits stay float32.

    Returns:
        How it was made.
    """
    onnx = require_onnx()
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet():
        proto = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    onnx.save(proto, str(target))
    return "weights and arithmetic in float16"


def write_int8(source: Path, target: Path, *, train: Samples, num_calibration: int, as_input: Any) -> str:
    """Write a float32 file with layers of eight bits.

    Static: ranges of activations measured on training samples. Inputs of integers, such as token ids, get dynamic
    ranges, measured at run time; then only the weights are quantised beforehand.

    Args:
        source: float32.
        target: to write.
        train: the training split.
        num_calibration: samples to take of it, evenly over the classes.
        as_input: raw samples to what the file takes.
    Returns:
        How it was made.
    Raises:
        DataError: training samples of fewer than two classes.
    """
    require_onnx()
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_name(target.name + ".prepared")
    try:
        with quiet(), _silent():
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            if all(not dtype.is_floating_point and dtype != torch.uint8 for dtype in train.input_dtypes.values()):
                quantize_dynamic(
                    str(prepared), str(target), weight_type=QuantType.QInt8, op_types_to_quantize=QUANTISED
                )
                return "weights of int8, ranges of activations measured at run time"
            positions = calibration_positions(train, num_calibration)
            quantize_static(
                str(prepared),
                str(target),
                _Calibration(train, positions, as_input, _input_names(prepared)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
                op_types_to_quantize=QUANTISED,
            )
    finally:
        prepared.unlink(missing_ok=True)
    return f"ranges of activations measured on {len(positions)} training samples, weights of int8 by channel"


def calibration_positions(train: Samples, count: int) -> Tensor:
    """Return positions of so many samples, in turn from each class, the first ones by id.

    Raises:
        DataError: labels of fewer than two classes.
    """
    order = train.positions_by_id.cpu()
    if train.labels.dim() > 1:
        return order[:count]
    labels = train.labels.cpu()[order]
    classes = torch.unique(labels[labels >= 0])
    if len(classes) < 2:
        raise DataError(
            "Ranges are not measured on samples of one class.",
            received=f"{len(classes)} of {train.num_classes} classes in {train.name}",
            expected="labelled training samples of two classes or more",
            remedy="give the data that the network was trained on: --data",
        )
    rank = torch.zeros(len(labels), dtype=torch.int64)
    for label in classes:
        among = labels == label
        rank[among] = torch.arange(int(among.sum()))
    rank[labels < 0] = len(labels)
    return order[torch.argsort(rank, stable=True)[:count]]


class _Calibration:
    """Feeds samples to the quantiser, a few at a time."""

    def __init__(self, samples: Samples, positions: Tensor, as_input: Any, names: list[str]) -> None:
        self._batches = self._feeds(samples, positions, as_input, names)

    def _feeds(self, samples: Samples, positions: Tensor, as_input: Any, names: list[str]) -> Iterator[Any]:
        for chunk in torch.split(positions, CALIBRATION_BATCH):
            inputs: Inputs = as_input(samples.fetch(chunk))
            parts = [part.cpu().numpy() for _, part in named_tensors(inputs)]
            if isinstance(inputs, Mapping):
                by_name = dict(zip(inputs, parts, strict=True))
                yield {name: by_name[name] for name in names}
            else:
                yield dict(zip(names, parts, strict=True))

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """Return the next feed; None at the end."""
        return next(self._batches, None)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Take no part of the samples: the quantiser asks for it only in strides, which are not used."""


def _input_names(path: Path) -> list[str]:
    proto = require_onnx().load(str(path), load_external_data=False)
    return [value.name for value in proto.graph.input]


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the quantiser's hints out of the log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
