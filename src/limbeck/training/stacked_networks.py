"""Many networks of one shape as one: a module whose parameters have a leading axis that counts networks."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from limbeck.errors import ModelError
from limbeck.models.constraints import max_norm_of
from limbeck.models.network import FeatureClassifier
from limbeck.training.checks import check_apart
from limbeck.training.stacked_linear import stacked_layers

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class _Layer:
    """A linear layer of a fully connected network: the names of its parameters, and whether a ReLU follows."""

    weight: str
    bias: str | None
    has_relu: bool


class StackedNetworks:
    """K networks that differ in their numbers alone, run side by side on different inputs.

    Nets of linear layers and ReLUs run as batched matrix products; any other module runs through ``torch.vmap``.

    Args:
        networks: at least one, such as ``check_stackable`` lets pass; they are copied.
        input_shape: of one sample.
        device: where the stack lives.
    Raises:
        ModelError: networks that do something that cannot be stacked.
    """

    def __init__(self, networks: Sequence[nn.Module], *, input_shape: tuple[int, ...], device: torch.device) -> None:
        self.num_networks = len(networks)
        self.module = _stacked_copy(networks).to(device).train()
        self._layers = _fully_connected(self.module, input_shape)
        self.weights: Weights = self.module.state_dict(keep_vars=True)
        self._hidden = {name: value for name, value in self.module.named_buffers() if name not in self.weights}
        self._try(input_shape, device)

    def __call__(self, inputs: Tensor, weights: Weights | None = None) -> Tensor:
        """Return logits, shape (networks, batch, classes).

        Args:
            inputs: shape (groups, batch, ...), where the number of groups divides that of the networks: the first
                networks see the first group, and so on.
            weights: stacked weights to use in place of the networks' own.
        """
        weights = self.weights if weights is None else weights
        if self._layers is not None:
            return self._dense(self._layers, inputs, weights)
        groups = {
            key: value.view(len(inputs), -1, *value.shape[1:]) for key, value in {**weights, **self._hidden}.items()
        }
        logits: Tensor = torch.vmap(torch.vmap(self._call_one, in_dims=(0, None)))(groups, inputs)
        return logits.flatten(0, 1)

    def state_of(self, network: int, weights: Weights | None = None) -> dict[str, Tensor]:
        """Return a copy of one network's state dict, of ``weights`` where they are given."""
        weights = self.weights if weights is None else weights
        return {key: value.detach()[network].clone() for key, value in weights.items()}

    def _dense(self, layers: Sequence[_Layer], inputs: Tensor, weights: Weights) -> Tensor:
        return stacked_layers(
            inputs.flatten(2),  # (groups, batch, inputs)
            [weights[layer.weight] for layer in layers],
            [None if layer.bias is None else weights[layer.bias] for layer in layers],
            has_relu=[layer.has_relu for layer in layers],
        )

    def _call_one(self, weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(self.module, weights, (inputs,))
        return logits

    @torch.no_grad()
    def _try(self, input_shape: tuple[int, ...], device: torch.device) -> None:
        """Run two samples of zeros."""
        name = type(self.module).__name__
        try:
            logits = self(torch.zeros(1, 2, *input_shape, device=device))
        except Exception as error:
            raise ModelError(
                f"{name} cannot be trained in a stack.",
                received=str(error).splitlines()[0],
                expected=f"a module that torch.vmap can run, on inputs of shape {input_shape}",
                remedy="train each network with fit",
            ) from error
        if logits.ndim != 3 or logits.shape[:2] != (self.num_networks, 2):
            raise ModelError(
                f"{name} does not give a matrix of logits.",
                received=f"{tuple(logits.shape[1:])} for 2 samples",
                expected="(2, classes)",
            )


def check_stackable(networks: Sequence[nn.Module]) -> None:
    """Raise unless the networks can be trained as one.

    Raises:
        ModelError: none at all, networks that differ in more than their numbers (the first difference is named), that
            share weights, or that have dropout, batch norm or running statistics.
    """
    _check_alike(networks)
    check_apart(networks)
    _check_layers(networks[0])


def _stacked_copy(networks: Sequence[nn.Module]) -> nn.Module:
    """Return a copy of the first network with the parameters and buffers of all, stacked along a new first axis."""
    stack = copy.deepcopy(networks[0])
    made: dict[Tensor, Tensor] = {}  # weights that layers share are stacked once
    for own, *others in zip(stack.modules(), *(network.modules() for network in networks), strict=True):
        for name, parameter in own._parameters.items():
            if parameter is not None:
                if parameter not in made:
                    together = torch.stack([other._parameters[name].detach() for other in others])
                    made[parameter] = nn.Parameter(together, requires_grad=parameter.requires_grad)
                own._parameters[name] = made[parameter]
        for name, buffer in own._buffers.items():
            if buffer is not None:
                own._buffers[name] = torch.stack([other._buffers[name] for other in others])
    return stack


def _fully_connected(module: nn.Module, input_shape: tuple[int, ...]) -> list[_Layer] | None:
    """Return the layers of a net that flattens and then has linear layers and ReLUs alone; None for any other."""
    leaves = _chain(module)
    if leaves is None or len(leaves) == 0:
        return None
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    if type(leaves[0]) is nn.Flatten and (leaves[0].start_dim, leaves[0].end_dim) == (1, -1):
        leaves = leaves[1:]
    elif len(input_shape) != 1:
        return None
    layers: list[_Layer] = []
    for leaf in leaves:
        if type(leaf) is nn.Linear:
            bias = None if leaf.bias is None else names[leaf.bias]
            layers.append(_Layer(names[leaf.weight], bias, has_relu=False))
        elif type(leaf) is nn.ReLU and layers:
            layers[-1] = _Layer(layers[-1].weight, layers[-1].bias, has_relu=True)
        else:
            return None
    return layers or None


def _chain(module: nn.Module) -> list[nn.Module] | None:
    """Return the modules that run one after the other, those that do nothing left out; None where that is not known."""
    if module._forward_hooks or module._forward_pre_hooks:
        return None
    if type(module) is nn.Identity or isinstance(module, _DropoutNd):  # of probability 0, as was checked
        return []
    if type(module) is FeatureClassifier:
        parts = [_chain(module.features), _chain(module.head)]
    elif type(module) is nn.Sequential:
        parts = [_chain(child) for child in module]
    else:
        return [module]
    known = [part for part in parts if part is not None]
    return None if len(known) < len(parts) else [leaf for part in known for leaf in part]


def _check_layers(network: nn.Module) -> None:
    for name, module in network.named_modules():
        drops = isinstance(module, _DropoutNd) and module.p > 0
        averages = isinstance(module, _BatchNorm) or (isinstance(module, _NormBase) and module.track_running_stats)
        if drops or averages:
            what = "dropout" if drops else "batch norm or running statistics"
            raise ModelError(
                f"Networks with {what} cannot be trained in a stack.",
                received=f"{name or 'the network'}: {module}",
                expected="layers whose output depends on the example and the weights alone",
                remedy="train each network with fit",
            )


def _check_alike(networks: Sequence[nn.Module]) -> None:
    if not networks:
        raise ModelError("There is no network to train.", received="0 students", expected="at least one")
    for k, network in enumerate(networks[1:], start=1):
        for first, other in zip_longest(_described(networks[0]), _described(network)):
            if first != other:
                raise ModelError(
                    "Networks of different shapes cannot be trained in a stack.",
                    received=f"student 0 has {first or 'nothing more'}, student {k} has {other or 'nothing more'}",
                    expected="networks that differ in their numbers alone",
                )


def _described(network: nn.Module) -> Iterator[str]:
    """Yield everything that must be equal, in words."""
    for name, module in network.named_modules():
        limit = max_norm_of(module)
        constraint = "" if limit is None else f" with max_norm {limit}"
        yield f"{name} {type(module).__name__}({module.extra_repr()}){constraint}".lstrip()
    for kind, tensors in (("parameter", network.named_parameters()), ("buffer", network.named_buffers())):
        for name, tensor in tensors:
            frozen = "" if tensor.requires_grad or kind == "buffer" else ", frozen"
            yield f"{kind} {name} of shape {tuple(tensor.shape)}, {tensor.dtype}{frozen}"
