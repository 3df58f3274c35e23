"""Loss and gradients of a linear head and a soft target, a chunk of rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses._arguments import require_first_order, widened, widened_dtype
from limbeck.losses._soft_target_pass import soft_target_pass
from limbeck.losses.chunk_teachers import ChunkTeacher

CPU_CHUNK_NUMBERS = 2**23
ACCELERATOR_CHUNK_NUMBERS = 2**25
MAX_CHUNK_ROWS = 4096  # in float16, a sum of more rows could overflow


@dataclass(frozen=True, eq=False)
class Chunking:
    """What is the same in every chunk."""

    temperature: float | Tensor  # a number, or (rows, 1)
    compute_dtype: torch.dtype  # of the matrix products
    chunk_rows: int


class Gradients(NamedTuple):
    """Of the weighted sum of the losses, in the dtype in which losses are reduced; None where not wanted."""

    features: Tensor | None  # (rows, features)
    weight: Tensor | None  # (classes, features)
    bias: Tensor | None  # (classes,)


class RowLosses(torch.autograd.Function):
    """One loss per row. The backward pass computes the logits again: only there the weights of the rows are known."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, teacher: ChunkTeacher, chunking: Chunking
    ) -> Tensor:
        ctx.save_for_backward(features, weight, bias, *teacher.tensors().values())  # notices changes in place
        ctx.teacher, ctx.chunking = teacher, chunking
        return row_losses(features, weight, bias, teacher, chunking)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        require_first_order("chunked_soft_target_loss")
        features, weight, bias, *_ = ctx.saved_tensors
        ready = _no_gradients(features, weight, bias, ctx.needs_input_grad)
        row_losses(features, weight, bias, ctx.teacher, ctx.chunking, row_weights=upstream, gradients=ready)
        dtypes = (features.dtype, weight.dtype, None if bias is None else bias.dtype)
        return *(None if g is None else g.to(dtype) for g, dtype in zip(ready, dtypes, strict=True)), None, None


class WeightedSum(torch.autograd.Function):
    """The sum of the weighted losses. The forward pass computes the gradients too; the backward pass scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        row_weights: Tensor,
        teacher: ChunkTeacher,
        chunking: Chunking,
    ) -> Tensor:
        ready = _no_gradients(features, weight, bias, ctx.needs_input_grad)
        losses = row_losses(features, weight, bias, teacher, chunking, row_weights=row_weights, gradients=ready)
        ctx.save_for_backward(*ready, losses)
        ctx.dtypes = (features.dtype, weight.dtype, None if bias is None else bias.dtype, row_weights.dtype)
        return losses @ row_weights.to(losses.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        require_first_order("chunked_soft_target_sum")
        scaled = [
            (ready * upstream).to(dtype) if needed else None
            for ready, dtype, needed in zip(ctx.saved_tensors, ctx.dtypes, ctx.needs_input_grad, strict=False)
        ]
        return *scaled, None, None


def row_losses(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    teacher: ChunkTeacher,
    chunking: Chunking,
    *,
    row_weights: Tensor | None = None,
    gradients: Gradients = Gradients(None, None, None),
) -> Tensor:
    """Return the loss of each row, without autograd; with ``row_weights``, fill the zeros of ``gradients``.

    Args:
        features: shape (rows, features).
        weight: shape (classes, features).
        bias: shape (classes,).
        teacher: flattened, of the same rows.
        chunking: temperature, dtype and size of the chunks.
        row_weights: derivative of the final loss in each row's loss, shape (rows,).
        gradients: zeros, to which the chunks add.
    """
    num_rows, dtype = len(features), chunking.compute_dtype
    losses = widened(features.new_empty(num_rows, dtype=dtype))
    if num_rows == 0:
        return losses
    weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    scales, largest = _scales(row_weights, chunking.temperature, losses)
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        for start in range(0, num_rows, chunking.chunk_rows):
            block = slice(start, min(start + chunking.chunk_rows, num_rows))
            temperature = chunking.temperature
            if isinstance(temperature, Tensor):
                temperature = temperature[block]
            chunk = features[block].to(dtype)
            logits = widened(F.linear(chunk, weight, bias))
            answers = teacher.rows(block, len(weight), temperature)
            losses[block], gap, slope = soft_target_pass(
                logits, answers, teacher.is_probs, temperature, in_place=True
            )
            if scales is not None:
                _add_gradients(gradients, block, chunk, weight, gap, slope / temperature, scales[block])
    for gradient in gradients:
        if gradient is not None:
            gradient.mul_(largest)
    return losses


def _add_gradients(
    gradients: Gradients, block: slice, chunk: Tensor, weight: Tensor, gap: Tensor, slope: Tensor, scale: Tensor
) -> None:
    """Add what one chunk's gradient in the logits, ``scale * slope * gap``, means for features, weight and bias.

    In float16 and bfloat16 the matrix products see ``slope * gap``, a difference of probabilities.
    """
    if gap.dtype == weight.dtype:
        scale = scale * slope
    else:
        gap = gap.mul_(slope)
    if gradients.bias is not None:
        gradients.bias.addmv_(gap.t(), scale.squeeze(1))
    gap = gap.to(weight.dtype)
    if gradients.features is not None:
        gradients.features[block] = (gap @ weight).mul_(scale)
    if gradients.weight is not None:
        chunk = (chunk * scale).to(weight.dtype)
        if gap.dtype == gradients.weight.dtype:
            gradients.weight.addmm_(gap.t(), chunk)
        else:
            gradients.weight.add_(gap.t() @ chunk)


def default_chunk_rows(device: torch.device, num_classes: int) -> int:
    """Return how many rows a chunk has where the caller leaves it open."""
    numbers = CPU_CHUNK_NUMBERS if device.type == "cpu" else ACCELERATOR_CHUNK_NUMBERS
    return min(MAX_CHUNK_ROWS, max(1, numbers // num_classes))


def _scales(
    row_weights: Tensor | None, temperature: float | Tensor, losses: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return T times the rows' weights, over the largest of them, shape (rows, 1); and that largest one.

    So that a mean over many rows does not underflow in float16.
    """
    if row_weights is None:
        return None, None
    scales = row_weights.to(losses.dtype).unsqueeze(1) * temperature
    largest = scales.abs().amax().clamp_min(torch.finfo(scales.dtype).tiny)
    return scales / largest, largest


def _no_gradients(features: Tensor, weight: Tensor, bias: Tensor | None, needed: tuple[bool, ...]) -> Gradients:
    zeros = [
        torch.zeros_like(values, dtype=widened_dtype(values), memory_format=torch.contiguous_format)
        if values is not None and is_needed
        else None
        for values, is_needed in zip((features, weight, bias), needed, strict=False)
    ]
    return Gradients(*zeros)
