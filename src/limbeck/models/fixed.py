"""Networks without modes: exported graphs and frozen scripts, as modules that ``eval`` and ``train`` leave alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class FixedNetwork(nn.Module):
    """A graph that runs in the mode it was made in, whatever mode it is put in.

    The module of an exported program raises an error when it is put in eval mode, and a frozen script has no mode to be
    read; here neither is asked.

    Args:
        program: the module of a ``torch.export`` program, or a TorchScript module.
    """

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self._hidden: tuple[nn.Module, ...] = ()
        if isinstance(program, torch.jit.ScriptModule):
            self._hidden = (program,)  # no submodule: its weights are constants of its graph
        else:
            self.program = program

    @property
    def network(self) -> nn.Module:
        """The program itself."""
        return self._hidden[0] if self._hidden else self.program

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Return what the program returns."""
        return self.network(*arguments, **named)

    def train(self, mode: bool = True) -> FixedNetwork:
        """Note the mode, and leave the program as it is."""
        self.training = mode
        return self
