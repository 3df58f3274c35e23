"""Costs of answers at exits match hand counts, and are measured without what comes after."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from limbeck.errors import InvalidValue
from limbeck.metrics import count_flops, exit_costs
from limbeck.models import add_exits, build

SHAPE = (3, 32, 32)


@pytest.fixture
def exits():
    network = build("resnet:depth=8", input_shape=SHAPE, num_classes=10, seed=0)
    return add_exits(network, ["layer1", "layer2"], input_shape=SHAPE, num_classes=10)


def test_operations_are_the_trunk_so_far_and_the_branches_so_far(exits):
    # Multiply-adds. Trunk: positions x 9 x in x out. Branches: 1x1 to 16, 3x3 at each halving, 1x1 to 64, head.
    first = 32 * 32 * 9 * 3 * 16 + 2 * 32 * 32 * 9 * 16 * 16
    second = first + 16 * 16 * 9 * (16 * 32 + 32 * 32)
    whole = second + 8 * 8 * 9 * (32 * 64 + 64 * 64) + 64 * 10
    branch1 = 32 * 32 * 16 * 16 + (16 * 16 + 8 * 8) * 9 * 16 * 16 + 8 * 8 * 16 * 64 + 64 * 10
    branch2 = 16 * 16 * 32 * 16 + 8 * 8 * 9 * 16 * 16 + 8 * 8 * 16 * 64 + 64 * 10
    on_the_way = exit_costs(exits, SHAPE, num_runs=1)
    alone = exit_costs(exits, SHAPE, alone=True, num_runs=1)
    assert [cost.name for cost in on_the_way] == ["layer1", "layer2", "head"]
    assert [cost.flops for cost in on_the_way] == [
        2 * (first + branch1),
        2 * (second + branch1 + branch2),
        2 * (whole + branch1 + branch2),
    ]
    assert [cost.flops for cost in alone] == [2 * (first + branch1), 2 * (second + branch2), 2 * whole]
    assert alone[-1].flops == count_flops(exits.network, SHAPE)
    assert exits.training  # as it was


def test_time_is_that_of_the_part_that_runs(exits):
    class Slow(nn.Module):
        def forward(self, features):
            time.sleep(0.05)
            return features

    exits.network.layer3 = nn.Sequential(exits.network.layer3, Slow())
    seconds = [cost.seconds for cost in exit_costs(exits, SHAPE, num_runs=2)]
    assert seconds[1] < 0.05 <= seconds[2]


def test_buffers_stay_as_they_were(exits):
    before = {name: value.clone() for name, value in exits.state_dict().items()}
    exit_costs(exits, SHAPE, num_runs=1)
    assert all(torch.equal(before[name], value) for name, value in exits.state_dict().items())


def test_a_count_below_its_bound_is_named(exits):
    with pytest.raises(InvalidValue, match="num_runs"):
        exit_costs(exits, SHAPE, num_runs=0)
