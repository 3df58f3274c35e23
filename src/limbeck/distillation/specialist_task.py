"""One trained specialist, and how it is loaded from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from limbeck.distillation.trained import TrainedNetwork
from limbeck.errors import ModelError
from limbeck.models import FullSoftmaxSpecialist, ModelFactory, SavedModel, load_model
from limbeck.pooling import class_set_numbers
from limbeck.records import EpochRecord

VARIANTS = ("dustbin", "full_softmax")


@dataclass(frozen=True, eq=False)
class TrainedSpecialist:
    """One specialist after its training: what a committee needs, and how the training went."""

    network: TrainedNetwork
    class_set: list[str]
    dustbin_offset: float
    is_cached: bool  # in a folder

    @property
    def module(self) -> nn.Module:
        """Gives the logits of the class set and the dustbin."""
        return self.network.module

    @property
    def selected_epoch(self) -> int:
        """The epoch that validation chose; the last one without validation."""
        assert self.network.selected_epoch is not None, "it was trained"
        return self.network.selected_epoch

    @property
    def history(self) -> list[EpochRecord]:
        """What each epoch logged."""
        return self.network.history

    @property
    def elapsed_seconds(self) -> float:
        """Time of its training."""
        return self.network.elapsed_seconds

    @property
    def folder(self) -> Path | None:
        """Where it is saved; None where nothing was to be kept."""
        return self.network.folder if self.is_cached else None

    @property
    def was_cached(self) -> bool:
        """Whether an earlier call trained it."""
        return self.network.was_cached


def load_specialist(folder: Path, *, factory: ModelFactory | None = None) -> SavedModel:
    """Load a specialist that ``train_specialists`` saved.

    Args:
        folder: of its own.
        factory: of a network that is not of the zoo.
    Raises:
        ModelError: another kind of network, or a damaged one.
    """
    saved = load_model(folder, factory=factory)
    if "generalist" not in saved.extra:
        raise ModelError(f"{folder} holds no specialist.", expected="a folder that train_specialists wrote")
    return saved


def as_specialist(module: nn.Module, saved: SavedModel, *, class_set: Sequence[str]) -> nn.Module:
    """Return a module that gives the logits of a class set and a dustbin, in eval mode, of whatever variant it is.

    Args:
        module: the saved network, or what adapts its inputs.
        saved: as it was loaded.
        class_set: names, in the order of the logits.
    Raises:
        ModelError: an unknown variant.
        InvalidValue, UnknownName: a set that is none of the network's classes.
    """
    variant = saved.extra.get("variant", "dustbin")
    if variant not in VARIANTS:
        raise ModelError("This specialist is of an unknown variant.", received=variant, expected=" or ".join(VARIANTS))
    if variant == "dustbin":
        return module
    (numbers,) = class_set_numbers([list(class_set)], num_classes=len(saved.class_names), class_names=saved.class_names)
    return FullSoftmaxSpecialist(module, numbers).eval()
