"""limbeck bench video times what it says, and shows it with its targets."""

from __future__ import annotations

import pytest

pytest.importorskip("av")

from limbeck.bench import video
from limbeck.commands.bench import BENCHES, as_text


def test_every_way_is_timed(monkeypatch):
    monkeypatch.setattr(video, "NUM_FRAMES", 8)
    result = video.run(num_clips=16, num_rounds=1)
    seconds = {name: one["median"] for name, one in result["seconds"].items()}
    for name, floor in (("three segments", "decode"), ("every frame", "decode"), ("stored epoch", "bare epoch")):
        assert result["ratios"][name] == pytest.approx(seconds[name] / seconds[floor])
    text = as_text(result)
    assert "target 1.60" in text
    assert "target 1.05" in text
    assert ("speed_over_flow" in result) == (video._flow() is not None)
    assert BENCHES["video"] is video.run
