"""Results, records and claims show themselves in a notebook, briefly at a prompt, and as figures."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import limbeck
from limbeck.data import as_samples
from limbeck.distillation import RunResult
from limbeck.records import EpochRecord
from limbeck.records.search_record import Point, SearchRecord
from limbeck.reports import plot_run, plot_search, summary_html
from limbeck.reproduction import Claim, Observation, ReproductionRecord
from limbeck.searching import SearchResult
from limbeck.training.progress import NotebookProgress, PlainProgress, progress_for

SMALL = {"num_classes": 3, "seeds": (0, 1), "num_epochs": 2, "num_dark": 0, "num_test": 90}
SEARCH = SearchRecord(
    cost="parameters",
    teacher_accuracy=0.9,
    num_validation=144,
    points=[Point("<i>mlp", 310, 310, 0.8, 0.5, {}, 3), Point("b", 610, 610, 0.89, 0.5, {}, 3)],
    front=["<i>mlp", "b"],
    chosen="b",
    answer="b keeps 98 %.",
    min_kept=0.98,
)


@pytest.fixture(scope="module")
def record(make_record):
    return make_record(**SMALL)


def result_of(record):
    return RunResult(nn.Linear(2, 2), "mlp", 0, record, None)


def reproduction():
    claim = Claim("distilled", "test_errors", "It makes <74>.", paper=74, at_most=74)
    observed = [Observation("distilled", seed, "test_errors", 70.0, "count") for seed in (0, 1)]
    return ReproductionRecord(
        "mnist", "Title", "Paper 2015", "limbeck reproduce mnist", False, "", 1.0, {}, [], [claim], observed, [], [],
        {}, None,
    )  # fmt: skip


def test_a_prompt_shows_a_line(record):
    for shown in (record, record.networks[0], result_of(record), reproduction(), SEARCH):
        assert len(repr(shown)) < 160, repr(shown)
        assert "\n" not in repr(shown)
    assert repr(record) == "RunRecord(distill on 'digits', 2 seeds: teacher, baseline, distilled)"
    samples = as_samples((torch.rand(8, 2), torch.arange(8) % 2))
    fitted = limbeck.fit(nn.Linear(2, 2), samples, limbeck.HardLabels(), recipe=limbeck.TrainConfig(num_epochs=2))
    assert repr(fitted).startswith("FitResult(Linear, epoch 2 of 2, 2 steps")


def test_a_notebook_shows_tables_with_every_text_escaped(record):
    errors = list(record.values("distilled", "errors").values())
    assert f"<td>{sum(errors) / 2:,.1f}</td>" in record._repr_html_()
    evil = dataclasses.replace(record, data=dataclasses.replace(record.data, name="<script>"))
    assert "<script>" not in evil._repr_html_()
    html = result_of(record)._repr_html_()
    assert html == summary_html(record)
    assert "<caption>Errors on the test set</caption>" in html
    assert "&lt;i&gt;mlp" in SEARCH._repr_html_()
    assert SearchResult(result_of(record), SEARCH)._repr_html_() == SEARCH._repr_html_()
    claims = reproduction()
    assert "reached: the mean is at most 74" in claims._repr_html_()
    for shown in (claims, claims.claims[0], claims.verdicts()[0]):
        assert "It makes &lt;74&gt;." in shown._repr_html_()


def test_plot_draws_every_seed_and_the_curves(record):
    figure = result_of(record).plot()
    tested, curves = figure.axes
    drawn = [list(line.get_ydata()) for line in tested.lines]
    assert drawn == [list(record.values(role, "errors").values()) for role in ("teacher", "baseline", "distilled")]
    assert {line.get_label() for line in curves.lines} >= {"baseline", "distilled"}
    assert figure._repr_png_().startswith(b"\x89PNG")
    bare = dataclasses.replace(record, networks=[], measurements=[])
    assert len(plot_run(bare).axes) == 2


def test_plot_of_a_search_names_the_front():
    (axes,) = SearchResult(None, SEARCH).plot().axes
    assert {text.get_text() for text in axes.texts} == {"<i>mlp", "b"}
    assert plot_search(SEARCH)._repr_png_().startswith(b"\x89PNG")


def test_progress_changes_one_line_in_place_in_a_notebook(monkeypatch):
    shown, updates = [], []
    display = SimpleNamespace(
        HTML=str,
        display=lambda html, display_id: shown.append(html) or SimpleNamespace(update=updates.append),
    )
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    progress = progress_for("auto")
    assert isinstance(progress, NotebookProgress)
    progress.begin("<student>", num_steps=20, done_steps=0)
    progress.advance(10, {"soft": 0.5}, samples_per_second=900.0, data_wait=0.0)
    progress.epoch(EpochRecord(1, 20, 0.1, 1.0, 900.0, 0.0, {"total": 0.25}, {"accuracy": 0.5}))
    progress.end()
    assert len(shown) == 1
    assert "10 of 20 steps" in updates[0]
    assert "900/s" in updates[0]
    assert "20 of 20 steps" in updates[-1]
    assert "validation 50.00%" in updates[-1]
    assert "&lt;student&gt;" in updates[-1]


def test_a_terminals_ipython_gets_no_notebook_progress(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None)))
    assert isinstance(progress_for("auto"), PlainProgress)
