"""A student that is trained sharded over all ranks: its weights, gradients and optimiser state are 1 / N on each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError
from limbeck.models.sharding import as_dtensor, local_shard, sharded_copy
from limbeck.ranks.group import Ranks


class ShardedStudent:
    """A network of which a copy is trained sharded, and which gives its own memory back meanwhile.

    Args:
        network: the same on each rank, in host memory. Its parameters are empty until :meth:`load`.
        ranks: at least two.
        device: of this rank.
    Raises:
        ModelError: a network that cannot be sharded.
    """

    def __init__(self, network: nn.Module, *, ranks: Ranks, device: torch.device) -> None:
        self.network = network.cpu()
        self.module = sharded_copy(network, ranks=ranks, device=device)
        for parameter in network.parameters():
            parameter.data = parameter.data.new_empty(0)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Make the network whole again, in host memory, with weights of its state dict, which are copied."""
        for name, parameter in self.network.named_parameters():
            parameter.data = torch.empty_like(weights[name])
        for name, buffer in self.module.named_buffers():
            self.network.get_buffer(name).data = buffer.detach().cpu()
        self.network.load_state_dict(dict(weights))


class OwnParameters:
    """A rank's shards of the trainable weights, as parameters that any optimiser takes.

    They share memory with the module's; gradients are handed over before each step of the optimiser.

    Args:
        module: sharded over all ranks.
        ranks: of the run.
    """

    def __init__(self, module: nn.Module, ranks: Ranks) -> None:
        self._ranks = ranks
        self._whole = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.parameters = [nn.Parameter(local_shard(parameter.detach())) for parameter in self._whole]
        self._used: list[bool] | None = None  # which of them have a gradient; known after the first step

    def take_gradients(self) -> None:
        """Hand the module's gradients, sums over ranks already, over to the optimiser's parameters.

        Raises:
            ModelError: another part of the network took part than in the first step, or on another rank.
        """
        used = [whole.grad is not None for whole in self._whole]
        if self._used is None:
            self._used = self._ranks.gather(used)[0]
        if used != self._used:
            raise ModelError(
                "A weight of this network takes part in some steps only, which ranks cannot share.",
                received="other weights with a gradient than in the first step on rank 0",
                expected="the same weights in every step, on every rank",
                remedy="train it in one process",
            )
        for own, whole in zip(self.parameters, self._whole, strict=True):
            own.data = local_shard(whole.detach())
            own.grad = None if whole.grad is None else local_shard(whole.grad)
            whole.grad = None

    def clip(self, clip_norm: float) -> None:
        """Shrink the gradient of all ranks together to a norm, as ``torch.nn.utils.clip_grad_norm_`` does."""
        gradients = [own.grad for own in self.parameters if own.grad is not None]
        squares = torch.stack([torch.linalg.vector_norm(gradient).square() for gradient in gradients]).sum()
        norm = self._ranks.add_up(squares.reshape(1)).sqrt()
        torch._foreach_mul_(gradients, (clip_norm / (norm + 1e-6)).clamp(max=1.0)[0])

    def sharded_state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """Return an optimiser's state dict with what is as large as a weight as shards of what all ranks have."""
        whole_of = {id(own): whole for own, whole in zip(self.parameters, self._whole, strict=True)}
        numbered = [parameter for group in optimiser.param_groups for parameter in group["params"]]

        def sharded(number: int, value: Tensor) -> Tensor:
            own = numbered[number]
            return as_dtensor(value, whole_of[id(own)]) if value.shape == own.shape else value

        return _each(optimiser.state_dict(), sharded)


def own_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return this rank's state dict of an optimiser: the opposite of :meth:`OwnParameters.sharded_state`."""
    return _each(state, lambda _, value: local_shard(value))


def refuse_sharding(student_sharding: str) -> None:
    """Raise InvalidValue where a job cannot share its networks out among ranks."""
    if student_sharding != "none":
        raise InvalidValue(
            "Networks of this job are not sharded over ranks.",
            received=f"--student-sharding {student_sharding}",
            expected="limbeck train, or limbeck distill of one student from teachers",
            remedy="leave --student-sharding out",
        )


def _each(state: Mapping[str, Any], change: Callable[[int, Tensor], Tensor]) -> dict[str, Any]:
    """Return an optimiser's state dict with every tensor changed; the function gets its parameter's number, too."""
    changed = {
        number: {name: change(number, value) if isinstance(value, Tensor) else value for name, value in own.items()}
        for number, own in state["state"].items()
    }
    return {**state, "state": changed}
