"""limbeck bench combine times both methods against one image after the other."""

from __future__ import annotations

import json

import pytest

from limbeck.bench import combine
from limbeck.commands.bench import BENCHES, as_text
from limbeck.errors import InvalidValue

SMALL = {"num_images": 40, "num_classes": 12, "num_specialists": 3, "set_size": 5, "num_looped": 4, "num_rounds": 1}


def test_both_methods_are_timed_and_compared():
    result = combine.run(**SMALL)
    assert json.loads(json.dumps(result)) == result
    assert list(result["seconds"]) == ["one_by_one", "fixed_point", "gradient"]
    floor = result["seconds"]["one_by_one"]["median"] / 4
    for name, ratio in result["ratios"].items():
        assert ratio == pytest.approx(result["seconds"][name]["median"] / 40 / floor)
    assert sum(result["active"]) == 40
    assert len(result["active"]) > 1, "some images concern specialists"
    assert 0 < result["disagreement"] < 1e-4
    assert result["reached"] == {"fixed_point": True}
    assert "target 2000 ms" in as_text(result)
    assert BENCHES["combine"] is combine.run


@pytest.mark.parametrize(
    "sizes", [{"set_size": 12}, {"num_looped": 41}, {"num_specialists": 13}, {"num_images": 0}, {"set_size": 0}]
)
def test_sizes_that_do_not_go_together_are_refused(sizes):
    with pytest.raises(InvalidValue):
        combine.run(**{**SMALL, **sizes})
