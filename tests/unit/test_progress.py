"""What a person sees: plain lines at most every five seconds, a bar at a terminal, what was done before counted."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from limbeck.data import Samples, Views
from limbeck.distillation.target_source import showing_collection
from limbeck.errors import UnknownName
from limbeck.records import EpochRecord
from limbeck.teachers import LogitsTeacher, collect
from limbeck.training import PlainProgress, Progress, progress_for
from limbeck.training import progress as progress_module


class Clock:
    """A clock that goes where it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def epoch(number: int) -> EpochRecord:
    return EpochRecord(
        epoch=number, step=9 * number, learning_rate=0.1, elapsed_seconds=2.0 * number, samples_per_second=3600.0,
        data_wait_fraction=0.02, train={"total": 0.5}, validation={},
    )  # fmt: skip


def test_plain_lines_of_a_count_say_how_far_how_fast_and_how_long(clock):
    stream = io.StringIO()
    plain = PlainProgress(stream)
    plain.begin("soft targets", num_steps=60_000, done_steps=10_000, unit="samples")
    for second in range(1, 9):
        clock.now = 100.0 + second
        plain.advance(10_000 + 1000 * second, {}, samples_per_second=1000.0, data_wait=0.0)
    plain.end()
    plain.end()
    assert stream.getvalue().splitlines() == [
        "soft targets: 60,000 samples, going on after 10,000",
        "soft targets: 15,000 of 60,000 samples  1,000/s  5.0 s, 45 s left",
        "soft targets: 18,000 of 60,000 samples  1,000/s  8.0 s, 42 s left",
    ]


def test_plain_lines_of_training_come_with_epochs_alone(clock):
    stream = io.StringIO()
    plain = PlainProgress(stream)
    plain.begin("student", num_steps=36, done_steps=0)
    for number in range(1, 5):
        clock.now += 2
        plain.advance(9 * number, {"total": 0.5}, samples_per_second=3600.0, data_wait=0.0)
        plain.epoch(epoch(number))
    plain.end()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "student: 36 steps"
    assert [line.split("  ")[0] for line in lines[1:]] == ["student: epoch 3", "student: epoch 4"]


@pytest.mark.parametrize(
    ("unit", "losses", "words"),
    [
        ("samples", {}, ["soft targets", "75%", "30/40 samples", "1,234/s"]),
        ("steps", {"total": 0.75, "hard": 0.5}, ["soft targets", "75%", "hard 0.500", "1,234/s", "data 2%"]),
    ],
)
def test_a_bar_shows_what_there_is_to_show(capsys, monkeypatch, unit, losses, words):
    monkeypatch.setenv("COLUMNS", "120")
    bar = progress_for("bar")
    bar.begin("soft targets", num_steps=40, done_steps=10, unit=unit)
    bar.advance(30, losses, samples_per_second=1234.0, data_wait=0.02)
    bar.end()
    shown = capsys.readouterr().err
    for word in words:
        assert word in shown
    assert ("data" in shown) == (unit == "steps")


def test_an_unknown_display_is_refused():
    with pytest.raises(UnknownName, match="loud"):
        progress_for("loud")


class Seen(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, int, str]] = []
        self.steps: list[int] = []
        self.num_ends = 0

    def begin(self, name: str, *, num_steps: int, done_steps: int, unit: str = "steps") -> None:
        self.begun.append((name, num_steps, done_steps, unit))

    def advance(self, step: int, losses: dict[str, float], *, samples_per_second: float, data_wait: float) -> None:
        assert samples_per_second > 0
        self.steps.append(step)

    def epoch(self, record: EpochRecord) -> None:
        raise AssertionError("a collection has no epochs")

    def end(self) -> None:
        self.num_ends += 1

    def say(self, text: str) -> None:
        pass


def shown(path: Path, **settings: object) -> Seen:
    """Collect 40 answers, in batches of 4 and shards of 8, and return what was shown."""
    samples = Samples("toy", torch.arange(40), torch.zeros(40, 1), torch.zeros(40, dtype=torch.int64), tuple("ab"))
    seen = Seen()
    with showing_collection(seen) as report:
        collect(
            LogitsTeacher(torch.zeros(40, 2)), samples, Views(), path, codec="dense16", batch_size=4, shard_bytes=32,
            progress=report, **settings,
        )  # fmt: skip
    return seen


def test_a_collection_is_shown_from_where_it_goes_on_to_its_end(tmp_path):
    first = shown(tmp_path, shards=[1, 3])
    assert first.begun == [("soft targets", 16, 0, "samples")]
    assert first.steps == [4, 8, 12, 16]
    second = shown(tmp_path)
    assert second.begun == [("soft targets", 40, 16, "samples")]
    assert second.steps == [20, 24, 28, 32, 36, 40]
    assert (first.num_ends, second.num_ends) == (1, 1)
    assert shown(tmp_path).begun == []  # all was finished
