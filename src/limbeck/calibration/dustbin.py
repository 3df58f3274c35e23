"""The dustbin's logit of a specialist that was trained on more of its own classes than there are in use."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from limbeck.calibration.arguments import usable_logits
from limbeck.errors import InvalidValue, ShapeMismatch, unknown_name

_FORMS = ("exact", "paper")


def dustbin_offset(
    *, special_prior: float, special_share: float = 0.5, form: Literal["exact", "paper"] = "exact"
) -> float:
    r"""What to add to a specialist's dustbin logit after training on batches with too many special examples.

    .. math:: b_{exact} = \log \frac{\rho / \pi}{(1 - \rho) / (1 - \pi)}, \qquad b_{paper} = \log \frac \rho \pi

    with pi the share of the special classes in use and rho their share of the batches: one half in the paper. A perfect
    specialist, trained on special examples as frequent among each other as in use and on random others, gives
    :math:`p(c \mid x) \propto \frac \rho \pi \, \pi_c \, p(x \mid c)` for a special class and
    :math:`p(\text{dustbin} \mid x) \propto \frac{1 - \rho}{1 - \pi} \sum_{c \notin S} \pi_c \, p(x \mid c)`. Bayes'
    rule for the frequencies in use wants both factors gone: the exact form. The paper words only the first: "increment
    the logit of the dustbin class by the log of the proportion by which the specialist class is oversampled". It leaves
    the dustbin too low by log((1 - pi) / (1 - rho)), which is log 2 for small pi and rho = 1/2.

    Args:
        special_prior: pi, in (0, 1).
        special_share: rho, in (0, 1).
        form: "exact" or "paper".
    Returns:
        b in nats; 0 where pi = rho.
    Raises:
        InvalidValue: a share that is not between 0 and 1.
        UnknownName: another form.
    Example:
        >>> round(dustbin_offset(special_prior=0.1), 4)  # log 9
        2.1972
        >>> round(dustbin_offset(special_prior=0.1, form="paper"), 4)  # log 5
        1.6094

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.2.
    """
    if form not in _FORMS:
        raise unknown_name("form of the dustbin's correction", form, _FORMS)
    for name, share in (("special_prior", special_prior), ("special_share", special_share)):
        if not 0 < share < 1:
            raise InvalidValue(f"{name} must be between 0 and 1.", received=share, expected="0 < share < 1")
    oversampled = math.log(special_share) - math.log(special_prior)
    return oversampled if form == "paper" else oversampled + math.log1p(-special_prior) - math.log1p(-special_share)


def correct_dustbin(
    logits: Tensor, *, special_prior: float, special_share: float = 0.5, form: Literal["exact", "paper"] = "exact"
) -> Tensor:
    """Return a specialist's logits for the class frequencies in use: :func:`dustbin_offset` added to the last column.

    To put it into the network for good: ``add_class_bias(specialist, [0.0] * num_special + [offset])``.

    Args:
        logits: shape (batch, special classes + 1), the dustbin last, any float dtype.
        special_prior: pi, the share of the special classes in use, in (0, 1).
        special_share: rho, their share of the batches that the specialist was trained on, in (0, 1).
        form: "exact" or "paper".
    Returns:
        Logits of the same shape and dtype, without gradient.
    Raises:
        InvalidValue: a share that is not between 0 and 1; no rows, or rows without a softmax.
        ShapeMismatch: logits that are not (batch, special classes + 1).
        UnknownName: another form.
    Example:
        >>> import torch
        >>> balanced = torch.zeros(1, 2)  # special as likely as not, in balanced batches
        >>> correct_dustbin(balanced, special_prior=0.1).softmax(dim=1)
        tensor([[0.1000, 0.9000]])
    """
    offset = dustbin_offset(special_prior=special_prior, special_share=special_share, form=form)
    checked = usable_logits(logits)
    if checked.shape[1] < 2:
        raise ShapeMismatch(
            "A specialist's logits have a class and the dustbin.",
            received=tuple(logits.shape),
            expected="(batch, special classes + 1)",
        )
    corrected = logits.detach().clone()
    corrected[:, -1] += offset
    return corrected
