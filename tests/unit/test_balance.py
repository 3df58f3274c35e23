"""Balanced batches: the share in every batch, nothing left out, a function of (seed, pass, ids) alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from limbeck.data import BalancedOrder, Samples
from limbeck.errors import CheckpointError, DataError, InvalidValue
from limbeck.objectives import HardLabels
from limbeck.training import Runtime, TrainConfig, fit

CPU = Runtime(torch.device("cpu"), "fp32")


def samples_with(labels: list[int], *, first_id: int = 0) -> Samples:
    count = len(labels)
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    return Samples("toy", torch.arange(first_id, first_id + count), inputs, torch.tensor(labels), tuple("abcd"))


@given(
    num_special=st.integers(1, 40),
    num_others=st.integers(1, 60),
    batch_size=st.integers(2, 17),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 5),
)
def test_every_batch_has_its_share_and_all_of_a_kind_come_before_any_comes_again(
    num_special, num_others, batch_size, share, seed
):
    samples = samples_with([0, 1] * (num_special // 2) + [0] * (num_special % 2) + [3] * num_others)
    order = BalancedOrder(classes=(0, 1), share=share)
    expected = min(max(round(share * batch_size), 1), batch_size - 1)
    passes = [order.positions(samples, seed=seed, epoch=epoch, batch_size=batch_size) for epoch in range(4)]
    for positions in passes:
        assert len(positions) == batch_size * order.num_batches(samples, batch_size)
        special = (samples.labels[positions] < 2).view(-1, batch_size)
        assert (special.sum(dim=1) == expected).all()
    assert set(range(num_special)) <= set(passes[0].tolist())
    everything = torch.cat(passes)
    for is_special, count in ((True, num_special), (False, num_others)):
        dealt = everything[(samples.labels[everything] < 2) == is_special]
        for start in range(0, len(dealt) - count + 1, count):
            assert len(set(dealt[start : start + count].tolist())) == count


def test_the_sequence_of_ids_depends_neither_on_storage_nor_on_other_passes():
    samples = samples_with([0, 3, 1, 3, 3, 0, 2, 3, -1, 2], first_id=50)
    order = BalancedOrder(classes=(0, 1))
    shuffled = samples.take(torch.tensor([7, 2, 9, 0, 4, 1, 8, 6, 3, 5]))
    for epoch in (3, 0):
        own = samples.ids[order.positions(samples, seed=1, epoch=epoch, batch_size=4)]
        assert torch.equal(own, shuffled.ids[order.positions(shuffled, seed=1, epoch=epoch, batch_size=4)])
    first, other = (samples.ids[order.positions(samples, seed=s, epoch=0, batch_size=4)] for s in (1, 2))
    assert not torch.equal(first, other)


def test_fit_shows_balanced_batches_and_resumes_to_the_bit(tmp_path):
    samples = samples_with([0] * 10 + [2, 3] * 35)
    recipe = TrainConfig(num_epochs=3, batch_size=8, learning_rate=0.1)
    seen = []

    class Watched(nn.Linear):
        def forward(self, inputs):
            seen.append(inputs.detach().clone())
            return super().forward(inputs)

    def network(kind=nn.Linear):
        torch.manual_seed(0)
        return kind(4, 4)

    order = BalancedOrder(classes=(0,))
    result = fit(network(Watched), samples, HardLabels(), recipe=recipe, order=order, seed=3, runtime=CPU)
    assert result.num_steps == 3 * 3  # ten special samples, four in a batch
    rows = torch.cat([order.positions(samples, seed=3, epoch=epoch, batch_size=8) for epoch in range(3)])
    assert torch.equal(torch.cat(seen), samples.inputs[rows])

    class Stopping(nn.Linear):
        def forward(self, inputs):
            if len(stops) == 5:
                raise KeyboardInterrupt
            stops.append(1)
            return super().forward(inputs)

    stops: list[int] = []
    checkpoint = tmp_path / "run.pt"
    arguments = {"recipe": recipe, "order": order, "seed": 3, "runtime": CPU, "checkpoint": checkpoint}
    with pytest.raises(KeyboardInterrupt):
        fit(network(Stopping), samples, HardLabels(), **arguments, checkpoint_seconds=0.0)
    resumed = fit(network(), samples, HardLabels(), **arguments)
    for name, value in result.last_weights.items():
        assert torch.equal(value, resumed.last_weights[name])
    with pytest.raises(CheckpointError):
        fit(network(), samples, HardLabels(), **{**arguments, "order": None})


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(InvalidValue, match="special classes"):
        BalancedOrder(classes=())
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(InvalidValue, match="share"):
            BalancedOrder(classes=(0,), share=share)
    samples = samples_with([0, 0, 1, 1])
    with pytest.raises(DataError, match="both kinds"):
        BalancedOrder(classes=(2,)).num_batches(samples, 4)
    with pytest.raises(DataError, match="both kinds"):
        BalancedOrder(classes=(0, 1)).num_batches(samples, 4)
    with pytest.raises(InvalidValue, match="both kinds"):
        BalancedOrder(classes=(0,)).num_batches(samples, 1)
