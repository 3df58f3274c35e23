"""The demo on the embedded digits shows what distillation is for: over five seeds, the teacher helps."""

from __future__ import annotations

import sys

import pytest
import torch

from limbeck.cli import main
from limbeck.records import from_json
from limbeck.statistics import paired_difference, verdict


@pytest.mark.slow
def test_the_demo_shows_a_real_gain_over_five_seeds(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["limbeck", "distill", "--out", str(tmp_path / "demo"), "--progress", "silent"])
    num_threads = torch.get_num_threads()
    with pytest.raises(SystemExit) as finished:
        main()
    torch.set_num_threads(num_threads)
    assert not finished.value.code
    assert "report: " in capsys.readouterr().out
    record = from_json((tmp_path / "demo" / "record.json").read_text(encoding="utf-8"))
    assert record.seeds == [0, 1, 2, 3, 4]
    assert record.data.num_labelled == 100
    difference = paired_difference(record.values("baseline", "errors"), record.values("distilled", "errors"))
    assert verdict(difference) == "The teacher helped."
    assert difference.mean < -10  # of 359 test samples; about -23 where this was written
