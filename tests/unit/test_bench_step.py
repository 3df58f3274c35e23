"""limbeck bench step times what it says, in turns, and shows it with its targets."""

from __future__ import annotations

import pytest

from limbeck.bench import step
from limbeck.commands.bench import as_text
from limbeck.errors import InvalidValue


def test_every_way_is_timed_against_the_bare_loop():
    result = step.run(num_samples=256, num_rounds=1)
    assert list(result["seconds"]) == [
        "plain", "supervised", "stored", "views_replayed", "teacher_online", "plain_mapping", "mapping",
    ]  # fmt: skip
    assert all(seconds["median"] > 0 for seconds in result["seconds"].values())
    plain = result["seconds"]["plain"]["median"]
    assert result["ratios"]["stored"] == pytest.approx(result["seconds"]["stored"]["median"] / plain)
    assert result["reached"] == {name: result["ratios"][name] <= target for name, target in result["targets"].items()}
    text = as_text(result)
    assert "target 1.02" in text
    assert "µs longer than a bare one" in text


def test_an_empty_epoch_is_refused():
    with pytest.raises(InvalidValue, match="num_samples"):
        step.run(num_samples=0)
