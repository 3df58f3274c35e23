"""limbeck bench cohort times both updates against the same networks one by one."""

from __future__ import annotations

import pytest

from limbeck.bench import cohort
from limbeck.commands.bench import BENCHES, as_text
from limbeck.errors import InvalidValue


def test_both_updates_are_timed_against_networks_of_their_own():
    result = cohort.run(network="mlp:widths=8", num_samples=128, num_rounds=1)
    assert list(result["seconds"]) == ["one_by_one", "simultaneous", "alternating"]
    floor = result["seconds"]["one_by_one"]["median"]
    for name, ratio in result["ratios"].items():
        assert ratio == pytest.approx(result["seconds"][name]["median"] / floor)
    assert result["reached"] == {"simultaneous": result["ratios"]["simultaneous"] <= 1.05}
    assert "target 1.05" in as_text(result)
    assert BENCHES["cohort"] is cohort.run


def test_a_cohort_of_one_is_refused():
    with pytest.raises(InvalidValue, match="at least two"):
        cohort.run(network="mlp:widths=8", num_networks=1, num_samples=128, num_rounds=1)
