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

# Logits in a chunk; on a CPU 16 MiB in float32. At 14,000 classes and 512 features, 256 to 1,024 rows took the same
# time within 3 %, and 128 rows 8 % more: each chunk reads the whole head and adds to the whole of its gradient.
CPU_CHUNK_NUMBERS = 2**22
ACCELERATOR_CHUNK_NUMBERS = 2**25
MAX_CHUNK_ROWS = 4096  # a sum over more rows could overflow float16


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


NO_GRADIENTS = Gradients(None, None, None)


class RowScales(NamedTuple):
    """Temperature times weight of each row, over the largest: a mean over many rows underflows in float16."""

    relative: Tensor  # (rows, 1)
    largest: Tensor  # ()


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
        ready = _zero_gradients(features, weight, bias, ctx.needs_input_grad)
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
        ready = _zero_gradients(features, weight, bias, ctx.needs_input_grad)
        losses = row_losses(features, weight, bias, teacher, chunking, row_weights=row_weights, gradients=ready)
        ctx.save_for_backward(*ready, losses)
        ctx.dtypes = (features.dtype, weight.dtype, None if bias is None else bias.dtype, row_weights.dtype)
        return (losses * row_weights).sum(dtype=losses.dtype)

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
    gradients: Gradients = NO_GRADIENTS,
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
    scales = None if row_weights is None else _row_scales(row_weights.to(losses.dtype), chunking.temperature)
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        for start in range(0, num_rows, chunking.chunk_rows):
            block = slice(start, min(start + chunking.chunk_rows, num_rows))
            scale = None if scales is None else scales.relative[block]
            losses[block] = _chunk_losses(features, weight, bias, teacher, chunking, block, scale, gradients)
    if scales is not None:
        for gradient in gradients:
            if gradient is not None:
                gradient.mul_(scales.largest)
    return losses


def _chunk_losses(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    teacher: ChunkTeacher,
    chunking: Chunking,
    block: slice,
    scale: Tensor | None,
    gradients: Gradients,
) -> Tensor:
    temperature = chunking.temperature[block] if isinstance(chunking.temperature, Tensor) else chunking.temperature
    chunk = features[block].to(chunking.compute_dtype)
    logits = widened(F.linear(chunk, weight, bias))
    teacher_rows = teacher.rows(block, len(weight), temperature)
    ready = soft_target_pass(logits, teacher_rows, teacher.is_probs, temperature, in_place=True)
    if scale is not None:
        _add_gradients(gradients, block, chunk, weight, ready.gap, ready.slope / temperature, scale)
    return ready.loss


def _add_gradients(
    gradients: Gradients, block: slice, chunk: Tensor, weight: Tensor, gap: Tensor, slope: Tensor | float, scale: Tensor
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
    rows = min(MAX_CHUNK_ROWS, max(1, numbers // num_classes))
    return rows - rows % 32 if rows > 32 else rows


def _row_scales(row_weights: Tensor, temperature: float | Tensor) -> RowScales:
    scales = row_weights.unsqueeze(1) * temperature
    largest = scales.abs().amax().clamp_min(torch.finfo(scales.dtype).tiny)
    return RowScales(scales / largest, largest)


def _zero_gradients(features: Tensor, weight: Tensor, bias: Tensor | None, needed: tuple[bool, ...]) -> Gradients:
    zeros = [
        torch.zeros_like(values, dtype=widened_dtype(values), memory_format=torch.contiguous_format)
        if values is not None and needed[place]
        else None
        for place, values in enumerate((features, weight, bias))  # torch 2.6 compiles no zip here
    ]
    return Gradients(*zeros)
