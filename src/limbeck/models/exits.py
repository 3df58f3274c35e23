"""Networks with early exits: for self-distillation, and for early exit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError, require_fraction, unknown_name
from limbeck.models.calling import StructuredOutputs
from limbeck.models.early_exit import EarlyExitOutput, exit_early
from limbeck.models.taps import outputs_until, tapped


@dataclass(frozen=True, eq=False)
class ExitOutputs(StructuredOutputs):
    """What a network with exits returns in train mode, from the shallowest exit to the network's own head.

    Args:
        logits: one tensor (batch, classes) for each exit and the head.
        features: one tensor for each, all of the deepest feature map's shape (batch, channels, ...): the branches'
            bottleneck features, and that map itself.
    """

    logits: tuple[Tensor, ...]
    features: tuple[Tensor, ...]


@final
class ExitNetwork(nn.Module):
    """A network and a branch with a classifier at each of some stages. Made by ``add_exits``.

    In train mode it returns :class:`ExitOutputs`; in eval mode the network's own logits, so that it is measured, saved
    and used as the network itself. ``all_logits`` gives every exit's; ``logits_at`` and ``early_exit`` stop on the
    way. ``network`` is the network without exits.

    Args:
        network: any module, (batch, *input_shape) to logits (batch, classes); untouched.
        branches: one for each path, bottleneck then classifier.
        paths: of the stages, from shallow to deep.
        deepest: path of the module whose output the bottlenecks imitate.
    """

    def __init__(
        self, network: nn.Module, branches: Sequence[ExitBranch], *, paths: Sequence[str], deepest: str
    ) -> None:
        super().__init__()
        self.network = network
        self.branches = nn.ModuleList(branches)
        self.paths = tuple(paths)
        self.deepest = deepest

    @property
    def exit_names(self) -> tuple[str, ...]:
        """The paths of the exits, and "head"."""
        return (*self.paths, "head")

    def forward(self, inputs: Tensor) -> Tensor | ExitOutputs:
        """Return every exit's logits in train mode, the network's own logits in eval mode."""
        return self._all(inputs) if self.training else self.network(inputs)

    def all_logits(self, inputs: Tensor, *, until: str | None = None) -> Tensor:
        """Return the logits of every exit, shape (batch, exits, classes), in the order of ``exit_names``.

        Args:
            inputs: shape (batch, *input_shape).
            until: name of the last exit that is wanted; the network is not run any further. All where not given.
        Raises:
            UnknownName: no such exit.
        """
        if until is None or self._number(until) == len(self.paths):
            return torch.stack(self._all(inputs).logits, dim=1)
        paths = self.paths[: self._number(until) + 1]
        outputs = outputs_until(self.network, paths, inputs)
        return torch.stack([self._branch(path)(outputs[path])[0] for path in paths], dim=1)

    def logits_at(self, exit_name: str, inputs: Tensor) -> Tensor:
        """Return one exit's logits, shape (batch, classes): the network runs up to it, and its branch alone.

        Args:
            exit_name: one of ``exit_names``.
            inputs: shape (batch, *input_shape).
        Raises:
            UnknownName: no such exit.
        """
        if self._number(exit_name) == len(self.paths):
            logits: Tensor = self.network(inputs)
            return logits
        logits, _ = self._branch(exit_name)(outputs_until(self.network, [exit_name], inputs)[exit_name])
        return logits

    def early_exit(self, inputs: Tensor, *, threshold: float) -> EarlyExitOutput:
        """Let every sample leave at the first exit whose largest probability reaches the threshold, else at the head.

        A sample that has left is not computed any further: later modules see the others alone, and the pass ends
        when none is left. Up to rounding it is what ``metrics.first_confident_exit`` picks from ``all_logits``.

        Args:
            inputs: shape (batch, *input_shape).
            threshold: in [0, 1].
        Raises:
            InvalidValue: a threshold outside [0, 1].
            ModelError: in train mode; or later modules see more of a sample than the features at an exit, such as
                a shortcut around it.
        """
        require_fraction("threshold", threshold)
        if self.training:
            raise ModelError("Samples leave early in eval mode only.", received="train mode", remedy="call .eval()")
        branches = dict(zip(self.paths, self.branches, strict=True))
        return exit_early(self.network, branches, inputs, threshold=threshold)

    def extra_repr(self) -> str:
        """Return where the exits are, for ``repr`` and fingerprints."""
        return f"exits at {', '.join(self.paths)}, deepest features at {self.deepest}"

    def _number(self, exit_name: str) -> int:
        if exit_name not in self.exit_names:
            raise unknown_name("exit", exit_name, self.exit_names)
        return self.exit_names.index(exit_name)

    def _branch(self, path: str) -> nn.Module:
        return self.branches[self.paths.index(path)]

    def _all(self, inputs: Tensor) -> ExitOutputs:
        with tapped(self.network, [*self.paths, self.deepest]) as outputs:
            logits = self.network(inputs)
        shallow = [branch(outputs[path]) for branch, path in zip(self.branches, self.paths, strict=True)]
        return ExitOutputs(
            logits=(*(own for own, _ in shallow), logits),
            features=(*(features for _, features in shallow), outputs[self.deepest]),
        )


@final
class EveryExit(nn.Module):
    """A network with exits as a module that gives every exit's logits, (batch, exits, classes), in either mode.

    Args:
        network: made by ``add_exits``.
    """

    def __init__(self, network: ExitNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Return :meth:`ExitNetwork.all_logits`."""
        return self.network.all_logits(inputs)


@final
class ExitBranch(nn.Module):
    """A bottleneck that brings features to the deepest ones' shape, then pooling and a linear head."""

    def __init__(self, bottleneck: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        self.head = head

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (batch, classes), and the features that they are made from, before pooling."""
        deep: Tensor = self.bottleneck(features)
        return self.head(deep.flatten(2).mean(dim=2) if deep.ndim > 2 else deep), deep
