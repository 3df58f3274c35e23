"""Taps: what modules inside a network give out, taken by path through hooks that are removed again.

A pass can end at a tap: what is called there raises ``Reached``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from limbeck.errors import ModelError, unknown_name


class Reached(Exception):
    """Raised in a hook: all that is wanted of a forward pass is there, and the rest need not run."""


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
    outputs: dict[str, Tensor] = {}

    def keep(path: str, output: Tensor) -> None:
        outputs[path] = output

    with hooked(network, paths, keep):
        yield outputs


@contextlib.contextmanager
def hooked(
    network: nn.Module, paths: Sequence[str], on_output: Callable[[str, Tensor], Tensor | None]
) -> Iterator[None]:
    """Call ``on_output(path, output)`` when a module at ``paths`` has run inside the block.

    A tensor that it returns takes the output's place; ``Reached``, raised in it, ends the pass.

    Raises:
        UnknownName: no module at a path; near ones are listed.
        ModelError: when the network runs: a module that gives something else than a tensor.
    """
    modules = modules_at(network, paths)

    def hook_of(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
            if not isinstance(output, Tensor):
                raise ModelError(
                    f"The module {path} does not give a tensor.",
                    received=type(output).__name__,
                    remedy="tap a module inside it",
                )
            return on_output(path, output)

        return hook

    handles = [module.register_forward_hook(hook_of(path)) for path, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def outputs_until(network: nn.Module, paths: Sequence[str], inputs: Tensor) -> dict[str, Tensor]:
    """Run a network until all modules at ``paths`` have given their outputs, and no further.

    Args:
        network: any module.
        paths: of modules inside it.
        inputs: shape (batch, ...).
    Returns:
        Outputs by path.
    Raises:
        UnknownName: no module at a path; near ones are listed.
        ModelError: a module that does not run, or gives something else than a tensor.
    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(7, 2))  # the last one would fail
        >>> outputs_until(network, ["1"], torch.zeros(5, 4))["1"].shape
        torch.Size([5, 3])
    """
    outputs: dict[str, Tensor] = {}

    def keep(path: str, output: Tensor) -> None:
        outputs[path] = output
        if len(outputs) == len(paths):
            raise Reached

    with contextlib.suppress(Reached), hooked(network, paths, keep):
        network(inputs)
    for path in paths:
        if path not in outputs:
            raise ModelError(f"The module {path} does not run.", expected="a module on the way")
    return outputs
