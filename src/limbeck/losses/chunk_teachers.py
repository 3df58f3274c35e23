"""What a teacher says of many examples, handed out a few rows at a time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.losses._arguments import require_classes, widened

Form = TypeVar("Form", bound="ChunkTeacher")


class ChunkTeacher(ABC):
    """A teacher of a chunked loss: one of the four forms below. Receives no gradient."""

    is_probs = False  # whether rows() gives probabilities at the temperature, and not logits
    shared_fields: tuple[str, ...] = ()  # tensors without an axis of examples

    @abstractmethod
    def require_fit(self, leading: tuple[int, ...], num_classes: int) -> None:
        """Raise ShapeMismatch or InvalidValue unless this speaks of examples (...) and as many classes."""

    @abstractmethod
    def rows(self, block: slice, num_classes: int, temperature: float | Tensor) -> Tensor:
        """Return logits or probabilities of some examples, shape (rows, classes). Flattened teachers alone.

        Args:
            block: which examples.
            num_classes: C.
            temperature: T > 0, a number or shape (rows, 1).
        """

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields that are given, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if value is not None}

    def flattened(self: Form, num_axes: int) -> Form:
        """Return this with its first ``num_axes`` axes, those of the examples, as one, and detached."""
        changed = {}
        for name, values in self.tensors().items():
            values = values.detach()
            if name not in self.shared_fields:
                num_rows = math.prod(values.shape[:num_axes])
                values = values.reshape(num_rows, *values.shape[num_axes:])
            changed[name] = values
        return replace(self, **changed)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class DenseLogits(ChunkTeacher):
    """All logits, which are there already.

    Args:
        logits: shape (..., classes), any float dtype. Copied whole where strides keep the axes of the examples from
            being seen as one.
    """

    logits: Tensor

    def require_fit(self, leading: tuple[int, ...], num_classes: int) -> None:
        _require_dense("logits", self.logits, leading, num_classes)

    def rows(self, block: slice, num_classes: int, temperature: float | Tensor) -> Tensor:
        return self.logits[block]


@dataclass(frozen=True, eq=False)
class DenseProbs(ChunkTeacher):
    """All probabilities *at the loss's temperature*, which are there already.

    Args:
        probs: shape (..., classes), any float dtype, not negative, possibly 0 (not checked). Each row is divided by
            its sum.
    """

    probs: Tensor
    is_probs = True

    def require_fit(self, leading: tuple[int, ...], num_classes: int) -> None:
        _require_dense("probs", self.probs, leading, num_classes)

    def rows(self, block: slice, num_classes: int, temperature: float | Tensor) -> Tensor:
        return self.probs[block]


@dataclass(frozen=True, eq=False)
class LowRankLogits(ChunkTeacher):
    r"""Logits as an affine image of the teacher's features: its own head, or coefficients of a basis.

    .. math:: v = x W^\top + b + \sum_j r_j e_{c_j}

    Made chunk by chunk, in the dtype of these tensors, also under autocast.

    Args:
        features: x, shape (..., rank), any float dtype.
        weight: W, shape (classes, rank), same dtype.
        bias: b, shape (classes,), same dtype.
        corrected_ids: c_j, classes whose logits are corrected, integers, shape (..., m). No class twice.
        corrections: r_j, added to theirs, shape (..., m).
    """

    features: Tensor
    weight: Tensor
    bias: Tensor | None = None
    corrected_ids: Tensor | None = None
    corrections: Tensor | None = None
    shared_fields = ("weight", "bias")

    def require_fit(self, leading: tuple[int, ...], num_classes: int) -> None:
        expected = (*leading, self.weight.shape[-1] if self.weight.ndim else 0)
        _require_shape("The teacher's features", self.features, expected)
        _require_shape("The teacher's weight", self.weight, (num_classes, expected[-1]))
        require_one_dtype({"teacher's features": self.features, "teacher's weight": self.weight})
        if self.bias is not None:
            _require_shape("The teacher's bias", self.bias, (num_classes,))
            require_one_dtype({"teacher's weight": self.weight, "teacher's bias": self.bias})
        if (self.corrected_ids is None) != (self.corrections is None):
            raise InvalidValue(
                "corrected_ids and corrections go together.",
                received="corrections alone" if self.corrected_ids is None else "corrected_ids alone",
                expected="both, or neither",
            )
        if self.corrected_ids is not None and self.corrections is not None:
            _require_shape("The teacher's corrections", self.corrections, (*leading, self.corrections.shape[-1]))
            _require_ids("corrected_ids", self.corrected_ids, tuple(self.corrections.shape), num_classes)

    def rows(self, block: slice, num_classes: int, temperature: float | Tensor) -> Tensor:
        logits = torch.nn.functional.linear(self.features[block], self.weight, self.bias)
        if self.corrected_ids is None or self.corrections is None:
            return logits
        logits = widened(logits)
        return logits.scatter_add_(1, self.corrected_ids[block].long(), self.corrections[block].to(logits.dtype))


@dataclass(frozen=True, eq=False)
class SparseLogits(ChunkTeacher):
    r"""The logits of a few classes, and the mass of the others, which share it equally.

    .. math:: v_c = T (t - \log(C - k)) \quad\text{outside the } k \text{ classes}

    Args:
        logits: of the k classes, shape (..., k), any float dtype.
        ids: these classes, integers, shape (..., k). No class twice (not checked).
        tail_log_mass: t = log sum exp(v_c / T) over the other classes *at the loss's temperature*, from the same zero
            as ``logits``, in nats, shape (...). -inf is no mass. From normalised probabilities: give
            ``logits = T log p`` and t = log(1 - sum p).
    """

    logits: Tensor
    ids: Tensor
    tail_log_mass: Tensor

    def require_fit(self, leading: tuple[int, ...], num_classes: int) -> None:
        if self.logits.ndim == 0 or not 0 < self.logits.shape[-1] <= num_classes:
            raise ShapeMismatch(
                "The teacher's sparse logits do not fit the classes.",
                received=tuple(self.logits.shape),
                expected=f"{_text(leading)} examples of 1 to {num_classes} classes each",
            )
        _require_shape("The teacher's sparse logits", self.logits, (*leading, self.logits.shape[-1]))
        _require_ids("ids", self.ids, tuple(self.logits.shape), num_classes)
        _require_shape("The teacher's tail_log_mass", self.tail_log_mass, leading)

    def rows(self, block: slice, num_classes: int, temperature: float | Tensor) -> Tensor:
        top, num_others = widened(self.logits[block]), num_classes - self.logits.shape[-1]
        tail = self.tail_log_mass[block].unsqueeze(-1).to(top.dtype) - math.log(max(num_others, 1))
        return (tail * temperature).to(top.dtype).repeat(1, num_classes).scatter_(1, self.ids[block].long(), top)


def require_one_dtype(tensors: dict[str, Tensor]) -> None:
    """Raise InvalidValue, naming them, unless all hold numbers of one dtype."""
    if len({values.dtype for values in tensors.values()}) > 1:
        raise InvalidValue(
            "A linear layer needs numbers of one dtype.",
            received=", ".join(f"{name} {values.dtype}" for name, values in tensors.items()),
            remedy="convert them to one dtype, or run under torch.autocast",
        )


def _require_dense(name: str, values: Tensor, leading: tuple[int, ...], num_classes: int) -> None:
    require_classes(f"the teacher's {name}", values)
    if tuple(values.shape) != (*leading, num_classes):
        raise ShapeMismatch(
            "The student's head and the teacher do not fit.",
            received=f"a head that gives {(*leading, num_classes)} and {name} {tuple(values.shape)}",
            expected=f"{name} {(*leading, num_classes)}",
            remedy="give both the same examples and the same classes, in the same order",
        )


def _require_shape(name: str, values: Tensor, shape: tuple[int, ...]) -> None:
    if not values.is_floating_point():
        raise InvalidValue(f"{name} must hold floating-point numbers.", received=values.dtype)
    if tuple(values.shape) != shape:
        raise ShapeMismatch(
            f"{name} do not fit the student's examples and classes.",
            received=tuple(values.shape),
            expected=shape,
        )


def _require_ids(name: str, ids: Tensor, shape: tuple[int, ...], num_classes: int) -> None:
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise InvalidValue(f"{name} must be integers.", received=ids.dtype, expected="for example torch.int64")
    if tuple(ids.shape) != shape:
        raise ShapeMismatch(f"{name} do not fit the logits that they name.", received=tuple(ids.shape), expected=shape)
    if ids.device.type != "cpu" or torch.compiler.is_compiling() or ids.numel() == 0:
        return
    lowest, highest = ids.aminmax()
    if lowest < 0 or highest >= num_classes:
        raise InvalidValue(
            f"{name} hold a class that is not there.",
            received=int(lowest if lowest < 0 else highest),
            expected=f"0 to {num_classes - 1}",
        )


def _text(leading: tuple[int, ...]) -> str:
    return "one" if leading == () else str(leading)
