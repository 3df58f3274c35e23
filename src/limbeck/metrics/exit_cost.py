"""What an answer costs at each exit of a network: operations and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from limbeck.metrics.cost import ShapeOrInputs, count_flops, example_inputs, latency
from limbeck.models import ExitNetwork
from limbeck.models.calling import call_network
from limbeck.models.modes import evaluating


@dataclass(frozen=True)
class ExitCost:
    """What one sample's answer at an exit costs.

    Args:
        name: of the exit; "head" is the network's own.
        flops: floating-point operations, a multiply-add counted as two; see :func:`count_flops`.
        seconds: median latency of a sample alone in its batch; see :func:`latency`.
        num_parameters: of the modules that ran.
    """

    name: str
    flops: int
    seconds: float
    num_parameters: int


def exit_costs(
    network: ExitNetwork,
    like: ShapeOrInputs,
    *,
    alone: bool = False,
    num_runs: int = 50,
    max_seconds: float = 2.0,
) -> list[ExitCost]:
    r"""Measure what stopping at each exit costs, by running the network that far and no further.

    .. math:: c_i = \mathrm{trunk}_{1..i} + \sum_{j \le i} \mathrm{branch}_j

    An early exit asks every branch on the way whether it is sure, so each counts for all answers from it on, the head's
    too (which has no branch); the operations never fall from exit to exit, and fit ``early_exit_curve``. Measured times
    can, by chance. Asked for ``alone``, an exit costs its part of the trunk and its own branch: what a network that is
    cut there would cost. The head alone is the plain network.

    Args:
        network: made by ``limbeck.models.add_exits``, on any device; modes and buffers stay as they were.
        like: shape of one sample, or real samples.
        alone: count an exit's own branch only, not those before it.
        num_runs: timed runs of each exit, >= 1.
        max_seconds: per exit; see :func:`latency`.
    Returns:
        One for each exit, in the order of ``exit_names``. Times are of this machine and torch's number of threads.
    Raises:
        InvalidValue: a count below its bound, or max_seconds that is not above 0.
    Example:
        >>> from limbeck.models import add_exits
        >>> trunk = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> network = add_exits(trunk, ["1"], input_shape=(4,), num_classes=3)  # branch: 8 -> 2 -> 8 -> 3
        >>> [(cost.name, cost.flops, cost.num_parameters) for cost in exit_costs(network, (4,), num_runs=1)]
        [('1', 176, 119), ('head', 352, 218)]
        >>> [cost.flops for cost in exit_costs(network, (4,), alone=True, num_runs=1)]
        [176, 240]

    References:
        Teerapittayanon, McDanel, Kung 2016, "BranchyNet", arXiv:1709.01686, section 3;
        Zhang et al. 2019, "Be Your Own Teacher", arXiv:1905.08094, section 4.
    """
    costs = []
    for name in network.exit_names:
        part = _UntilExit(network, name, alone=alone)
        seconds = latency(part, like, num_runs=num_runs, max_seconds=max_seconds)
        costs.append(ExitCost(name, count_flops(part, like), seconds, _count_used(part, like)))
    return costs


def _count_used(part: nn.Module, like: ShapeOrInputs) -> int:
    """Count the parameters of the modules that a forward pass calls; one that is shared counts once."""
    used: dict[int, int] = {}

    def note(module: nn.Module, inputs: object) -> None:
        used.update((id(parameter), parameter.numel()) for parameter in module.parameters(recurse=False))

    handles = [module.register_forward_pre_hook(note) for module in part.modules()]
    try:
        with evaluating(part), torch.no_grad():
            call_network(part, example_inputs(part, like, batch_size=1))
    finally:
        for handle in handles:
            handle.remove()
    return sum(used.values())


@final
class _UntilExit(nn.Module):
    """A network that answers at one exit, as a module to be counted and timed."""

    def __init__(self, network: ExitNetwork, exit_name: str, *, alone: bool) -> None:
        super().__init__()
        self.network = network
        self.exit_name = exit_name
        self.alone = alone

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the exit's logits alone; on the way, the confidences of the exits up to it."""
        if self.alone:
            return self.network.logits_at(self.exit_name, inputs)
        logits = self.network.all_logits(inputs, until=self.exit_name)
        return torch.softmax(logits.float(), dim=2).amax(dim=2)
