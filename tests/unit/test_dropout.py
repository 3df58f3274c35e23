"""Dropout keeps nn.Dropout's promises with masks from 16-bit draws (arXiv:1207.0580)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.models import Dropout

MANY = 400_000


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_drops_the_share_asked_for_and_keeps_the_mean(p):
    torch.manual_seed(0)
    outputs = Dropout(p)(torch.ones(MANY))
    standard_error = (p * (1 - p) / MANY) ** 0.5
    assert float((outputs == 0).double().mean()) == pytest.approx(p, abs=4 * standard_error + 2**-17)
    assert_close(outputs.unique(), torch.tensor([0.0, 1 / (1 - p)]), rtol=1e-4, atol=0.0)
    assert float(outputs.mean()) == pytest.approx(1.0, abs=4 * standard_error / (1 - p))


def test_values_are_dropped_independently_within_a_word():
    # Four neighbours share a 64-bit draw; each of the 16 patterns must come up equally often.
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(MANY)).view(-1, 4) > 0).long()
    counts = torch.bincount((kept * torch.tensor([1, 2, 4, 8])).sum(dim=1), minlength=16).double()
    expected = MANY / 4 / 16
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert chi_squared < 37.7  # 15 degrees of freedom, 0.1 %


def test_gradient_goes_through_what_was_kept_with_the_same_scale():
    torch.manual_seed(2)
    inputs = torch.randn(33, 7, requires_grad=True)
    outputs = Dropout(0.25)(inputs)
    outputs.sum().backward()
    assert inputs.grad is not None
    assert_close(inputs.grad * inputs, outputs)


def test_evaluation_and_p_0_give_the_input_back():
    inputs = torch.randn(5)
    assert Dropout(0.5).eval()(inputs) is inputs
    assert Dropout(0.0)(inputs) is inputs


def test_everything_is_dropped_at_p_1():
    assert_close(Dropout(1.0)(torch.ones(9)), torch.zeros(9))


def test_a_seed_decides_the_mask():
    inputs = torch.ones(3, 5, dtype=torch.float64)
    torch.manual_seed(3)
    first = Dropout()(inputs)
    torch.manual_seed(3)
    assert torch.equal(first, Dropout()(inputs))
    assert not torch.equal(first, Dropout()(inputs))
    assert first.dtype == torch.float64


@pytest.mark.parametrize("layer", [Dropout(0.5, inplace=True), Dropout(0.5)])
def test_other_ways_are_torchs_own(layer):
    dtype = torch.float32 if layer.inplace else torch.float16
    torch.manual_seed(4)
    expected = nn.Dropout(0.5)(torch.ones(64, dtype=dtype))
    torch.manual_seed(4)
    assert torch.equal(layer(torch.ones(64, dtype=dtype)), expected)


def test_bfloat16_is_masked_and_scaled_in_float32_and_rounded_once():
    inputs = torch.linspace(-3, 3, 4096).bfloat16().requires_grad_()
    torch.manual_seed(5)
    outputs = Dropout(0.3)(inputs)
    torch.manual_seed(5)
    expected = Dropout(0.3)(inputs.detach().float())
    assert outputs.dtype == torch.bfloat16
    assert torch.equal(outputs, expected.bfloat16())
    outputs.sum().backward()
    assert torch.equal(inputs.grad == 0, expected == 0)
    assert 0.27 < (inputs.grad == 0).float().mean() < 0.33
