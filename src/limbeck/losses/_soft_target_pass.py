"""Loss and gradient of the soft target together, in few passes over memory.

Both distributions are kept as weights that are not normalised: p = w / sum(w) and q = e / sum(e). With
r = sum(w) / sum(e),

    sum(w) KL(p || q) = sum of w (log w - log e - log r) + (r e - w),     sum(w) (q - p) = r e - w.

The second term of the sum is 0 on paper. In floating point it makes each class's contribution at least 0 and cancels,
to first order, the rounding of r, so that the loss of two near distributions is not lost in the rounding of two large
normalisers. Equal logits give r = 1 and exact zeros.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck.losses._arguments import widened_dtype

# On a CPU a block of rows goes through all steps while it lies in the cache. 2^17 numbers (512 KiB) per thread were the
# fastest of 2^15 to 2^20 at 14,000 classes.
BLOCK_NUMBERS_PER_THREAD = 2**17


class LossAndGap(NamedTuple):
    """What one pass leaves behind. The gradient in the student is ``slope * gap``."""

    loss: Tensor  # (rows,), T² KL
    gap: Tensor  # (rows, classes), r e - w
    slope: Tensor  # (rows,), T / sum(w)


class SoftTarget(torch.autograd.Function):
    """T² KL(teacher || student) of rows, with the gradient T (q - p) in the student."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, is_probs: bool, temperature: float | Tensor) -> Tensor:
        ctx.save_for_backward(student, teacher)
        ctx.is_probs, ctx.temperature, ctx.dtype = is_probs, temperature, student.dtype
        ctx.ready = soft_target_pass(student, teacher, is_probs, temperature)
        loss: Tensor = ctx.ready.loss
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        # The gap is scaled in place and handed out; a second backward through a retained graph computes it anew.
        ready, ctx.ready = ctx.ready, None
        if ready is None:
            student, teacher = ctx.saved_tensors
            ready = soft_target_pass(student, teacher, ctx.is_probs, ctx.temperature)
        gradient = ready.gap.mul_((upstream * ready.slope).unsqueeze(-1))
        return gradient.to(ctx.dtype), None, None, None


def soft_target_pass(
    student: Tensor, teacher: Tensor, is_probs: bool, temperature: float | Tensor, *, keep_gap: bool = True
) -> LossAndGap:
    """Compute loss and gap of rows, without autograd and without reading a value back from an accelerator.

    Args:
        student: logits, shape (rows, classes).
        teacher: logits or (``is_probs``) probabilities at the temperature, shape (rows, classes).
        is_probs: what the teacher gives.
        temperature: T > 0, a number or shape (rows, 1) in the dtype of the result.
        keep_gap: False where no gradient is wanted; the gap is then that of the last block alone.
    """
    num_rows, num_classes = student.shape
    dtype = widened_dtype(student)
    block_rows = _block_rows(student)
    gap = student.new_empty((num_rows if keep_gap else block_rows, num_classes), dtype=dtype)
    buffers = student.new_empty((3, block_rows, num_classes), dtype=dtype)
    divergence = student.new_empty((num_rows,), dtype=dtype)
    teacher_sum = student.new_empty((num_rows,), dtype=dtype)
    for start in range(0, num_rows, block_rows):
        block = slice(start, min(start + block_rows, num_rows))
        count = block.stop - block.start
        divergence[block], teacher_sum[block] = _block(
            student[block],
            teacher[block],
            is_probs,
            temperature[block] if isinstance(temperature, Tensor) else temperature,
            gap=gap[block] if keep_gap else gap[:count],
            buffers=buffers[:, :count].unbind(),
        )
    scale = temperature.squeeze(-1) if isinstance(temperature, Tensor) else temperature
    loss = divergence.clamp_min_(0.0).mul_(scale * scale)
    return LossAndGap(loss, gap, teacher_sum.reciprocal_().mul_(scale))


def _block_rows(student: Tensor) -> int:
    num_rows, num_classes = max(1, student.shape[0]), student.shape[1]
    if student.device.type != "cpu":
        return num_rows
    return min(num_rows, max(1, BLOCK_NUMBERS_PER_THREAD * torch.get_num_threads() // num_classes))


def _block(
    student: Tensor,
    teacher: Tensor,
    is_probs: bool,
    temperature: float | Tensor,
    *,
    gap: Tensor,
    buffers: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor]:
    """Fill ``gap``; return the divergence and sum(w), shape (rows,). The buffers are overwritten."""
    log_e, log_w, w = buffers
    student_sum = _exponentials(student, temperature, log_weights=log_e, weights=gap)
    if is_probs:
        w = teacher if teacher.dtype == w.dtype else w.copy_(teacher)
        torch.log(w, out=log_w)
        teacher_sum = w.sum(dim=-1, keepdim=True)
    else:
        teacher_sum = _exponentials(teacher, temperature, log_weights=log_w, weights=w)
    ratio = teacher_sum / student_sum
    gap.mul_(ratio).sub_(w)
    terms = log_w.sub_(log_e).sub_(ratio.log_()).mul_(w)
    # A class of weight 0 may give 0 * inf, which counts as 0; a NaN logit still shows through the gap.
    divergence = terms.nansum(dim=-1).add_(gap.sum(dim=-1))
    teacher_sum = teacher_sum.squeeze(-1)
    return divergence.div_(teacher_sum), teacher_sum


def _exponentials(logits: Tensor, temperature: float | Tensor, *, log_weights: Tensor, weights: Tensor) -> Tensor:
    """Write (z - max z) / T and its exponential; return the latter's sum, shape (rows, 1)."""
    if logits.dtype != log_weights.dtype or not logits.is_contiguous():
        logits = log_weights.copy_(logits)
    highest = logits.amax(dim=-1, keepdim=True)
    if isinstance(temperature, Tensor):
        inverse = temperature.reciprocal()
        torch.addcmul(highest.mul_(-inverse), logits, inverse, out=log_weights)
    else:
        torch.add(highest.mul_(-1 / temperature), logits, alpha=1 / temperature, out=log_weights)
    torch.exp(log_weights, out=weights)
    return weights.sum(dim=-1, keepdim=True)
