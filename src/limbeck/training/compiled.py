"""A step's forward pass and loss through torch.compile: whole batches in graphs, everything else as without.

The order of things: the teacher's soft targets are looked up first, outside; then the student's forward pass, one
graph; then the loss of its outputs, another. A pass's last batch, where it is smaller than the others, goes without the
compiler, as evaluations do: so nothing is compiled after the first steps, and a run that goes on compiles the same.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.data import Batch
from limbeck.errors import InvalidValue, ModelError
from limbeck.inputs import Inputs, device_of, named_tensors
from limbeck.models.calling import call_network, outputs_of
from limbeck.models.dropout import define_operator
from limbeck.models.global_batch import GlobalBatch, global_batch_outputs
from limbeck.models.synced_norm import define_operators
from limbeck.objectives import Counts, DeferredLoss, Objective
from limbeck.targets import DenseTargets, SoftTargets

OPTIONS = {"fallback_random": True}  # random numbers are drawn as without the compiler
MOST_ROUNDING = 0.05  # of the largest logit: in bfloat16, through many layers
MOST_GRAPHS = 64  # of networks and batches of other shapes in one process


class CompiledStep:
    """The student's forward pass and the objective, compiled at their first call.

    Args:
        student: what is trained.
        objective: what a step minimises.
    """

    def __init__(self, student: nn.Module, objective: Objective) -> None:
        define_operator()
        define_operators()
        self._student, self._objective = student, objective
        how: dict[str, Any] = {"dynamic": False, "options": OPTIONS}
        if "recompile_limit" in inspect.signature(torch.compile).parameters:  # torch 2.6 goes on without a compiler
            how["recompile_limit"] = MOST_GRAPHS
        self._forward: Callable[..., Any] = torch.compile(_forward, **how)
        self._loss: Callable[..., Tensor] = torch.compile(_loss, **how)
        self._temperatures: tuple[float, ...] | None = None
        self._is_checked = False  # on ranks: draws what they can share, and compiles to itself
        self._shapes: dict[int, list[torch.Size]] = {}
        self._losses_of: set[int] = set()  # sizes of batches

    def outputs(self, inputs: Inputs, whole: GlobalBatch | None) -> Any:
        """Return the student's outputs in train mode.

        Args:
            inputs: of a full batch, or of a part of one.
            whole: which rows of the batch they are, on several ranks.
        Raises:
            InvalidValue: samples of another shape than before.
            ModelError: on several ranks, a network that draws what they cannot share, or that this torch compiles to
                another one.
        """
        self._check_shapes(inputs)
        if whole is None or self._is_checked:
            return outputs_of(self._forward(self._student, inputs, whole))
        device = device_of(inputs)
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
            expected = global_batch_outputs(copy.deepcopy(self._student), inputs, whole, is_checked=False)
        outputs = outputs_of(self._forward(self._student, inputs, whole))
        check_near(outputs, expected)
        self._is_checked = True
        return outputs

    def backward(
        self,
        outputs: Any,
        targets: SoftTargets | None,
        batch: Batch,
        *,
        counts: Counts,
        scale: Callable[[Tensor], Tensor],
    ) -> Tensor | DeferredLoss:
        """Do as ``Objective.backward`` does; without the compiler where rows are positions: never as many."""
        if len(batch.labels) != len(batch.ids):
            return self._objective.backward(outputs, targets, batch, counts=counts, scale=scale)
        plain = dataclasses.replace(batch, view=None, inputs=batch.labels, teacher_inputs=None)
        known = self._looked_up(outputs, targets, plain, counts)
        with _without_grad_warning() if len(batch) not in self._losses_of else nullcontext():
            values = self._loss(self._objective, outputs, known, plain, counts)
        self._losses_of.add(len(batch))
        scale(values[0]).backward()  # type: ignore[no-untyped-call]
        return values.detach()

    def _looked_up(self, outputs: Any, targets: SoftTargets | None, batch: Batch, counts: Counts) -> SoftTargets | None:
        """Return soft targets whose logits are there already, at every temperature that the objective asks for."""
        if targets is None or isinstance(targets, DenseTargets):
            return targets
        if self._temperatures is None:
            noted = _Noted(targets)
            with torch.no_grad():
                self._objective(outputs, noted, batch, counts=counts)
            self._temperatures = () if noted.gave_members else tuple(noted.temperatures)
        if not self._temperatures:
            return targets
        return KnownTargets(self._temperatures, tuple(map(targets.logits_at, self._temperatures)))

    def _check_shapes(self, inputs: Inputs) -> None:
        shapes = [tensor.shape for _, tensor in named_tensors(inputs)]
        expected = self._shapes.setdefault(shapes[0][0], shapes)
        if shapes != expected:
            raise InvalidValue(
                "Samples of different shapes are not compiled.",
                received=f"{[tuple(shape) for shape in shapes]} after {[tuple(shape) for shape in expected]}",
                expected="batches of one shape",
                remedy="pad all samples to one length, or leave --compile out",
            )


def check_near(outputs: Any, expected: Any) -> None:
    """Raise ModelError where a compiled forward pass on ranks is not the plain one: it drew other random numbers.

    Args:
        outputs: of the compiled pass; anything but logits is not looked at.
        expected: of the plain one, of the same rows and random state.
    """
    if not isinstance(outputs, Tensor) or not isinstance(expected, Tensor):
        return
    distance, size = float((outputs - expected).detach().abs().max()), float(expected.abs().max())
    if distance > MOST_ROUNDING * size:
        raise ModelError(
            "Ranks do not hold the numbers of one process when this network is compiled.",
            received=f"logits that differ by {distance:.3g} of {size:.3g}, torch {torch.__version__}",
            expected="the same but for rounding",
            remedy="leave --compile out, take a newer torch, or train in one process",
        )


@dataclasses.dataclass(frozen=True, eq=False)
class KnownTargets(SoftTargets):
    """Soft targets at some temperatures, looked up.

    Args:
        temperatures: T.
        logits: at each of them.
    """

    temperatures: tuple[float, ...]
    logits: tuple[Tensor, ...]

    def logits_at(self, temperature: float) -> Tensor:
        """Return the logits of one of the temperatures."""
        return self.logits[self.temperatures.index(temperature)]


class _Noted(SoftTargets):
    """Notes the temperatures that are asked for."""

    def __init__(self, targets: SoftTargets) -> None:
        self._targets, self.temperatures, self.gave_members = targets, dict[float, None](), False

    def logits_at(self, temperature: float) -> Tensor:
        self.temperatures[temperature] = None
        return self._targets.logits_at(temperature)

    def members(self) -> tuple[tuple[float, SoftTargets], ...]:
        self.gave_members = True
        return self._targets.members()


@contextmanager
def _without_grad_warning() -> Iterator[None]:
    """Leave a warning out that torch gives of its own look at the outputs, when it compiles what comes after them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
        yield


def _forward(student: nn.Module, inputs: Inputs, whole: GlobalBatch | None) -> Any:
    with nullcontext() if whole is None else whole:
        return call_network(student, inputs)


def _loss(objective: Objective, outputs: Any, targets: SoftTargets | None, batch: Batch, counts: Counts) -> Tensor:
    loss = objective(outputs, targets, batch, counts=counts)
    return torch.stack([loss.total, *[loss.means[name] for name in objective.part_names]])
