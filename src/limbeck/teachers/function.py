"""A function as a teacher: of a view's tensors, or of raw samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.errors import TeacherError
from limbeck.inputs import Inputs, num_rows
from limbeck.models.calling import LogitsAt, find_logits
from limbeck.models.factory import failure
from limbeck.targets import DenseTargets
from limbeck.teachers.class_order import ClassOrder
from limbeck.teachers.feeding import Feeding, Transform
from limbeck.teachers.module import check_matrix
from limbeck.teachers.outputs import SMOOTHING, Outputs
from limbeck.teachers.probe import Probe
from limbeck.teachers.raw import RawSamples
from limbeck.teachers.teacher import Teacher


class FunctionTeacher(Teacher):
    """A function that gives logits, log-probabilities or probabilities of a batch.

    What is inside cannot be seen, so the first rows that it is called with are kept and asked again when a run ends: a
    function that answers them otherwise then, or next time (``probe.json`` in the run's folder or store), is refused.

    Args:
        function: called with a view's inputs; returns a tensor or array (batch, classes), or what
            ``logits`` finds it in.
        outputs: "logits", "log_probs", "probs" or "label_probs"; see :class:`Outputs`.
        name: shown in records, and part of its identity.
        version: part of its identity: another one where the function, or what it calls, changed.
        raw: hand over raw samples, as the data set holds them (uint8 images, features as they are), not the view.
        logits: where they are in what the function returns.
        smoothing: of probabilities; see :class:`Outputs`.
        device: where its inputs go; None: where they are.
        dtype: of its floating inputs.
        batch_size: rows at once.
        transform: of its inputs, before the function.
        class_names: in the order of its outputs, where it knows them: the columns are put in the data's order.
        content: SHA-256 of all that decides its outputs, where there is one: then name and version are not needed.
    Raises:
        TeacherError: no name and version, and no content.
        UnknownName: another kind of outputs.
    Example:
        >>> teacher = FunctionTeacher(lambda x: x @ torch.eye(2), outputs="logits", name="eye", version="1")
        >>> teacher(torch.arange(1), torch.tensor([[0.0, 2.0]])).logits_at(4.0)
        tensor([[0., 2.]])
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        outputs: str,
        name: str,
        version: str | None = None,
        raw: bool = False,
        logits: LogitsAt = None,
        smoothing: float = SMOOTHING,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int | None = None,
        transform: Transform | None = None,
        class_names: Sequence[str] | None = None,
        content: str | None = None,
    ) -> None:
        if not name or (version is None and content is None):
            raise TeacherError(
                "A function needs a name and a version, which tell it from another one.",
                received=f"name {name!r}, version {version!r}",
                expected="two short texts",
                remedy='as_teacher(function, outputs="logits", name="my service", version="2")',
            )
        self._function, self._name, self._logits = function, name, logits
        self._outputs = Outputs(name, outputs=outputs, smoothing=smoothing)
        self._feeding = Feeding(None if device is None else torch.device(device), dtype, batch_size, transform)
        self._raw = RawSamples(name) if raw else None
        self._order = ClassOrder(name, class_names)
        self._has_content = content is not None and transform is None
        parts = ["function", content or f"{name}\n{version}", self._feeding.identity, self._outputs.identity]
        parts += [self._order.identity, str(raw)]
        self._fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        self._probe = Probe()
        self._num_classes = None if class_names is None else len(class_names)

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def has_whole_fingerprint(self) -> bool:
        return self._has_content

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self._order.class_names

    @property
    def num_classes(self) -> int | None:
        return self._num_classes

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self._outputs.note is None else (self._outputs.note,)

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> DenseTargets:
        with torch.no_grad():
            given = inputs if self._raw is None else self._raw(inputs)
            outputs = self._feeding(self._run, given)
            check_matrix(outputs, ids, num_rows(inputs), name=self._name, may_be_minus_infinity=True)
            self._probe.remember(given, outputs)
        self._num_classes = outputs.shape[-1]
        return self._order(self._outputs(outputs))

    def check_fits(self, samples: Samples, views: Views) -> None:
        """Learn how raw samples are made of the views, and put its classes in the data's order.

        Raises:
            TeacherError: it knows other classes than the data.
        """
        if self._raw is not None:
            self._raw.bind(samples, views)
        self._outputs.fit(samples.task)
        self._order.fit(samples.class_names)

    def check_unchanged(self) -> None:
        with torch.no_grad():
            self._probe.check(lambda inputs: self._feeding(self._run, inputs), name=self._name)

    def _run(self, inputs: Inputs) -> Tensor:
        try:
            returned = self._function(inputs)
        except TeacherError:
            raise
        except Exception as error:
            raise TeacherError(
                f"The teacher {self._name} failed on a batch of {num_rows(inputs)} samples.",
                received=failure(error),
                remedy="call it on such a batch yourself, and mend what it says",
            ) from error
        found = find_logits(_as_tensor(returned), logits=self._logits)
        return found if found.is_floating_point() else found.float()


def _as_tensor(returned: Any) -> Any:
    """Return an array as a tensor; whatever else it is, as it is."""
    return (
        torch.as_tensor(returned) if hasattr(returned, "__array__") and not isinstance(returned, Tensor) else returned
    )
