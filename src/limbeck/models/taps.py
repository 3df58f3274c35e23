"""Taps: what modules inside a network give out, taken by path through hooks that are removed again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from limbeck.errors import ModelError, unknown_name


def modules_at(network: nn.Module, paths: Sequence[str]) -> dict[str, nn.Module]:
    """Return the modules inside a network at ``paths``, by path.

    Raises:
        UnknownName: no module at a path; near ones are listed.
    """
    modules = {path: module for path, module in network.named_modules() if path}
    for path in paths:
        if path not in modules:
            raise unknown_name("module", path, modules)
    return {path: modules[path] for path in paths}


@contextlib.contextmanager
def tapped(network: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep what the modules at ``paths`` give out when the network runs inside the block.

    Args:
        network: any module.
        paths: of modules inside it, as ``named_modules`` calls them: "layer1", "features.3".
    Yields:
        Outputs by path, of the last run; with their graphs where autograd is on.
    Raises:
        UnknownName: no module at a path; near ones are listed.
        ModelError: when the network runs: a module that gives something else than a tensor.
    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> with tapped(network, ["1"]) as outputs:
        ...     _ = network(torch.zeros(5, 4))
        >>> outputs["1"].shape
        torch.Size([5, 3])
    """
    modules = modules_at(network, paths)
    outputs: dict[str, Tensor] = {}

    def keep(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise ModelError(
                    f"The module {path} does not give a tensor.",
                    received=type(output).__name__,
                    remedy="tap a module inside it",
                )
            outputs[path] = output

        return hook

    handles = [module.register_forward_hook(keep(path)) for path, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
