"""A teacher whose process on Ray dies once, in the middle of a shard: where a file that its weights name is there."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn


def fuse(number: int) -> Path:
    """Return the file that the first process to find it dies of."""
    return Path(tempfile.gettempdir(), f"limbeck-test-fuse-{number}")


class Mortal(nn.Module):
    """A linear network."""

    number: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.register_buffer("number", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 10) of images (batch, 1, 8, 8)."""
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():
            try:
                fuse(int(self.number)).unlink()
            except FileNotFoundError:
                pass
            else:
                os._exit(3)
        return self.linear(inputs.flatten(1))


def mortal(**shapes: object) -> nn.Module:
    """Return the network."""
    return Mortal()
