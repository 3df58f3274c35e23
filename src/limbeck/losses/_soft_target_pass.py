"""Loss and gradient of the soft target together, in few passes over memory.

Both distributions are kept as weights that are not normalised: p = w / sum(w) and q = e / sum(e). With
r = sum(w) / sum(e),

    sum(w) KL(p || q) = sum of w (log (w / r) - log e) - (w - r e),     sum(w) (p - q) = w - r e.

The second term of the sum is 0 on paper. In floating point it makes each class's contribution at least 0 and cancels,
to first order, the rounding of r, so that the loss of two near distributions is not lost in the rounding of two large
normalisers. Equal logits give r = 1 and exact zeros.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limbeck.losses._arguments import require_first_order, widened_dtype

# On a CPU a block of rows goes through all steps while it lies in the cache. Of 2^15 to 2^20 numbers per thread, 2^17
# (512 KiB in float32) were the fastest at 14,000 classes, with one thread and with two.
BLOCK_NUMBERS_PER_THREAD = 2**17
FEW_NUMBERS = 2**13  # below this, calls cost more than passes over memory


class LossAndGap(NamedTuple):
    """What one pass leaves behind. The gradient in the student is ``slope * gap``."""

    loss: Tensor  # (...), T² KL
    gap: Tensor  # (rows, classes), w - r e; rows are the examples
    slope: Tensor | float  # (rows, 1) or one for all, -T / sum(w)


class BlockSums(NamedTuple):
    """Sums over the classes, shape (rows, 1)."""

    bits: Tensor  # of w (log2(w / r) - log2 e)
    gap: Tensor  # of w - r e
    weight: Tensor  # of w


class SoftTarget(torch.autograd.Function):
    """T² KL(teacher || student), with the gradient T (q - p) in the student."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, is_probs: bool, temperature: float | Tensor) -> Tensor:
        ctx.save_for_backward(student, teacher)
        ctx.is_probs, ctx.temperature = is_probs, temperature
        ctx.shape, ctx.dtype = student.shape, student.dtype
        ctx.ready = soft_target_pass(student, teacher, is_probs, temperature)
        loss: Tensor = ctx.ready.loss
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        require_first_order("soft_target_loss")
        # The gap is scaled in place and handed out; a second backward through a retained graph computes it anew.
        ready, ctx.ready = ctx.ready, None
        if ready is None:
            student, teacher = ctx.saved_tensors
            ready = soft_target_pass(student, teacher, ctx.is_probs, ctx.temperature)
        gradient = ready.gap.mul_(ready.slope * upstream.reshape(-1, 1))
        return gradient.reshape(ctx.shape).to(ctx.dtype), None, None, None


def soft_target_pass(
    student: Tensor,
    teacher: Tensor,
    is_probs: bool,
    temperature: float | Tensor,
    *,
    keep_gap: bool = True,
    in_place: bool = False,
) -> LossAndGap:
    """Compute loss and gap without autograd, and without reading a value back from an accelerator.

    Args:
        student: logits, shape (..., classes).
        teacher: logits or (``is_probs``) probabilities at the temperature, same shape.
        is_probs: what the teacher gives.
        temperature: T > 0, a number or shape (..., 1) in the dtype of the result.
        keep_gap: False where no gradient is wanted; the gap is then that of the last block alone.
        in_place: the gap takes the place of the student's logits, contiguous and in the dtype of the result.
    """
    leading, num_classes = student.shape[:-1], student.shape[-1]
    student, teacher = student.reshape(-1, num_classes), teacher.reshape(-1, num_classes)
    if isinstance(temperature, Tensor):
        temperature = temperature.reshape(-1, 1)
    if student.numel() <= FEW_NUMBERS and not in_place:
        return _pass_of_few(student, teacher, is_probs, temperature, leading)
    num_rows, block_rows, dtype = len(student), _block_rows(student), widened_dtype(student)
    gap = student if in_place else student.new_empty((num_rows if keep_gap else block_rows, num_classes), dtype=dtype)
    buffers = student.new_empty((3, block_rows, num_classes), dtype=dtype)
    if num_rows == block_rows:
        sums = _block(student, teacher, is_probs, temperature, gap, buffers)
    else:
        blocks = []
        for start in range(0, num_rows, block_rows):
            block = slice(start, min(start + block_rows, num_rows))
            count = block.stop - block.start
            blocks.append(
                _block(
                    student[block],
                    teacher[block],
                    is_probs,
                    temperature[block] if isinstance(temperature, Tensor) else temperature,
                    gap[block] if keep_gap else gap[:count],
                    buffers[:, :count],
                )
            )
        sums = BlockSums(*(torch.cat(column) for column in zip(*blocks, strict=True)))
    divergence = sums.bits.mul_(math.log(2)).sub_(sums.gap).div_(sums.weight)
    loss = divergence.clamp_min_(0.0).mul_(temperature * temperature).view(leading)
    return LossAndGap(loss, gap, -temperature / sums.weight)


