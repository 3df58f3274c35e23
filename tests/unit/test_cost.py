"""Parameters, bytes and operations match hand counts; timing leaves the model as it was."""

from __future__ import annotations

import copy
import time

import pytest
import torch
from torch import nn

from limbeck.errors import InvalidValue
from limbeck.metrics import count_bytes, count_flops, count_parameters, latency
from limbeck.models import build

DIGITS = {"input_shape": (1, 8, 8), "num_classes": 10}


def tied():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    return network


def test_parameters_are_counted_once_trainable_or_not():
    assert count_parameters(build("mlp:widths=30x30", **DIGITS)) == 64 * 30 + 30 + 30 * 30 + 30 + 300 + 10
    assert count_parameters(tied()) == 9 + 3 + 3
    assert count_parameters(tied().requires_grad_(False)) == 15


def test_bytes_are_parameters_and_buffers_at_their_own_width():
    # 4 scales and shifts in float32, 4 running statistics in float32, one int64 counter.
    assert count_bytes(nn.BatchNorm1d(2)) == 4 * 4 + 4 * 4 + 8
    assert count_bytes(tied().bfloat16()) == 15 * 2


def test_a_multiply_add_is_two_operations():
    layers = 784 * 800 + 800 * 800 + 800 * 10
    assert count_flops(build("mlp", input_shape=(1, 28, 28), num_classes=10), (1, 28, 28)) == 2 * layers


def test_resnet20_has_its_known_operations():
    # Per stage: blocks x convolutions x positions x 9 x in x out; the first convolution of stages 2, 3 halves in.
    macs = 32 * 32 * 9 * 3 * 16 + 6 * 32 * 32 * 9 * 16 * 16
    macs += 16 * 16 * 9 * (16 * 32 + 5 * 32 * 32) + 8 * 8 * 9 * (32 * 64 + 5 * 64 * 64) + 64 * 10
    assert macs == 40_551_040  # "41 M" in the literature
    assert count_flops(build("resnet20", input_shape=(3, 32, 32), num_classes=10), (3, 32, 32)) == 2 * macs


@pytest.mark.parametrize("measure", [count_flops, lambda m, shape: latency(m, shape, num_runs=2, batch_size=3)])
def test_measuring_leaves_modes_and_buffers_alone(measure):
    network = build("convnet:channels=4,dropout=0.5", **DIGITS)
    network.features[1].eval()
    modes = [module.training for module in network.modules()]
    before = copy.deepcopy(network.state_dict())
    measure(network, (1, 8, 8))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


class Sleeper(nn.Module):
    """Sleeps for the given seconds, run after run, and keeps the shapes that it saw."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = list(seconds)
        self.shapes = []
        self.states = []

    def forward(self, inputs):
        self.shapes.append(tuple(inputs.shape))
        self.states.append((self.training, torch.is_grad_enabled()))
        time.sleep(self.seconds.pop(0))
        return inputs


def test_latency_is_the_median_per_sample_after_warm_up():
    # Two slow runs to warm up, then four of 20 ms and one slow outlier: the median is 20 ms for 4 samples.
    sleeper = Sleeper([0.1, 0.1, 0.02, 0.02, 0.15, 0.02, 0.02])
    seconds = latency(sleeper, (2, 3), batch_size=4, num_runs=5, num_warmup_runs=2)
    assert 0.02 / 4 <= seconds < 0.06 / 4
    assert sleeper.shapes == [(4, 2, 3)] * 7
    assert sleeper.states == [(False, False)] * 7


def test_measuring_runs_in_the_models_dtype():
    network = build("mlp:widths=4", **DIGITS).bfloat16()
    assert latency(network, (1, 8, 8), num_runs=1, num_warmup_runs=0) > 0
    assert count_flops(network, (1, 8, 8)) == 2 * (64 * 4 + 4 * 10)


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"num_runs": 0}, {"num_warmup_runs": -1}])
def test_counts_below_their_bound_are_named(bad):
    with pytest.raises(InvalidValue, match=next(iter(bad))):
        latency(nn.Identity(), (1,), **bad)


def test_latency_of_a_slow_network_ends_at_its_time_limit():
    class Slow(nn.Module):
        calls = 0

        def forward(self, inputs):
            Slow.calls += 1
            time.sleep(0.02)
            return inputs

    latency(Slow(), (4,), num_runs=1000, num_warmup_runs=3, max_seconds=0.1)
    assert 4 <= Slow.calls <= 10
