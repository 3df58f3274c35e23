"""How the kernels of convolutions lie in memory while a network is trained."""

from __future__ import annotations

import torch
from torch import nn


def lay_out_kernels(module: nn.Module, layout: torch.memory_format) -> None:
    """Lay out the kernels (out, in, height, width) of two-dimensional convolutions; the numbers stay as they are.

    ``module.to`` would refuse the kernels of three-dimensional ones. A network with a convolution of one pixel that
    skips pixels and reads 2 to 7 channels keeps contiguous kernels: channels last, its backward pass in torch 2.13
    writes beyond its memory on a CPU, and the process dies without a word.
    """
    if any(_writes_beyond_its_memory(part) for part in module.modules()):
        layout = torch.contiguous_format
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def _writes_beyond_its_memory(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d):
        return False
    return tuple(module.kernel_size) == (1, 1) and max(module.stride) > 1 and 2 <= module.in_channels <= 7
