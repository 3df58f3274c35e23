"""Counter-based numbers depend on their coordinates alone, and look random."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import Tensor

from limbeck.data import counter_bits, counter_integers, counter_uniform
from limbeck.data.counter import _mix
from limbeck.errors import InvalidValue

WORD = 1 << 64
IDS = torch.arange(20_000)


def splitmix_finaliser(word: int) -> int:
    """Written from the published C code, on Python integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % WORD
    return word ^ (word >> 31)


def test_mix_is_the_published_finaliser():
    # splitmix64 seeded with 0 gives 0xE220A8397B1DCDAF first (state = the increment).
    assert splitmix_finaliser(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    words = torch.tensor([0x9E3779B97F4A7C15 - WORD, 0, 1, -1, 1 << 62, -(1 << 63)])
    expected = [splitmix_finaliser(word % WORD) for word in words.tolist()]
    assert [word % WORD for word in _mix(words).tolist()] == expected


def test_tensor_and_array_arithmetic_agree():
    # The CPU takes the numpy path; accelerators take the torch path through the same function.
    words = torch.arange(-500, 500) * 0x5DEECE66D1234567
    assert torch.equal(_mix(words), torch.from_numpy(_mix(words.numpy())))


@given(
    ids=st.lists(st.integers(0, (1 << 63) - 1), min_size=1, max_size=20, unique=True),
    seed=st.integers(-(1 << 70), 1 << 70),
    view=st.integers(-5, 1 << 40),
    data=st.data(),
)
def test_rows_do_not_depend_on_neighbours(ids, seed, view, data):
    whole = counter_bits(torch.tensor(ids), seed=seed, stream="x", view=view, count=3)
    order = data.draw(st.permutations(range(len(ids))))[: max(1, len(ids) // 2)]
    part = counter_bits(torch.tensor([ids[i] for i in order]), seed=seed, stream="x", view=view, count=3)
    assert torch.equal(part, whole[list(order)])
    one_less = counter_bits(torch.tensor(ids), seed=seed, stream="x", view=view, count=2)
    assert torch.equal(one_less, whole[:, :2])


def test_bits_are_one_to_one_in_the_id():
    bits = counter_bits(torch.arange(200_000), seed=3)[:, 0]
    assert len(torch.unique(bits)) == 200_000


@pytest.mark.parametrize("change", [{"seed": 1}, {"stream": "b"}, {"stream": 7}, {"view": 1}, {"view": -1}])
def test_every_coordinate_changes_the_numbers(change):
    settings = {"seed": 0, "stream": "a", "view": 0}
    first = counter_bits(IDS, **settings)
    second = counter_bits(IDS, **{**settings, **change})
    assert not bool((first == second).any())


def draws() -> dict[str, Tensor]:
    """Uniform numbers along each coordinate: the way in which a weak mixing would show a pattern."""
    one = torch.tensor([12345])
    return {
        "ids": counter_uniform(IDS, seed=0)[:, 0],
        "spread ids": counter_uniform(IDS << 40, seed=0)[:, 0],
        "counts": counter_uniform(one, seed=0, count=20_000)[0],
        "views": torch.cat([counter_uniform(one, seed=0, view=v)[0] for v in range(1000)]),
        "seeds": torch.cat([counter_uniform(one, seed=s)[0] for s in range(1000)]),
        "streams": torch.cat([counter_uniform(one, seed=0, stream=s)[0] for s in range(1000)]),
    }


@pytest.mark.parametrize(("coordinate", "numbers"), draws().items())
def test_uniform_along_each_coordinate(coordinate, numbers):
    bins = 64
    counts = torch.histc(numbers, bins, 0, 1)
    expected = len(numbers) / bins
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert chi2.ppf(1e-4, bins - 1) < statistic < chi2.ppf(1 - 1e-4, bins - 1), coordinate
    assert 0 <= float(numbers.min()) < 0.01
    assert 0.99 < float(numbers.max()) < 1


@pytest.mark.parametrize(("coordinate", "numbers"), draws().items())
def test_neighbours_are_uncorrelated(coordinate, numbers):
    centred = numbers.double() - 0.5
    correlation = float((centred[:-1] * centred[1:]).mean() * 12)  # 1/12: the variance of a uniform number
    assert abs(correlation) < 4 / len(numbers) ** 0.5, coordinate


@pytest.mark.parametrize("bit", [0, 1, 20, 40, 62])
def test_avalanche_one_bit_of_the_id_flips_half_of_the_result(bit):
    flipped = counter_bits(IDS, seed=0) ^ counter_bits(IDS ^ (1 << bit), seed=0)
    ones = torch.stack([(flipped >> place) & 1 for place in range(64)]).double().mean(dim=(1, 2))
    assert float((ones - 0.5).abs().max()) < 5 * 0.5 / len(IDS) ** 0.5


def test_avalanche_one_bit_of_the_seed_flips_half_of_the_result():
    for bit in (0, 13, 63):
        flipped = counter_bits(IDS, seed=77) ^ counter_bits(IDS, seed=77 ^ (1 << bit))
        ones = torch.stack([(flipped >> place) & 1 for place in range(64)]).double().mean()
        assert abs(float(ones) - 0.5) < 0.01


def test_integers_cover_the_range_evenly():
    drawn = counter_integers(IDS, low=-2, high=3, seed=0)[:, 0]
    counts = torch.bincount(drawn + 2, minlength=5).double()
    assert counts.shape == (5,)
    assert float(((counts - 4000) ** 2 / 4000).sum()) < chi2.ppf(1 - 1e-4, 4)


def test_integers_reach_a_wide_range():
    drawn = counter_integers(IDS, low=0, high=1 << 31, seed=0)
    assert int(drawn.min()) >= 0
    assert (1 << 31) * 0.99 < int(drawn.max()) < 1 << 31


@pytest.mark.parametrize(("low", "high"), [(0, 0), (3, 2), (0, (1 << 31) + 1)])
def test_integer_range_is_checked(low, high):
    with pytest.raises(InvalidValue, match="range"):
        counter_integers(IDS, low=low, high=high, seed=0)


def test_ids_and_count_are_checked():
    with pytest.raises(InvalidValue, match="vector of ids"):
        counter_bits(torch.zeros(3), seed=0)
    with pytest.raises(InvalidValue, match="count"):
        counter_bits(IDS, seed=0, count=0)
