"""best_class_bias finds the offsets with the fewest errors; add_class_bias puts offsets into a network."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn, tensor
from torch.testing import assert_close

from limbeck.calibration import add_class_bias, best_class_bias
from limbeck.errors import InvalidValue, LimbeckError, ModelError, ShapeMismatch
from limbeck.metrics import count_errors
from limbeck.models import build

INF = math.inf
seeds = st.integers(0, 10_000)


def _case(seed: int, *, num_samples: int = 30, num_classes: int = 4, lean: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits that know the labels, under a wrong bias."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    noise = torch.randn(num_samples, num_classes, generator=generator, dtype=torch.float64)
    bias = lean * torch.randn(num_classes, generator=generator, dtype=torch.float64)
    return 2 * torch.eye(num_classes, dtype=torch.float64)[labels] + noise + bias, labels


def _errors(logits: Tensor, labels: Tensor, offsets: Tensor) -> int:
    rows = (logits.double() + offsets).tolist()
    return sum(row.index(max(row)) != label for row, label in zip(rows, labels.tolist(), strict=True))


def _offsets(num_classes: int, classes: list[int], value: float) -> Tensor:
    offsets = torch.zeros(num_classes, dtype=torch.float64)
    offsets[classes] = value
    return offsets


def _edges(logits: Tensor, classes: list[int]) -> list[float]:
    """List every offset at which the largest logit changes between the classes and the others."""
    rest = [number for number in range(logits.shape[1]) if number not in classes]
    return sorted(float(row[rest].max() - row[classes].max()) for row in logits)


@pytest.mark.parametrize("classes", [[1], [0, 2], [0, 1, 2]])
@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_one_offset_has_the_fewest_errors_that_any_has(classes: list[int], seed: int) -> None:
    logits, labels = _case(seed)
    offsets = best_class_bias(logits, labels, classes=classes, shared=True)
    edges = _edges(logits, classes)
    middles = [(low + high) / 2 for low, high in itertools.pairwise([edges[0] - 2, *edges, edges[-1] + 2])]
    fewest = min(_errors(logits, labels, _offsets(4, classes, value)) for value in [0.0, *middles])
    assert _errors(logits, labels, offsets) == fewest
    # ... and none nearer to 0 is as good: the offset lies at most 0.001 inside its interval.
    size = float(offsets.abs().max())
    nearer = [value for value in middles if abs(value) < size - 1e-3]
    assert all(_errors(logits, labels, _offsets(4, classes, value)) > fewest for value in nearer)


def test_grid_finds_nothing_better() -> None:
    logits, labels = _case(11, num_samples=200)
    fewest = _errors(logits, labels, best_class_bias(logits, labels, classes=[3]))
    assert fewest <= min(_errors(logits, labels, _offsets(4, [3], value / 50)) for value in range(-500, 500))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nearest_end_of_the_best_interval(sign: float) -> None:
    # Class 1 lacks 1 and 3, rightly, and 5, wrongly: any offset between 3 and 5 is best.
    logits = tensor([[1.0, 0.0], [3.0, 0.0], [5.0, 0.0]]) * sign
    labels = tensor([1, 1, 0]) if sign > 0 else tensor([0, 0, 1])
    offsets = best_class_bias(logits, labels, classes=[1])
    assert_close(offsets, tensor([0.0, sign * 3.001], dtype=torch.float64))


def test_narrow_interval_is_hit_in_its_middle() -> None:
    logits = tensor([[1.0, 0.0], [1.0001, 0.0]], dtype=torch.float64)
    assert_close(best_class_bias(logits, tensor([1, 0]), classes=[1])[1].item(), 1.00005)


def test_open_intervals() -> None:
    logits = tensor([[2.0, 0.0], [7.0, 0.0]])
    assert_close(best_class_bias(logits, tensor([1, 1]), classes=[1])[1].item(), 7.001)
    assert_close(best_class_bias(-logits, tensor([0, 0]), classes=[1])[1].item(), -7.001)


def test_zero_where_nothing_has_fewer_errors() -> None:
    # At 0 the tie goes to class 0, which is right; so is everything up to 2.
    logits = tensor([[0.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
    assert best_class_bias(logits, tensor([0, 1, 0]), classes=[1]).tolist() == [0.0, 0.0]
    logits, labels = _case(0, lean=0.0)
    perfect = 100 * torch.eye(4)[labels]
    assert best_class_bias(perfect, labels, classes=[0, 2]).count_nonzero() == 0


def test_logits_ruled_out() -> None:
    logits = tensor([[1.0, 0.0], [5.0, -INF], [-INF, 0.0], [2.0, 0.0]])
    offsets = best_class_bias(logits, tensor([1, 1, 0, 0]), classes=[1])  # the second and third stay wrong
    assert_close(offsets, tensor([0.0, 1.001], dtype=torch.float64))


@given(seed=seeds)
@example(seed=1188)  # in turn from 0, both offsets end in a worse optimum than the second alone
@settings(max_examples=25, deadline=None)
def test_several_offsets_leave_no_single_one_to_improve(seed: int) -> None:
    logits, labels = _case(seed)
    classes = [0, 3]
    offsets = best_class_bias(logits, labels, classes=classes)
    errors = _errors(logits, labels, offsets)
    assert offsets[[1, 2]].tolist() == [0.0, 0.0]
    assert errors <= _errors(logits, labels, best_class_bias(logits, labels, classes=classes, shared=True))
    for number in classes:
        assert errors <= _errors(logits, labels, best_class_bias(logits, labels, classes=[number]))
        again = best_class_bias(logits + offsets, labels, classes=[number])
        assert errors == _errors(logits + offsets, labels, again)


def test_several_offsets_against_a_grid() -> None:
    # A local optimum in general; from four starts it is no worse than the grid on most of these. None may be far off.
    axis = [value / 4 for value in range(-24, 25)]
    behind = []
    for seed in range(6):
        logits, labels = _case(seed, num_classes=3)
        found = count_errors(logits + best_class_bias(logits, labels, classes=[1, 2]), labels)
        grid = min(count_errors(logits + tensor([0.0, a, b]), labels) for a in axis for b in axis)
        behind.append(found - grid)
    assert sum(lag <= 0 for lag in behind) >= 4
    assert max(behind) <= 1


def test_all_classes_undo_a_wrong_bias() -> None:
    logits, labels = _case(1, num_samples=300, num_classes=5, lean=0.0)
    bias = tensor([3.5, -7.6, 0.0, 4.0, -2.0], dtype=torch.float64)
    offsets = best_class_bias(logits + bias, labels, classes=range(5))
    assert count_errors(logits + bias + offsets, labels) <= count_errors(logits, labels)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_constant_per_sample_changes_nothing(seed: int) -> None:
    logits, labels = _case(seed)
    shifts = torch.arange(30.0, dtype=torch.float64).unsqueeze(1)
    offsets = best_class_bias(logits, labels, classes=[2])
    assert_close(best_class_bias(logits + shifts, labels, classes=[2]), offsets)


def test_bad_input() -> None:
    logits, labels = _case(0)
    cases: list[tuple[type[LimbeckError], str, Tensor, Tensor, dict[str, object]]] = [
        (InvalidValue, "labels are out of range", logits, labels + 1, {"classes": [1]}),
        (ShapeMismatch, "one label per row", logits, labels[1:], {"classes": [1]}),
        (InvalidValue, "have no softmax", logits * math.nan, labels, {"classes": [1]}),
        (InvalidValue, "no class 7", logits, labels, {"classes": [7]}),
        (InvalidValue, "shared by all classes", logits, labels, {"classes": range(4), "shared": True}),
    ]
    for kind, fact, bad_logits, bad_labels, choice in cases:
        with pytest.raises(kind, match=fact) as caught:
            best_class_bias(bad_logits, bad_labels, **choice)  # type: ignore[arg-type]
        assert caught.value.expected is not None


# Into the network

OFFSETS = tensor([0.0, 3.5, -7.6], dtype=torch.float64)


@pytest.mark.parametrize("spec", ["mlp:widths=3x3", "mlp:widths=none", "convnet"])
def test_logits_of_a_network_of_the_zoo_move_by_the_offsets(spec: str) -> None:
    network = build(spec, input_shape=(1, 8, 8), num_classes=3, seed=0).eval()
    inputs = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = network(inputs).detach()
    assert add_class_bias(network, OFFSETS) is network
    assert_close(network(inputs).detach(), before + OFFSETS.float())
    assert network.head.bias.requires_grad


def test_last_linear_layer_that_fits_of_another_module() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Unflatten(1, (3, 1)), nn.Linear(1, 2))
    wanted = network[2].bias.detach() + OFFSETS.float()
    untouched = network[0].bias.detach().clone()
    add_class_bias(network, OFFSETS.tolist())
    assert_close(network[2].bias.detach(), wanted)
    assert_close(network[0].bias.detach(), untouched)


def test_wrapped_half_precision_and_frozen_networks() -> None:
    layer = nn.Linear(2, 3).half().requires_grad_(False)
    wanted = (layer.bias.double() + OFFSETS.half().double()).half()
    wrapped = nn.DataParallel(layer)
    assert add_class_bias(wrapped, OFFSETS) is wrapped
    assert_close(layer.bias, wanted)


class _Headed(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.body = nn.Linear(2, 3)
        self.head = head


def test_networks_without_a_place_for_offsets() -> None:
    cases = [
        (nn.Conv2d(1, 3, 1), "no linear layer with 3 outputs", "no outputs"),
        (nn.Sequential(nn.Linear(2, 5)), "no linear layer with 3 outputs", "5 outputs"),
        (_Headed(nn.Linear(3, 10)), "head of _Headed has another number", "10 outputs"),
        (_Headed(nn.Linear(3, 3, bias=False)), "has no bias", "bias=False"),
    ]
    for network, fact, received in cases:
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with pytest.raises(ModelError, match=fact) as caught:
            add_class_bias(network, OFFSETS)
        assert received in str(caught.value.received)
        assert caught.value.remedy is not None
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("offsets", "kind"),
    [
        ([0.0, math.nan, 1.0], InvalidValue),
        ([0.0, INF, 1.0], InvalidValue),
        ([[0.0]], ShapeMismatch),
        (1.0, ShapeMismatch),
    ],
)
def test_offsets_that_are_no_numbers_per_class(offsets, kind) -> None:
    with pytest.raises(kind, match="offsets must"):
        add_class_bias(nn.Linear(2, 3), offsets)