def _pass_of_few(
    student: Tensor, teacher: Tensor, is_probs: bool, temperature: float | Tensor, leading: torch.Size
) -> LossAndGap:
    """The same in the fewest operations: with few numbers, what an operation costs is its call.

    The classes go first: over a short last axis torch's softmax goes row by row, over the first by many rows at once.
    """
    dtype = widened_dtype(student)
    log_q = torch.log_softmax((student.to(dtype) / temperature).t(), dim=0)
    if is_probs:
        log_p = (teacher.to(dtype) / teacher.sum(dim=-1, keepdim=True, dtype=dtype)).t().log()
    else:
        log_p = torch.log_softmax((teacher.to(dtype) / temperature).t(), dim=0)
    divergence, gap = divergence_and_gap(log_p, log_q)
    scale = temperature.squeeze(-1) if isinstance(temperature, Tensor) else temperature
    return LossAndGap(divergence.mul_(scale * scale).view(leading), gap.t(), -temperature)


def divergence_and_gap(log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Return KL(p || q), shape (rows,), and p - q from log-probabilities (classes, rows). Both may be overwritten."""
    p = log_p.exp()
    gap = p - log_q.exp()
    # As in a block: 0 * inf and inf - inf count as 0, a NaN logit shows through the gap, and the gap's sum, 0 on paper,
    # cancels the rounding of the two normalisers.
    divergence = log_p.sub_(log_q).mul_(p).nansum(dim=0).sub_(gap.sum(dim=0)).clamp_min_(0.0)
    return divergence, gap


def _block_rows(student: Tensor) -> int:
    num_rows, num_classes = student.shape
    if student.device.type != "cpu" or student.numel() <= BLOCK_NUMBERS_PER_THREAD:
        return num_rows
    return min(num_rows, max(1, BLOCK_NUMBERS_PER_THREAD * torch.get_num_threads() // num_classes))


def _block(
    student: Tensor, teacher: Tensor, is_probs: bool, temperature: float | Tensor, gap: Tensor, buffers: Tensor
) -> BlockSums:
    """Fill ``gap`` and return the sums over classes. The buffers are overwritten."""
    log_e, log_w, w = buffers.unbind()
    student_sum = _exponentials(student, temperature, log_weights=log_e, weights=gap)
    if is_probs:  # scaled to the student's sum, so that r = 1
        torch.div(teacher, teacher.sum(dim=-1, keepdim=True, dtype=w.dtype) / student_sum, out=w)
        torch.clamp_min(w, torch.finfo(w.dtype).tiny, out=log_w).log2_()  # 0 log 0 = 0; log2(0) itself is slow
        weight_sum = student_sum
        log_w.sub_(log_e)
        torch.sub(w, gap, out=gap)
    else:
        weight_sum = _exponentials(teacher, temperature, log_weights=log_w, weights=w)
        ratio = weight_sum / student_sum
        log_w.sub_(log_e).sub_(ratio.log2())
        torch.addcmul(w, gap, ratio, value=-1, out=gap)
    # A class at -inf may give 0 * inf or inf - inf, which counts as 0; a NaN logit still shows through the gap.
    return BlockSums(
        bits=log_w.mul_(w).nansum(dim=-1, keepdim=True), gap=gap.sum(dim=-1, keepdim=True), weight=weight_sum
    )


def _exponentials(logits: Tensor, temperature: float | Tensor, *, log_weights: Tensor, weights: Tensor) -> Tensor:
    """Write (z - max z) / T in bits and its exponential; return the latter's sum, shape (rows, 1).

    Bits, because exp2 takes the same time for any argument; exp is up to 200 times slower where it underflows.
    """
    if logits.dtype != log_weights.dtype or not logits.is_contiguous():
        logits = log_weights.copy_(logits)
    highest = logits.amax(dim=-1, keepdim=True)
    bits = 1 / math.log(2) / temperature
    if isinstance(bits, Tensor):
        torch.addcmul(highest.mul_(-bits), logits, bits, out=log_weights)
    else:
        torch.add(highest.mul_(-bits), logits, alpha=bits, out=log_weights)
    torch.exp2(log_weights, out=weights)
    return weights.sum(dim=-1, keepdim=True)
