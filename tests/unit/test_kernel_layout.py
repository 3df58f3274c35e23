"""How kernels lie in memory in training."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from limbeck.training.kernel_layout import lay_out_kernels

TRAINS = """
import torch, limbeck
from limbeck.objectives import HardLabels
from limbeck.data import Samples
from limbeck.training import fit
shortcut = torch.nn.Conv2d(4, 8, 1, stride=2, bias=False)
head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 2)]
student = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), shortcut, *head)
samples = Samples("toy", torch.arange(128), torch.rand(128, 3, 32, 32), torch.arange(128) % 2, ("no", "yes"))
fit(student, samples, HardLabels(), recipe=limbeck.TrainConfig(num_epochs=8, batch_size=64))
print("trained")
"""


@pytest.mark.parametrize(
    ("first", "is_channels_last"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(8, 8, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(4, 8, 3, stride=2), True),
    ],
)
def test_a_network_is_laid_out_channels_last_where_torch_can(first, is_channels_last):
    network = nn.Sequential(first, nn.Conv2d(8, 5, 3), nn.Conv3d(5, 2, 1))
    before = network[1].weight.clone()
    lay_out_kernels(network, torch.channels_last)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last) == is_channels_last
    assert torch.equal(network[1].weight, before)
    lay_out_kernels(network, torch.contiguous_format)
    assert network[1].weight.is_contiguous()


@pytest.mark.slow
def test_a_narrow_shortcut_that_skips_pixels_trains():
    """Channels last, the process dies: "double free or corruption"."""
    done = subprocess.run([sys.executable, "-c", TRAINS], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "trained", done.stderr
