"""limbeck bench cohort times both updates and a stacked cohort against the same networks one by one."""

from __future__ import annotations

import pytest

from limbeck.bench import cohort
from limbeck.commands.bench import BENCHES, as_text
from limbeck.errors import InvalidValue


def test_each_way_is_timed_against_the_same_networks_one_by_one():
    result = cohort.run(network="mlp:widths=8", num_samples=128, num_rounds=1)
    assert list(result["seconds"]) == ["one_by_one", "simultaneous", "alternating", "small_one_by_one", "stacked"]
    floors = {"simultaneous": "one_by_one", "alternating": "one_by_one", "stacked": "small_one_by_one"}
    for name, ratio in result["ratios"].items():
        assert ratio == pytest.approx(result["seconds"][name]["median"] / result["seconds"][floors[name]]["median"])
    assert result["reached"] == {
        "simultaneous": result["ratios"]["simultaneous"] <= 1.05,
        "stacked": result["ratios"]["stacked"] <= 0.70,
    }
    assert "target 1.05" in as_text(result)
    assert BENCHES["cohort"] is cohort.run


def test_a_cohort_of_one_is_refused():
    with pytest.raises(InvalidValue, match="at least two"):
        cohort.run(network="mlp:widths=8", num_networks=1, num_samples=128, num_rounds=1)
