"""One frozen network as a teacher."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from limbeck.data import Samples, Views
from limbeck.errors import TeacherError
from limbeck.inputs import Inputs, num_rows
from limbeck.models import unwrap
from limbeck.models.calling import LogitsAt, call_network, find_logits
from limbeck.targets import DenseTargets
from limbeck.teachers.class_order import ClassOrder
from limbeck.teachers.feeding import Feeding, Transform
from limbeck.teachers.frozen import FrozenNetwork
from limbeck.teachers.outputs import SMOOTHING, Outputs
from limbeck.teachers.teacher import Teacher

LARGEST_LOGIT = 1e30


class ModuleTeacher(Teacher):
    """A trained network, frozen: any ``nn.Module``, compiled, wrapped or not, a TorchScript module, an exported graph.

    The module is put in eval mode and its parameters stop requiring gradients, here, once, for good. Every call checks
    that both still hold and that no weight or buffer was written since, so that a training loop that wakes its teacher
    gets an error and not a wrong student.

    Args:
        module: maps inputs to logits (batch, ..., classes); mappings are passed as keyword arguments, tuples as
            positional ones.
        name: shown in records; the class's name where not given.
        logits: where the logits are in its output, as :func:`limbeck.models.calling.find_logits` takes it.
        outputs: "logits", "log_probs", "probs" or "label_probs"; see :class:`Outputs`.
        smoothing: of probabilities; see :class:`Outputs`.
        device: where it runs, whatever the student's device; None: where its caller puts it.
        dtype: of its weights and inputs; None: as the weights are. The module is converted in place.
        batch_size: rows at once; None: the whole batch.
        transform: of the view that the student sees, before the module, e.g. to another size or normalisation.
        class_names: in the order of its outputs, where it knows them: the columns are put in the data's order.
    Raises:
        TeacherError: a parameter or buffer is not finite.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str | None = None,
        logits: LogitsAt = None,
        outputs: str | None = None,
        smoothing: float = SMOOTHING,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int | None = None,
        transform: Transform | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self._name = name or _name_of(module)
        self._outputs = Outputs(self._name, outputs=outputs, smoothing=smoothing)
        self._home = None if device is None else torch.device(device)
        if self._home is not None or dtype is not None:
            module.to(device=self._home, dtype=dtype)
        floats = next((tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()), torch.float32)
        own = dtype or (floats if floats in (torch.float16, torch.bfloat16, torch.float64) else None)
        self._feeding = Feeding(self._home, own, batch_size, transform)
        self._logits = logits
        self._frozen = FrozenNetwork(module, name=self._name)
        self._order = ClassOrder(self._name, class_names)
        settings = (self._feeding.identity, self._outputs.identity, self._order.identity)
        self._fingerprint = _joined(self._frozen.fingerprint, *settings)
        self._returns_logits = False
        self._dealer: Callable[[Inputs], Tensor] | None = None
        self._num_classes: int | None = None if class_names is None else len(class_names)

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def has_whole_fingerprint(self) -> bool:
        return self._feeding.transform is None and not callable(self._logits)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self._order.class_names

    @property
    def num_classes(self) -> int | None:
        return self._num_classes

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return (self._frozen.module,)

    @property
    def device(self) -> torch.device | None:
        return None if self._home is not None else super().device

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self._outputs.note is None else (self._outputs.note,)

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> DenseTargets:
        self._frozen.check()
        if self._home is not None:
            self._frozen.module.to(self._home)  # where a caller moved it away
        with torch.no_grad():
            outputs = self._feeding(self._run, inputs)
        check_matrix(
            outputs, ids, num_rows(inputs), name=self._name, may_be_minus_infinity=self._outputs.kind != "logits"
        )
        self._num_classes = outputs.shape[-1]
        return self._order(self._outputs(outputs))

    def check_fits(self, samples: Samples, views: Views) -> None:
        """Put its classes in the data's order.

        Raises:
            TeacherError: it knows other classes than the data.
        """
        self._outputs.fit(samples.task)
        self._order.fit(samples.class_names)

    def check_unchanged(self) -> None:
        self._frozen.check_unchanged()

    @property
    def is_its_network(self) -> bool:
        """Whether the module itself, called with the inputs, returns what the teacher says: known after one call."""
        settings = (self._feeding.identity, self._outputs.identity, self._order.identity)
        return self._returns_logits and self._logits is None and self._feeding.is_plain and not any(settings)

    def shard_weights(self, shard: Callable[[nn.Module], None], dealer: Callable[[Inputs], Tensor]) -> None:
        """Keep a shard of the weights here, and have every forward pass done by ``dealer`` from now on.

        Args:
            shard: replaces the module's parameters by shards of them, in place.
            dealer: gives the logits of inputs; calls :meth:`run_here` for its own share.
        """
        self._frozen.shard_weights(shard)
        self._dealer = dealer

    def run_here(self, inputs: Inputs) -> Tensor:
        """Return the module's logits."""
        output = call_network(self._frozen.module, inputs)
        self._returns_logits = isinstance(output, Tensor)
        return find_logits(output, logits=self._logits)

    def _run(self, inputs: Inputs) -> Tensor:
        return self.run_here(inputs) if self._dealer is None else self._dealer(inputs)


def check_matrix(outputs: Tensor, ids: Tensor, count: int, *, name: str, may_be_minus_infinity: bool = False) -> None:
    """Raise TeacherError unless a teacher's outputs are one finite row (or one for each position) a sample."""
    if outputs.ndim not in (2, 3) or len(outputs) != count:
        raise TeacherError(
            f"The teacher {name} does not give a matrix of logits.",
            received=tuple(outputs.shape),
            expected=f"({count}, classes)",
            remedy="say where the logits are: as_teacher(..., logits=...), or wrap it so that it returns them alone",
        )
    # On an accelerator this check would wait for the device; there the loop's own check of the loss catches NaN.
    if outputs.device.type != "cpu" or _all_finite(outputs):
        return
    check_magnitude(outputs, name=name)
    bad = outputs.isnan() | outputs.isposinf() if may_be_minus_infinity else ~outputs.isfinite()
    if bool(bad.any()):
        row = int(bad.flatten(1).any(dim=1).nonzero()[0])
        raise TeacherError(
            f"The teacher {name} gives NaN or infinity.",
            received=f"sample id {int(ids[row])}",
            expected="finite logits that float32 can hold",
        )


def check_magnitude(outputs: Tensor, *, name: str) -> None:
    """Raise TeacherError where logits are finite and yet too large for float32, in which losses are computed."""
    if outputs.dtype == torch.float64:
        large = outputs.abs()[outputs.isfinite()]
        if large.numel() and float(large.max()) > LARGEST_LOGIT:
            raise TeacherError(
                f"The teacher {name} gives logits that are too large.",
                received=f"{float(large.max()):.4g}",
                expected=f"at most {LARGEST_LOGIT:.0e}: losses are computed in float32",
                remedy="scale its outputs, or see whether its training diverged",
            )


def _all_finite(values: Tensor) -> bool:
    """Return whether no value is NaN or infinite: one pass where their sum is finite, which then all of them are."""
    return math.isfinite(float(values.sum(dtype=torch.float32))) or bool(values.isfinite().all())


def _name_of(module: nn.Module) -> str:
    inner = unwrap(module)
    return str(getattr(inner, "original_name", type(inner).__name__))


def _joined(fingerprint: str, *settings: str) -> str:
    """Return a network's fingerprint; with settings that change its outputs, one of both."""
    chosen = [setting for setting in settings if setting]
    return hashlib.sha256("\n".join([fingerprint, *chosen]).encode()).hexdigest() if chosen else fingerprint
