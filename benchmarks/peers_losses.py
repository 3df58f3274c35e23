"""Each library's soft loss against the paper's, on a small example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses import soft_target_loss


def soft_losses() -> dict[str, dict[str, Any]]:
    """Compare each library's soft term with T² KL(teacher || student), mean over the batch, on a small example.

    The paper's gradient in the student's logits is T (q - p) / batch, written out here. ``gradient_factor`` is what the
    library's gradient is of it (least squares), ``gradient_remainder`` the relative part that no factor explains.
    """
    return {name: _compared(loss) for name, loss in _soft_terms().items()}


def _soft_terms() -> Mapping[str, Callable[[Tensor, Tensor, float], Tensor]]:
    def limbeck(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        return soft_target_loss(student, teacher, temperature=temperature).mean()

    def torchdistill(student: Tensor, teacher: Tensor, temperature: float, *, hard_weight: float = 0.1) -> Tensor:
        kd_loss = import_module("torchdistill.losses.mid_level").KDLoss(
            ".", "output", ".", "output", temperature=temperature, alpha=hard_weight, beta=1.0
        )
        labels = torch.zeros(len(student), dtype=torch.int64)
        total: Tensor = kd_loss({".": {"output": student}}, {".": {"output": teacher}}, labels)
        return total - hard_weight * F.cross_entropy(student, labels)

    def textbrewer(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        loss: Tensor = import_module("textbrewer").KD_LOSS_MAP["ce"](student, teacher, temperature)
        return loss

    return {
        "limbeck `soft_target_loss`": limbeck,
        "torchdistill `KDLoss`, alpha 0.1, beta 1": torchdistill,
        "torchdistill `KDLoss`, alpha 0, beta 1": lambda *given: torchdistill(*given, hard_weight=0.0),
        'TextBrewer `kd_loss_type="ce"`': textbrewer,
    }


def _compared(loss: Callable[[Tensor, Tensor, float], Tensor]) -> dict[str, Any]:
    try:
        return _compared_with_paper(loss, temperature=4.0)
    except Exception as error:  # a peer that cannot be imported, say
        return {"not_run": f"{type(error).__name__}: {error}"}


def _compared_with_paper(loss: Callable[[Tensor, Tensor, float], Tensor], *, temperature: float) -> dict[str, Any]:
    teacher = torch.tensor([[3.0, -1.0, 0.5], [0.0, 2.0, -2.0]], dtype=torch.float64)
    student = torch.tensor([[1.0, 0.0, -1.0], [2.0, -0.5, 0.0]], dtype=torch.float64)
    p, q = (torch.softmax(logits / temperature, dim=1) for logits in (teacher, student))
    paper_value = float(temperature**2 * (p * (p / q).log()).sum(dim=1).mean())
    paper_gradient = temperature * (q - p) / len(p)

    leaf = student.clone().requires_grad_()
    value = loss(leaf, teacher, temperature)
    (gradient,) = torch.autograd.grad(value, leaf)
    factor = float((gradient * paper_gradient).sum() / paper_gradient.square().sum())
    remainder = float((gradient - factor * paper_gradient).norm() / paper_gradient.norm())
    at_agreement = float(loss(teacher, teacher, temperature))
    return {
        "temperature": temperature,
        "value": float(value.detach()),
        "paper_value": paper_value,
        "value_at_agreement": at_agreement,
        "gradient_factor": factor,
        "gradient_remainder": remainder,
        "in_words": _in_words(factor, remainder, at_agreement, temperature),
    }


def _in_words(factor: float, remainder: float, at_agreement: float, temperature: float) -> str:
    if remainder > 1e-5:
        gradient = "another direction than the paper's gradient"
    elif abs(factor - 1) < 1e-5:
        gradient = "the paper's gradient"
    elif abs(factor * temperature**2 - 1) < 1e-5:
        gradient = "without T²: the paper's gradient over T²"
    else:
        gradient = f"the paper's gradient times {factor:.4g}"
    return f"{gradient}; " + (
        "zero at agreement"
        if abs(at_agreement) < 1e-6
        else "a cross-entropy: the teacher's entropy is left at agreement"
    )
