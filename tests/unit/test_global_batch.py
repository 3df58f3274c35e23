"""A rank's rows are drawn and normalised as rows of the global batch: without any rank, on slices of one batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from limbeck.errors import ModelError
from limbeck.models.dropout import Dropout
from limbeck.models.global_batch import GlobalBatch, global_batch_outputs
from limbeck.models.synced_norm import SyncedBatchNorm
from limbeck.ranks.group import ALONE

TOTAL = 10


class StochasticDepth(nn.Module):
    """Drops whole samples, as timm and torchvision do."""

    def forward(self, inputs):
        return inputs * inputs.new_empty(len(inputs), *[1] * (inputs.dim() - 1)).bernoulli_(0.5) / 0.5


class Steps(nn.Module):
    """Applies a layer to every step of a sequence, folded into the batch."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, inputs):
        return self.layer(inputs.flatten(0, 1)).view(inputs.shape)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dropout(0.4), (3, 5)),
        (nn.Dropout(0.4, inplace=True), (3, 5)),
        (nn.Dropout2d(0.4), (6, 3, 3)),
        (Dropout(0.4), (7,)),  # rows that do not fill whole words of random bits
        (StochasticDepth(), (4, 2, 2)),
        (Steps(nn.Dropout(0.4)), (3, 5)),
        (F.dropout, (5,)),
    ],
    ids=["rows", "in place", "channels", "ours", "stochastic depth", "steps", "function"],
)
def test_slices_of_a_batch_are_dropped_as_the_whole_is(layer, shape):
    inputs = torch.rand(TOTAL, *shape) + 1
    torch.manual_seed(3)
    expected, state = layer(inputs.clone()), torch.get_rng_state()
    for first, last in ((0, 3), (3, 4), (4, TOTAL)):
        torch.manual_seed(3)
        whole = GlobalBatch(ALONE, first=first, count=last - first, total=TOTAL)
        found = global_batch_outputs(layer, inputs[first:last].clone(), whole, is_checked=False)
        assert torch.equal(found, expected[first:last])
        assert torch.equal(torch.get_rng_state(), state)  # as on every other rank


@pytest.mark.parametrize("kind", ["plain", "causal", "boolean mask", "added mask", "grouped heads", "scale"])
def test_attention_is_dropped_as_that_of_the_global_batch(kind):
    query, key, value = (torch.randn(TOTAL, 4, 6, 8) for _ in range(3))
    mask = torch.rand(6, 6) < 0.7
    mask.fill_diagonal_(True)
    more = {
        "causal": {"is_causal": True},
        "boolean mask": {"attn_mask": mask},
        "added mask": {"attn_mask": torch.randn(6, 6)},
        "grouped heads": {"enable_gqa": True},
        "scale": {"scale": 0.1},
    }.get(kind, {})
    if kind == "grouped heads":
        key, value = key[:, :2], value[:, :2]
    torch.manual_seed(3)
    expected = F.scaled_dot_product_attention(query, key, value, dropout_p=0.3, **more)
    torch.manual_seed(3)
    with GlobalBatch(ALONE, first=2, count=5, total=TOTAL):
        found = F.scaled_dot_product_attention(query[2:7], key[2:7], value[2:7], dropout_p=0.3, **more)
    assert_close(found, expected[2:7])


def test_images_laid_out_channels_last_are_dropped_as_the_whole_is():
    inputs = torch.rand(TOTAL, 6, 4, 4).contiguous(memory_format=torch.channels_last)
    torch.manual_seed(3)
    expected = F.dropout(inputs, 0.5)
    torch.manual_seed(3)
    with GlobalBatch(ALONE, first=2, count=5, total=TOTAL):
        assert torch.equal(F.dropout(inputs[2:7], 0.5), expected[2:7])


@pytest.mark.parametrize("layer", [nn.RReLU(), nn.LSTM(4, 4, num_layers=2, dropout=0.5, batch_first=True)])
def test_other_random_numbers_are_refused_by_name(layer):
    whole = GlobalBatch(ALONE, first=0, count=4, total=TOTAL)
    with pytest.raises(ModelError, match=r"cannot share(.|\n)*aten"):
        global_batch_outputs(layer, torch.rand(4, 3, 4), whole, is_checked=False)


def test_a_mask_that_is_not_of_rows_is_refused():
    with GlobalBatch(ALONE, first=0, count=4, total=TOTAL), pytest.raises(ModelError, match="cannot share"):
        F.dropout(torch.ones(3, 4), 0.5)


@pytest.mark.parametrize("is_affine", [True, False])
@pytest.mark.parametrize("shape", [(8, 3), (4, 3, 5), (4, 3, 5, 2)])
def test_synced_batch_norm_is_torchs_on_one_process(shape, is_affine):
    torch.manual_seed(0)
    inputs = (torch.randn(shape) * 3 + 50).requires_grad_()  # a mean far from 0
    weight, bias = (torch.rand(3).requires_grad_(), torch.rand(3).requires_grad_()) if is_affine else (None, None)
    towards = torch.randn(shape)
    found, mean, variance, count = SyncedBatchNorm.apply(inputs, weight, bias, 1e-5, ALONE)
    expected = F.batch_norm(inputs, None, None, weight, bias, training=True)
    assert_close(found, expected)
    assert_close(mean, inputs.transpose(0, 1).flatten(1).mean(dim=1))
    assert_close(variance, inputs.transpose(0, 1).flatten(1).var(dim=1, unbiased=False))
    assert int(count) == inputs.numel() / 3
    wanted = [one for one in (inputs, weight, bias) if one is not None]
    for ours, theirs in zip(
        torch.autograd.grad((found * towards).sum(), wanted),
        torch.autograd.grad((expected * towards).sum(), wanted),
        strict=True,
    ):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_running_statistics_are_torchs():
    inputs, own, theirs = torch.randn(12, 4) * 2 + 1, nn.BatchNorm1d(4), nn.BatchNorm1d(4)
    expected = theirs(inputs)
    with GlobalBatch(ALONE, first=0, count=12, total=12):
        assert_close(own(inputs), expected)
    assert_close(own.state_dict(), theirs.state_dict())
    own.eval()
    with GlobalBatch(ALONE, first=0, count=12, total=12):
        assert_close(own(inputs), theirs.eval()(inputs))
