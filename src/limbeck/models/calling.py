"""How a network is called and where its logits are; nothing else in the package looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.inputs import Inputs, describe
from limbeck.models.weights import wrapped_part

LogitsAt: TypeAlias = str | int | Callable[[Any], Tensor] | None
"""Where the logits are in what a network returns: an attribute or key, a place in a tuple, a function of the output,
or None: a tensor itself, ``.logits``, ``["logits"]`` or the first of a tuple."""


class StructuredOutputs:
    """What a network of this package returns in train mode in place of logits, for an objective that knows it.

    Such outputs are handed on as they are.
    """


def call_network(network: Callable[..., Any], inputs: Inputs) -> Any:
    """Return ``network(inputs)``: a mapping is passed as keyword arguments, a tuple as positional ones."""
    if isinstance(inputs, Tensor):
        return network(inputs)
    if isinstance(inputs, Mapping):
        return network(**inputs)
    return network(*inputs)


def find_logits(output: Any, *, logits: LogitsAt = None) -> Tensor:
    """Return the logits in what a network returned.

    Args:
        output: a tensor, an object with ``.logits`` (every Hugging Face classifier's output), a mapping with
            "logits", or a tuple or list whose first element is the tensor.
        logits: says where they are instead: the name of an attribute or key, a place in a tuple, or a function.
    Returns:
        The tensor itself, no copy.
    Raises:
        ModelError: nothing there is a tensor.
    Example:
        >>> import torch
        >>> find_logits({"loss": None, "logits": torch.ones(1, 2)})
        tensor([[1., 1.]])
        >>> find_logits((torch.zeros(1, 3), torch.ones(1, 2)), logits=1)
        tensor([[1., 1.]])
    """
    found = _default(output) if logits is None else _chosen(output, logits)
    if isinstance(found, Tensor):
        return found
    raise ModelError(
        "No logits were found in the network's output.",
        received=_what(output) if logits is None else f"{_what(output)}, with logits={logits!r}",
        expected='a tensor, an output with .logits or ["logits"], or a tuple that begins with them',
        remedy='say where they are: logits="name", logits=1 (place in a tuple) or logits=function',
    )


def network_logits(network: Callable[..., Any], inputs: Inputs, *, logits: LogitsAt = None) -> Tensor:
    """Return ``find_logits(call_network(network, inputs))``."""
    return find_logits(call_network(network, inputs), logits=logits)


def training_outputs(network: Callable[..., Any], inputs: Inputs) -> Any:
    """Return what an objective takes: the logits, or structured outputs (exits, features) as they are."""
    return outputs_of(call_network(network, inputs))


def outputs_of(output: Any) -> Any:
    """Return what an objective takes of what a network returned: the logits, or structured outputs as they are."""
    return output if isinstance(output, Tensor | StructuredOutputs) else find_logits(output)


def logits_with_weights(network: nn.Module, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
    """Return a network's logits with other weights in place of its own, which are not touched.

    Args:
        network: the module; one wrapped by ``torch.compile`` or ``DataParallel`` is called without its wrapper, whose
            replicas would not see the weights.
        weights: a state dict of ``network``.
        inputs: of one batch.
    """
    inner, prefix = network, ""
    while (wrapped := wrapped_part(inner)) is not None:
        name, inner = wrapped
        prefix += f"{name}."
    own = {key.removeprefix(prefix): value for key, value in weights.items()}

    def call(*arguments: Any, **keywords: Any) -> Any:
        return torch.func.functional_call(inner, own, arguments, keywords, tie_weights=False)  # each has a copy

    return network_logits(call, inputs)


def _default(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        return output.get("logits")
    named = getattr(output, "logits", None)
    if named is not None:
        return named
    return output[0] if isinstance(output, tuple | list) and output else None


def _chosen(output: Any, logits: str | int | Callable[[Any], Tensor]) -> Any:
    if callable(logits):
        return logits(output)
    if isinstance(logits, str):
        return output.get(logits) if isinstance(output, Mapping) else getattr(output, logits, None)
    try:
        return output[logits]
    except (TypeError, LookupError):
        return None


def _what(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"{type(output).__name__} with the keys {', '.join(map(str, output))}"
    if isinstance(output, tuple | list) and output and all(isinstance(part, Tensor) for part in output):
        return f"{type(output).__name__} of {describe(tuple(output))}"
    return type(output).__name__
