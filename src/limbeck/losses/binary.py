"""Losses of independent labels: each is a Bernoulli variable with one logit, and several or none may be true."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch, require_fraction
from limbeck.losses._arguments import divisor, require_first_order, require_pair, widened, widened_dtype


def binary_soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor) -> Tensor:
    r"""Soft-target term for multi-label and binary classifiers: T² KL of each label's Bernoulli, added up.

    .. math:: \ell = T^2 \sum_c \left( p_c \log \frac{p_c}{q_c} + (1 - p_c) \log \frac{1 - p_c}{1 - q_c} \right),
        \qquad \frac{\partial \ell}{\partial z_c} = T (q_c - p_c)

    with p = sigmoid(v / T) and q = sigmoid(z / T). It is the divergence of the joint distribution of independent
    labels. T² keeps the gradient's scale as T changes; as T grows the gradient tends to (z - v) / 4. Two exclusive
    classes are one label with the difference of their two logits: the value is then that of ``soft_target_loss``. The
    gradient is computed together with the loss and cannot be differentiated again.

    Args:
        student_logits: z, shape (..., labels), any float dtype; float16 and bfloat16 are reduced in float32.
        teacher_logits: v, same shape; receives no gradient. -inf and inf (a probability of exactly 0 or 1) are allowed.
        temperature: T > 0, dimensionless, shared by both: one number, or one per example, shape (...).
    Returns:
        Loss in nats (times T²), shape (...), float32 (float64 for a float64 student), never negative, exactly 0 where
        the logits are equal. The sum over labels: divide by their number for a mean. The caller reduces.
    Raises:
        InvalidValue: a temperature that is no finite number above 0; not floating-point; on different devices.
        ShapeMismatch: no label axis, the two shapes differ, or a temperature that does not fit.
    Example:
        >>> from torch import tensor
        >>> binary_soft_target_loss(tensor([[2.0, 1.0]]), tensor([[-2.0, 1.0]]), temperature=2.0)
        tensor([1.8485])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2, with a softmax over each label's two values (z, 0).
    """
    require_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    scale = divisor(temperature, student_logits)
    loss: Tensor = _BinarySoftTarget.apply(student_logits, teacher_logits.detach(), scale)  # type: ignore[no-untyped-call]
    return loss


class _BinarySoftTarget(torch.autograd.Function):
    """T² times the Bernoulli KL, with the gradient T (q - p) in the student."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, temperature: float | Tensor) -> Tensor:
        dtype = widened_dtype(student)
        tempered, other = student.to(dtype) / temperature, teacher.to(dtype) / temperature
        p, q = torch.sigmoid(other), torch.sigmoid(tempered)
        ctx.slope, ctx.dtype, ctx.temperature = q - p, student.dtype, temperature
        # log p - log q and log(1 - p) - log(1 - q); where p is 0 or 1 its own term is 0 whatever the logarithm.
        gain = F.logsigmoid(other) - F.logsigmoid(tempered)
        loss = F.logsigmoid(-other) - F.logsigmoid(-tempered)
        divergence = torch.where(p > 0, p * gain, 0.0) + torch.where(p < 1, (1 - p) * loss, 0.0)
        divergence = torch.where(tempered == other, torch.zeros_like(divergence), divergence).clamp_min_(0.0)
        factor = temperature.squeeze(-1) if isinstance(temperature, Tensor) else temperature
        return divergence.sum(dim=-1) * (factor * factor)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        require_first_order("binary_soft_target_loss")
        return (ctx.slope * ctx.temperature * upstream.unsqueeze(-1)).to(ctx.dtype), None, None


def binary_hard_label_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    pos_weight: Tensor | None = None,
    ignore_label: float = -1,
) -> Tensor:
    r"""Cross-entropy of each independent label, added up over those that are known.

    .. math:: \ell = - \sum_c \left( w_c\, y_c \log q_c + (1 - y_c) \log (1 - q_c) \right), \qquad
        q = \mathrm{sigmoid}(z)

    Args:
        logits: z, shape (..., labels), any float dtype; float16 and bfloat16 are reduced in float32.
        labels: y, same shape: booleans, or numbers in [0, 1]; ``ignore_label`` where a label is unknown.
        label_smoothing: s in [0, 1]: y becomes (1 - s) y + s / 2.
        pos_weight: w, shape (labels,), > 0: how much a true label counts; 1 where not given.
        ignore_label: an entry with this value has loss 0 and gradient 0.
    Returns:
        Loss in nats, shape (...), float32 (float64 for float64 logits). The caller reduces.
    Raises:
        InvalidValue: a label outside [0, 1] (checked on the CPU alone), or ``label_smoothing`` outside its range.
        ShapeMismatch: shapes that differ.
    Example:
        >>> from torch import tensor
        >>> binary_hard_label_loss(tensor([[2.0, 0.0]]), tensor([[1.0, -1.0]]))
        tensor([0.1269])
    """
    require_fraction("label_smoothing", label_smoothing)
    wide = widened(logits)
    values = labels.to(wide.dtype)
    require_pair("logits", logits, "labels", values)
    known = values != ignore_label
    if values.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = known & ~((values >= 0) & (values <= 1))
        if bool(wrong.any()):
            raise InvalidValue(
                "A label is out of range.",
                received=float(values[wrong][0]),
                expected=f"0 to 1, or {ignore_label:g} for one that is unknown",
            )
    if pos_weight is not None and pos_weight.shape != logits.shape[-1:]:
        raise ShapeMismatch(
            "pos_weight does not fit the labels.", received=tuple(pos_weight.shape), expected=tuple(logits.shape[-1:])
        )
    targets = torch.where(known, values, 0.0)
    if label_smoothing > 0:
        targets = targets * (1 - label_smoothing) + label_smoothing / 2
    losses = F.binary_cross_entropy_with_logits(wide, targets, reduction="none", pos_weight=pos_weight)
    return torch.where(known, losses, 0.0).sum(dim=-1)
