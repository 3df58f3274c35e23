"""The tables of docs/guide/scale.md are what their formulas give."""

from __future__ import annotations

import pytest

import scale_tables
from scale_tables import JOBS, PAGE, shown_bytes, tables


def test_the_page_has_the_tables_that_the_formulas_give():
    assert scale_tables.BEGIN + tables() + scale_tables.END in PAGE.read_text("utf-8")


@pytest.mark.parametrize(
    ("job", "codec", "expected"),
    [
        (0, "dense16", 1_281_167 * 40 * 2000),
        (0, "dense8", 1_281_167 * 40 * 1004),
        (0, "sparse", 1_281_167 * 40 * (84 * 4 + 56)),
        (1, "dense8", 700_000_000 * 14_004),
        (2, "lowrank", 12_800_000_000),
        (3, "dense16", 61 * 100_000_000 * 600),
    ],
)
def test_bytes_of_a_store_are_records_times_bytes_of_a_record(job, codec, expected):
    assert JOBS[job].store_bytes(codec) == expected


def test_hours_are_records_over_the_stated_rate():
    assert JOBS[1].teacher_hours == pytest.approx(194.44, abs=0.01)
    assert JOBS[3].teacher_hours == pytest.approx(61 * 100_000 / 3600)
    assert JOBS[0].student_hours == pytest.approx(1_281_167 * 100 / 3.6e6)


def test_memory_of_a_process_by_hand():
    # 100 M x (65 in shards + 16.2 of the order + 8 / 32 of the look-up), and a batch of 1,024 x 15,000 floats.
    assert JOBS[2].process_bytes == pytest.approx(1e8 * 81.45 + 1024 * 15_000 * 4)
    assert shown_bytes(JOBS[2].process_bytes) == "8.21 GB"


def test_another_page_is_found(monkeypatch, tmp_path, capsys):
    page = tmp_path / "scale.md"
    page.write_text(PAGE.read_text("utf-8").replace("51.2 M", "51.3 M"), "utf-8")
    monkeypatch.setattr(scale_tables, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["scale_tables.py", "--check"])
    assert scale_tables.main() == 1
    monkeypatch.setattr("sys.argv", ["scale_tables.py"])
    assert scale_tables.main() == 0
    assert page.read_text("utf-8") == PAGE.read_text("utf-8")
