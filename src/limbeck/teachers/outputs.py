"""What a teacher's outputs are, logits, log-probabilities or probabilities, and how they become soft targets."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, TeacherError, require_not_negative, unknown_name
from limbeck.targets import DenseTargets

OutputKind = Literal["logits", "log_probs", "probs", "label_probs"]
KINDS: tuple[OutputKind, ...] = get_args(OutputKind)
SMOOTHING = 0.1


class Outputs:
    r"""Turns a teacher's outputs into soft targets, and refuses what they are not said to be.

    Probabilities are taken as logits :math:`z = \log p`, which holds at every temperature. An exact 0 has no logarithm:

    .. math:: p_c \leftarrow \min(s / C,\; \min_{p_j > 0} p_j) \quad \text{where } p_c = 0

    for C classes, after which the row sums to 1 again; rows without a 0 are left as they are. So what a forest did not
    see gets at most the share s of a row in all, and never more than the forest gave to another class. The default,
    s = 0.1, makes of a one-hot row what label smoothing of 0.1 makes of a label. A smaller share forbids what was
    merely not seen, the more the hotter: on the digits (forest of 100 trees, T = 4, three seeds) a student has 75 to 88
    errors of 897 with s = 0.1, 85 to 91 with 0.01, 111 to 121 with 1e-6, 114 to 135 with -inf; at T = 1 it has 69 to 73
    with each of them.

    Probabilities of independent labels are taken as :math:`z = \log p - \log(1 - p)`, in which p is kept off 0 and 1:

    .. math:: \min(s / 2,\; \min_{p_j > 0} p_j) \le p \le \max(1 - s / 2,\; \max_{p_j < 1} p_j)

    The first outputs are looked at: rows that are not negative and sum to 1 are probabilities, whatever was said; so
    are numbers from 0 to 1 for the logits of independent labels.

    Args:
        teacher: its name, for messages.
        outputs: "logits", "log_probs", "probs" (of classes, each row sums to 1) or "label_probs" (of independent
            labels, each number by itself); None for logits.
        smoothing: s in [0, 1): of probabilities alone. 0 keeps -inf.
    Raises:
        UnknownName: another kind.
        InvalidValue: a smoothing out of range.
    Example:
        >>> outputs = Outputs("forest", outputs="probs", smoothing=0.02)
        >>> outputs(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).logits.exp()
        tensor([[0.5000, 0.5000],
                [0.9901, 0.0099]])
    """

    def __init__(self, teacher: str, *, outputs: str | None = None, smoothing: float = SMOOTHING) -> None:
        if outputs is not None and outputs not in KINDS:
            raise unknown_name("kind of outputs", outputs, KINDS)
        require_not_negative("smoothing", smoothing)
        if smoothing >= 1:
            raise InvalidValue("smoothing is a share.", received=smoothing, expected="0 <= smoothing < 1")
        self.teacher, self.kind, self.smoothing = teacher, outputs or "logits", float(smoothing)
        self._checked = self._is_multi_label = False

    @property
    def identity(self) -> str:
        """What decides the soft targets beside the outputs themselves; empty for logits."""
        if self.kind == "logits":
            return ""
        return self.kind if self.kind == "log_probs" else f"{self.kind} smoothing {self.smoothing!r}"

    @property
    def note(self) -> str | None:
        """What a reader of the record must know; None for logits."""
        if self.kind == "logits":
            return None
        if self.kind == "log_probs":
            return f"{self.teacher} gives log-probabilities, which are taken as logits."
        if self.kind == "label_probs":
            return f"{self.teacher} gives labels' probabilities: log p - log(1 - p) is taken, p kept off 0 and 1."
        zeros = "stay 0" if self.smoothing == 0 else f"share at most {self.smoothing:g} of their row (smoothing)"
        return f"{self.teacher} gives probabilities: their logarithms are taken as logits, exact zeros {zeros}."

    def fit(self, task: str) -> None:
        """Learn what kind of labels the data have: "single_label" or "multi_label".

        Raises:
            TeacherError: probabilities of independent labels for classes that exclude each other.
        """
        self._is_multi_label = task == "multi_label"
        if self.kind == "label_probs" and not self._is_multi_label:
            raise TeacherError(
                f"{self.teacher} gives probabilities of independent labels, and the data's classes exclude each other.",
                received="label_probs",
                expected='outputs="probs": each row sums to 1',
            )

    def check_fits(self, logits: Tensor, task: str) -> None:
        """Look at logits that were taken before it was known what kind of labels the data have."""
        self.fit(task)
        if self.kind == "logits":
            self._check(logits)

    def __call__(self, outputs: Tensor) -> DenseTargets:
        """Return soft targets of outputs (batch, ..., classes).

        Raises:
            TeacherError: outputs of another kind than was said.
        """
        if not self._checked:
            self._check(outputs)
            self._checked = True
        if self.kind == "probs":
            self._check_probs(outputs)
            return DenseTargets(log_of_probs(outputs, smoothing=self.smoothing))
        if self.kind == "label_probs":
            self._check_label_probs(outputs)
            return DenseTargets(logit_of_probs(outputs, smoothing=self.smoothing))
        return DenseTargets(outputs)

    def _check(self, outputs: Tensor) -> None:
        """Look at the first outputs, once."""
        if self.kind == "label_probs":
            return
        if self._is_multi_label and self.kind == "logits" and _lie_in_unit_range(outputs):
            raise TeacherError(
                f"The outputs of {self.teacher} are probabilities of labels, not logits.",
                received=f"numbers from {float(outputs.min()):.3g} to {float(outputs.max()):.3g}",
                expected='logits, which precede a sigmoid, or outputs="label_probs"',
                remedy='pass as_teacher(..., outputs="label_probs"), or leave the sigmoid out of the network',
            )
        if self.kind == "log_probs" and not _near(outputs.float().logsumexp(dim=-1), 0.0, outputs.dtype):
            raise TeacherError(
                f"The outputs of {self.teacher} are no log-probabilities.",
                received=f"exponentials that sum to up to {float(outputs.float().logsumexp(dim=-1).max().exp()):.4g}",
                expected="rows whose exponentials sum to 1",
                remedy='say what they are: outputs="logits" or outputs="probs"',
            )
        if self.kind != "probs" and look_like_probs(outputs):
            raise TeacherError(
                f"The outputs of {self.teacher} are probabilities, not {self.kind.replace('_', '-')}.",
                received=f"{len(outputs)} rows of numbers >= 0 that sum to 1",
                expected='logits, which precede a softmax, or outputs="probs"',
                remedy='pass as_teacher(..., outputs="probs"); on the command line FILE,outputs=probs; or leave the '
                "softmax out of the network",
            )

    def _check_label_probs(self, outputs: Tensor) -> None:
        if not _lie_in_unit_range(outputs):
            raise TeacherError(
                f"The outputs of {self.teacher} are no probabilities.",
                received=f"numbers from {float(outputs.min()):.4g} to {float(outputs.max()):.4g}",
                expected="numbers from 0 to 1",
                remedy='say what they are: outputs="logits"',
            )

    def _check_probs(self, outputs: Tensor) -> None:
        sums = outputs.float().sum(dim=-1)
        if bool((outputs < 0).any()) or not _near(sums, 1.0, outputs.dtype):
            raise TeacherError(
                f"The outputs of {self.teacher} are no probabilities.",
                received=f"smallest {float(outputs.min()):.4g}, row sums {float(sums.min()):.4g} to "
                f"{float(sums.max()):.4g}",
                expected="numbers >= 0, each row with sum 1",
                remedy='outputs="logits" or "log_probs"; "label_probs" for independent labels',
            )


def _lie_in_unit_range(outputs: Tensor) -> bool:
    return bool(((outputs >= 0) & (outputs <= 1)).all())


def look_like_probs(outputs: Tensor) -> bool:
    """Return whether every row of at least two numbers is not negative and sums to 1."""
    if outputs.shape[-1] < 2 or not outputs.numel() or not outputs.is_floating_point():
        return False
    return bool((outputs >= 0).all()) and _near(outputs.float().sum(dim=-1), 1.0, outputs.dtype)


def log_of_probs(probs: Tensor, *, smoothing: float) -> Tensor:
    """Return log p, float32 or wider, exact zeros raised as :class:`Outputs` says.

    Example:
        >>> log_of_probs(torch.tensor([[0.25, 0.75]]), smoothing=0.01).exp()
        tensor([[0.2500, 0.7500]])
    """
    probs = probs.float() if probs.dtype.itemsize < 4 else probs
    if smoothing > 0:
        zero = probs == 0
        smallest = probs.masked_fill(zero, math.inf).amin(dim=-1, keepdim=True)
        filled = torch.where(zero, smallest.clamp(max=smoothing / probs.shape[-1]), probs)
        probs = torch.where(zero.any(dim=-1, keepdim=True), filled / filled.sum(dim=-1, keepdim=True), probs)
    return probs.log()


def logit_of_probs(probs: Tensor, *, smoothing: float) -> Tensor:
    """Return log p - log(1 - p), float32 or wider, p kept off 0 and 1 as :class:`Outputs` says.

    Example:
        >>> logit_of_probs(torch.tensor([[0.0, 0.5, 0.8]]), smoothing=0.1).sigmoid()
        tensor([[0.0500, 0.5000, 0.8000]])
    """
    probs = probs.float() if probs.dtype.itemsize < 4 else probs
    if smoothing > 0:
        low = probs.masked_fill(probs == 0, math.inf).amin(dim=-1, keepdim=True).clamp(max=smoothing / 2)
        high = probs.masked_fill(probs == 1, -math.inf).amax(dim=-1, keepdim=True).clamp(min=1 - smoothing / 2)
        probs = torch.where(probs == 0, low, torch.where(probs == 1, high, probs))
    return probs.logit()


def _near(values: Tensor, target: float, dtype: torch.dtype) -> bool:
    tolerance = 1e-3 if dtype.itemsize >= 4 else 2e-2
    return bool(((values - target).abs() <= tolerance).all())
