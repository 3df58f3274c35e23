"""Optimisers forget what is too faint to matter, before it becomes subnormal and slow."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch
from torch import nn

from limbeck.settings.train_config import Optimiser
from limbeck.training import Runtime, TrainConfig
from limbeck.training.lion import Lion
from limbeck.training.optimiser import FLUSH_STEPS, build_optimiser, flush_subnormal_state
from limbeck.training.updates import WeightUpdates

TINIEST = torch.finfo(torch.float32).tiny  # of the normal numbers
RECIPE = TrainConfig(num_epochs=1, batch_size=1, weight_decay=0.0)


def updates_of(network: nn.Module, recipe: TrainConfig) -> WeightUpdates:
    """Return a network's updates at a constant learning rate."""
    constant = dataclasses.replace(recipe, schedule="constant", learning_rate=0.1)
    return WeightUpdates(network, recipe=constant, runtime=Runtime(torch.device("cpu"), "fp32"), num_steps=10**6)


def momentum(optimiser: torch.optim.Optimizer, weight: nn.Parameter) -> torch.Tensor:
    return optimiser.state[weight]["momentum_buffer"]


def one_gradient_then_none(network: nn.Linear) -> None:
    network.weight.grad = torch.zeros_like(network.weight)
    network.weight.grad[0] = 1.0  # the other row never had any


def test_momentum_of_a_dead_unit_ends_at_zero_and_not_below_the_normal_numbers():
    network = nn.Linear(4, 2, bias=False)
    state = updates_of(network, RECIPE)
    one_gradient_then_none(network)
    for _ in range(12 * FLUSH_STEPS):
        state.update()
        buffer = momentum(state.optimiser, network.weight)
        assert ((buffer == 0) | (buffer.abs() >= TINIEST)).all()
        network.weight.grad = torch.zeros_like(network.weight)
    assert buffer.count_nonzero() == 0


def test_without_flushing_it_stays_subnormal_for_good():
    network = nn.Linear(4, 2, bias=False)
    optimiser = build_optimiser(network, RECIPE)
    one_gradient_then_none(network)
    for _ in range(1500):
        optimiser.step()
        network.weight.grad = torch.zeros_like(network.weight)
    buffer = momentum(optimiser, network.weight)[0]
    assert ((buffer > 0) & (buffer < TINIEST)).all()


@pytest.mark.parametrize("optimiser", get_args(Optimiser))
def test_nothing_else_is_forgotten(optimiser):
    torch.manual_seed(0)
    network = nn.Linear(30, 20)
    built = build_optimiser(network, TrainConfig(num_epochs=1, optimiser=optimiser))
    network(torch.randn(8, 30)).square().sum().backward()
    built.step()
    before = {key: value.clone() for state in built.state.values() for key, value in state.items()}
    flush_subnormal_state(built)
    after = {key: value for state in built.state.values() for key, value in state.items()}
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert {"sgd": "momentum_buffer", "adamw": "exp_avg_sq", "lion": "momentum"}[optimiser] in after


def test_nan_is_not_hidden():
    network = nn.Linear(2, 1, bias=False)
    optimiser = build_optimiser(network, RECIPE)
    network.weight.grad = torch.tensor([[float("nan"), 1e-30]])
    optimiser.step()
    flush_subnormal_state(optimiser)
    assert momentum(optimiser, network.weight).isnan().tolist() == [[True, False]]
    assert momentum(optimiser, network.weight)[0, 1] == 0


class OverflowingScaler(torch.amp.GradScaler):
    """Skips chosen steps, as a scaler does whose gradients overflowed."""

    def __init__(self, skipped: set[int]) -> None:
        super().__init__("cpu", enabled=False)
        self.skipped, self.calls, self.current = skipped, 0, 1024.0

    def is_enabled(self) -> bool:
        return True

    def step(self, optimizer, *args, **kwargs):
        if self.calls not in self.skipped:
            optimizer.step()

    def update(self, new_scale=None):
        if self.calls in self.skipped:
            self.current /= 2
        self.calls += 1

    def get_scale(self):
        return self.current


def test_a_step_skipped_in_float16_moves_neither_schedule_nor_averages():
    network = nn.Linear(2, 2)
    recipe = TrainConfig(num_epochs=1, ema_decay=0.9)
    state = updates_of(network, recipe)
    state.scaler = OverflowingScaler(skipped={0, 2})
    seen = []
    for _ in range(4):
        network.weight.grad, network.bias.grad = torch.ones(2, 2), torch.ones(2)
        before = network.weight.clone(), state.average.num_updates, state.num_updates
        state.update()
        moved = not torch.equal(network.weight, before[0])
        assert moved == (state.average.num_updates > before[1]) == (state.num_updates > before[2])
        seen.append(moved)
    assert seen == [False, True, False, True]
    assert (state.step, state.num_updates) == (4, 2)
    again = updates_of(nn.Linear(2, 2), recipe)
    again.restore({**state.state(), "scaler": {}})
    assert again.num_updates == 2


def test_lion_follows_its_formula_for_several_steps():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(5))
    expected, momentum_ = weight.detach().clone().double(), torch.zeros(5, dtype=torch.float64)
    lion = Lion([weight], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(4):
        gradient = torch.randn(5)
        weight.grad = gradient.clone()
        lion.step()
        g = gradient.double()
        expected = (1 - 0.01 * 0.1) * expected - 0.01 * torch.sign(0.9 * momentum_ + 0.1 * g)
        momentum_ = 0.99 * momentum_ + 0.01 * g
        torch.testing.assert_close(weight.detach().double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("optimiser", get_args(Optimiser))
def test_every_optimiser_goes_on_from_a_checkpoint_to_the_bit(optimiser):
    def state() -> WeightUpdates:
        torch.manual_seed(0)
        recipe = TrainConfig(num_epochs=1, optimiser=optimiser, learning_rate=0.01)
        return updates_of(nn.Linear(3, 2), recipe)

    def step(current: WeightUpdates, number: int) -> None:
        inputs = torch.linspace(-1, 1, 12).view(4, 3) * (number + 1)
        current.module(inputs).square().sum().backward()
        current.update()

    through, stopped = state(), state()
    for number in range(6):
        step(through, number)
    for number in range(3):
        step(stopped, number)
    again = state()
    again.restore(stopped.state())
    for number in range(3, 6):
        step(again, number)
    assert torch.equal(again.module.weight, through.module.weight)
    assert torch.equal(again.module.bias, through.module.bias)


def test_a_momentum_that_rises_steps_as_written_by_hand():
    # v <- m v + g, w <- w - r (1 - m) / (1 - 0.8) v, with m = 0.2, 0.5, 0.8, 0.8
    recipe = dataclasses.replace(
        RECIPE, momentum=0.8, momentum_start=0.2, momentum_rise_fraction=0.5, nesterov=False, schedule="constant",
        learning_rate=0.1,
    )  # fmt: skip
    network = nn.Linear(1, 1, bias=False)
    state = WeightUpdates(network, recipe=recipe, runtime=Runtime(torch.device("cpu"), "fp32"), num_steps=4)
    weight, velocity = network.weight.item(), 0.0
    for momentum_now in (0.2, 0.5, 0.8, 0.8):
        network.weight.grad = torch.ones_like(network.weight)
        state.update()
        velocity = momentum_now * velocity + 1.0
        weight -= 0.1 * (1 - momentum_now) / (1 - 0.8) * velocity
        assert network.weight.item() == pytest.approx(weight)
