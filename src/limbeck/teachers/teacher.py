"""The contract of a teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.inputs import Inputs
from limbeck.targets import SoftTargets


class Teacher(ABC):
    """Something that gives soft targets for a batch.

    A teacher owes its caller: eval mode, no gradient, no change of any weight or buffer, and a fingerprint that tells
    one teacher from another. :meth:`check_unchanged` proves the third; the training loop calls it when it ends.

    One of your own needs ``name``, ``fingerprint`` and ``__call__``; the rest holds for any function of the inputs. One
    that is made of other teachers names them in ``parts``, and what follows from theirs is derived here, once.

    Example:
        >>> from limbeck.targets import DenseTargets
        >>> class Brightness(Teacher):
        ...     name = "brightness"
        ...     fingerprint = "brightness 1"
        ...
        ...     def __call__(self, ids, inputs, *, view=None):
        ...         mean = inputs.flatten(1).mean(dim=1)
        ...         return DenseTargets(torch.stack([mean, -mean], dim=1))
        >>> Brightness()(torch.arange(1), torch.ones(1, 4)).logits_at(4.0)
        tensor([[ 1., -1.]])
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What people call it: an architecture, a file, "ensemble of 3"."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Text, such as a SHA-256 in hexadecimal, that differs where anything differs that decides its outputs."""

    @abstractmethod
    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> SoftTargets:
        """Return the soft targets of a batch.

        Args:
            ids: shape (batch,), int64, stable sample ids.
            inputs: (batch, ...), a tensor, a mapping or a tuple: the very inputs that the student sees.
            view: which view of the samples they show; None for the clean one.
        Raises:
            TeacherError: the teacher broke its contract (awake, trainable, changed), or has no targets for an id.
        """

    @property
    def parts(self) -> tuple[Teacher, ...]:
        """The teachers that it asks; none where it is not made of others."""
        return ()

    @property
    def reads_inputs(self) -> bool:
        """Whether it reads the inputs. What is looked up by id holds for the views that it was made for."""
        return all(part.reads_inputs for part in self.parts)

    @property
    def runs(self) -> bool:
        """Whether a call computes anything that is worth keeping; a look-up does not."""
        return any(part.runs for part in self.parts) or not self.parts

    @property
    def gives_features(self) -> bool:
        """Whether it gives more than logits, which a collection would lose."""
        return any(part.gives_features for part in self.parts)

    @property
    def has_whole_fingerprint(self) -> bool:
        """Whether the fingerprint covers all that decides its outputs; where not, a few are kept and compared."""
        return bool(self.parts) and all(part.has_whole_fingerprint for part in self.parts)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of a run's record must know of its outputs, a sentence each."""
        return tuple(note for part in self.parts for note in part.notes)

    @property
    def num_views(self) -> int | None:
        """How many augmented views it knows, 0 .. n - 1, in turn; None where there is no such limit."""
        return min((count for part in self.parts if (count := part.num_views) is not None), default=None)

    @property
    def num_classes(self) -> int | None:
        """How many classes it knows; None until it has been called once."""
        return self.parts[0].num_classes if self.parts else None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of its classes, in the order of its own outputs; None where it does not know them."""
        return None

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """The networks inside, so that a caller can move them, count them, or see that it does not train them."""
        return tuple(module for part in self.parts for module in part.modules)

    @property
    def device(self) -> torch.device | None:
        """Where it takes its inputs; None where any device will do."""
        tensors = (tensor for module in self.modules for tensor in module.parameters())
        return next((tensor.device for tensor in tensors), None)

    @property
    def members(self) -> tuple[Teacher, ...]:
        """The teachers whose logits hold at every temperature: what a collection keeps singly. Itself, unless it pools.

        :meth:`pooled` makes the teacher of them again.
        """
        return (self,)

    def pooled(self, members: Sequence[Teacher]) -> Teacher:
        """Return a teacher that pools its ``members``, or teachers that say the same, as this one does."""
        (member,) = members
        return member

    def check_fits(self, samples: Samples, views: Views) -> None:
        """Raise TeacherError or StoreError unless it can serve these samples in these views."""
        for part in self.parts:
            part.check_fits(samples, views)

    def check_unchanged(self) -> None:
        """Raise TeacherError if a weight or buffer differs from what it was at the beginning."""
        for part in self.parts:
            part.check_unchanged()
