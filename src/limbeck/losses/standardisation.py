"""Logit standardisation: what is left of the logits when their level and scale are taken away."""

from __future__ import annotations

from torch import Tensor

from limbeck.losses._arguments import require_classes, widened

_LEAST_DEVIATION = 1e-7


def standardise_logits(logits: Tensor) -> Tensor:
    r"""Logits of zero mean and unit standard deviation, example by example.

    .. math:: \tilde z_c = \frac{z_c - \bar z}{\sigma(z)}, \qquad
        \sigma(z)^2 = \frac1C \sum_c (z_c - \bar z)^2

    Applied to student and teacher before the temperature, in front of any logit loss: the student then need not match
    how large the teacher's logits are, only how they lie to each other:
    ``soft_target_loss(standardise_logits(z), standardise_logits(v), temperature=T)``.

    Args:
        logits: z, shape (..., classes), any float dtype, finite; float16 and bfloat16 are reduced in float32.
    Returns:
        Standardised logits, shape (..., classes), float32 (float64 for float64 logits); 0 where all are alike.
        Differentiable.
    Raises:
        InvalidValue: not floating-point.
        ShapeMismatch: no class axis.
    Example:
        >>> from torch import tensor
        >>> standardise_logits(tensor([[30.0, 20.0, 10.0], [1.0, 1.0, 1.0]]))
        tensor([[ 1.2247,  0.0000, -1.2247],
                [ 0.0000,  0.0000,  0.0000]])

    References:
        Sun et al. 2024, "Logit Standardization in Knowledge Distillation", arXiv:2403.01427, algorithm 1.
    """
    require_classes("logits", logits)
    centred = widened(logits) - widened(logits).mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / (variance + _LEAST_DEVIATION**2).sqrt()
