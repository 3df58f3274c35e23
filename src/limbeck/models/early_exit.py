"""One forward pass in which samples leave on the way, at the first exit that is sure enough of its prediction."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.models.taps import Reached, hooked


@dataclass(frozen=True, eq=False)
class EarlyExitOutput:
    """What a network with exits returns when each sample leaves at the first exit that is sure enough.

    Args:
        logits: of the exit that answered, shape (batch, classes).
        exits: its number from 0, in the order of ``exit_names``; int64, shape (batch,).
    """

    logits: Tensor
    exits: Tensor


def exit_early(
    network: nn.Module, branches: Mapping[str, nn.Module], inputs: Tensor, *, threshold: float
) -> EarlyExitOutput:
    """Run a network on fewer and fewer samples; see ``ExitNetwork.early_exit``.

    Args:
        network: inputs (batch, ...) to logits (batch, classes), in eval mode.
        branches: by path of the module that they follow, in the order in which these run: features to logits, and
            features that do not matter here.
        inputs: shape (batch, ...).
        threshold: least confidence.
    """
    walk = _EarlyExitPass(branches, torch.arange(len(inputs), device=inputs.device), threshold)
    with contextlib.suppress(Reached), hooked(network, list(branches), walk.pass_exit):
        try:
            walk.end(network(inputs))
        except RuntimeError as error:
            if not walk.left:
                raise
            raise walk.bypassed(str(error).splitlines()[0]) from error
    order = torch.cat([places for places, _, _ in walk.left]).argsort()
    exits = torch.cat([torch.full_like(places, number) for places, _, number in walk.left])
    return EarlyExitOutput(torch.cat([logits for _, logits, _ in walk.left])[order], exits[order])


@dataclass(eq=False)
class _EarlyExitPass:
    """The samples of one pass: who waits, and who has left."""

    branches: Mapping[str, nn.Module]
    waiting: Tensor  # positions in the batch
    threshold: float

    def __post_init__(self) -> None:
        self.left: list[tuple[Tensor, Tensor, int]] = []  # positions, logits, exit

    def pass_exit(self, path: str, features: Tensor) -> Tensor | None:
        """Let the sure ones leave; return the features of the others, None where nobody left."""
        if len(features) != len(self.waiting):
            raise self.bypassed(f"{len(features)} samples at {path} where {len(self.waiting)} were left")
        logits, _ = self.branches[path](features)
        sure = torch.softmax(logits.float(), dim=1).amax(dim=1) >= self.threshold
        if not bool(sure.any()):
            return None
        self.left.append((self.waiting[sure], logits[sure], list(self.branches).index(path)))
        self.waiting = self.waiting[~sure]
        if len(self.waiting) == 0:
            raise Reached
        return features[~sure]

    def end(self, logits: Tensor) -> None:
        """Take the head's answers for the rest."""
        if len(logits) != len(self.waiting):
            raise self.bypassed(f"{len(logits)} answers where {len(self.waiting)} samples were left")
        self.left.append((self.waiting, logits, len(self.branches)))

    def bypassed(self, received: str) -> ModelError:
        """Return the error of a network in which a sample cannot leave."""
        return ModelError(
            "Later modules see more of a sample than its features at an exit, so it cannot leave there.",
            received=received,
            expected=f"exits that the network's whole way leads through; they are at {', '.join(self.branches)}",
            remedy="put exits behind whole stages or blocks, or use logits_at",
        )
