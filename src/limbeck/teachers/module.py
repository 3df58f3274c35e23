"""One frozen network as a teacher."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from limbeck.errors import TeacherError
from limbeck.inputs import Inputs
from limbeck.models import fingerprint as module_fingerprint
from limbeck.targets import DenseTargets
from limbeck.teachers.teacher import Teacher


class ModuleTeacher(Teacher):
    """A trained module, frozen.

    The module is put in eval mode and its parameters stop requiring gradients, here, once, for good. Every call checks
    that both still hold and that no weight or buffer was written since (by version counters, at the cost of reading one
    integer a tensor), so that a training loop that wakes its teacher gets an error and not a wrong student.

    Args:
        module: maps inputs (batch, ...) to logits (batch, classes).
        name: shown in records; the class's name where not given.
    Raises:
        TeacherError: a parameter or buffer is not finite.
    """

    def __init__(self, module: nn.Module, *, name: str | None = None) -> None:
        self._module = module.eval().requires_grad_(False)
        self._name = name or type(module).__name__
        self._submodules = list(module.modules())
        self._tensors = [*module.parameters(), *module.buffers()]
        self._num_classes: int | None = None
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise TeacherError(
                    f"The teacher's {key} holds NaN or infinity.",
                    received=self._name,
                    remedy="train the teacher again, or load the weights you meant",
                )
        self._fingerprint = module_fingerprint(module)
        self._versions = self._read_versions()

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def num_classes(self) -> int | None:
        return self._num_classes

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return (self._module,)

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> DenseTargets:
        self._check_frozen()
        with torch.no_grad():
            logits = self._module(inputs)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(inputs):
            received = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise TeacherError(
                f"The teacher {self._name} does not give a matrix of logits.",
                received=received,
                expected=f"({len(inputs)}, classes)",
                remedy="wrap it in a module that returns the logits alone",
            )
        # On an accelerator this check would wait for the device; there the loop's own check of the loss catches NaN.
        if logits.device.type == "cpu" and not _all_finite(logits):
            row = int((~logits.isfinite()).any(dim=1).nonzero()[0])
            raise TeacherError(
                f"The teacher {self._name} answers with NaN or infinity.", received=f"sample id {int(ids[row])}"
            )
        self._num_classes = logits.shape[1]
        return DenseTargets(logits)

    def check_unchanged(self) -> None:
        self._check_frozen()
        if module_fingerprint(self._module) != self._fingerprint:
            raise self._changed()

    def _check_frozen(self) -> None:
        if any(module.training for module in self._submodules):
            raise TeacherError(
                f"The teacher {self._name} was put in train mode.",
                received="module.training = True",
                expected="eval mode: dropout off, batch-norm statistics fixed",
                remedy="call train() on the student alone; a teacher must not be a submodule of what is trained",
            )
        if any(tensor.requires_grad for tensor in self._tensors):
            raise TeacherError(
                f"The teacher {self._name} is trainable.",
                received="a parameter with requires_grad = True",
                expected="every parameter frozen",
                remedy="do not call requires_grad_() on the teacher",
            )
        if self._read_versions() != self._versions:
            raise self._changed()

    def _read_versions(self) -> list[int]:
        return [tensor._version for tensor in self._tensors]

    def _changed(self) -> TeacherError:
        return TeacherError(
            f"The teacher {self._name} changed while it taught.",
            expected="every weight and buffer the same bytes after a run",
            remedy="keep the teacher out of the optimiser, and do not share tensors between teacher and student",
        )


def _all_finite(values: Tensor) -> bool:
    """Return whether no value is NaN or infinite: one pass where their sum is finite, which then all of them are."""
    return math.isfinite(float(values.sum(dtype=torch.float32))) or bool(values.isfinite().all())
