"""Records of independent labels, whose logits mean something by themselves and not only beside each other."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import InvalidValue
from limbeck.targets.codec import Codec, WrappedCodec
from limbeck.targets.soft_targets import DenseTargets, SoftTargets

INDEPENDENT = "independent"  # the parameter by which a codec's records are known to be of independent labels


class LabelsCodec(WrappedCodec):
    r"""Keeps the logits of independent labels as those of classes: beside a class more, whose logit is 0.

    Codecs keep the differences between a row's logits. Of a label z is the difference to that 0:

    .. math:: \sigma(z_c) = \frac{e^{z_c}}{e^{z_c} + e^0}

    Args:
        rows: a dense codec of one class more than there are labels.
    Raises:
        InvalidValue: a codec that keeps a few classes and their sum, which independent labels do not have.
    Example:
        >>> import torch
        >>> from limbeck.targets import Dense16
        >>> codec = LabelsCodec(Dense16(3))
        >>> codec.decode(codec.encode(torch.tensor([[5.0, 7.0]]))).logits_at(1.0)
        tensor([[5., 7.]])
    """

    independent = True

    def __init__(self, rows: Codec) -> None:
        if not rows.is_dense:
            raise InvalidValue(
                f"The codec {rows.name} keeps distributions over classes, not independent labels.",
                received=rows.name,
                expected="dense16, dense8 or auto",
            )
        super().__init__(rows, {INDEPENDENT: True})
        self.num_classes = rows.num_classes - 1

    def encode(self, logits: Tensor) -> Tensor:
        return self.rows.encode(beside_zero(logits))

    def decode(self, records: Tensor) -> SoftTargets:
        logits = self.rows.decode(records).logits_at(1.0)
        return DenseTargets(logits[..., :-1] - logits[..., -1:])


def beside_zero(logits: Tensor) -> Tensor:
    """Return logits (..., labels) with a last class of logit 0: (..., labels + 1)."""
    return F.pad(logits, (0, 1))
