"""Trackers get every epoch, are imported only when asked for, and cannot stop a run."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from types import SimpleNamespace

import pytest
import torch

import limbeck
from limbeck.cli import main
from limbeck.data import as_samples
from limbeck.errors import InvalidValue, MissingPackage


class Fake:
    """Weights & Biases as far as a run uses it."""

    def __init__(self, fails_at=None):
        self.calls, self.axes, self.fails_at = [], [], fails_at

    def _take(self, name, *values):
        self.calls.append((name, *values))
        if name == self.fails_at:
            raise ConnectionError("the server is away")

    def init(self, **settings):
        self._take("init", settings)

    def define_metric(self, name, step_metric):
        self.axes.append((name, step_metric))

    def log(self, values):
        self._take("log", values)

    def finish(self):
        self._take("finish")


@pytest.fixture
def wandb(monkeypatch):
    def put(**settings):
        fake = Fake(**settings)
        monkeypatch.setitem(sys.modules, "wandb", fake)
        return fake

    return put


others_warnings = pytest.mark.filterwarnings("ignore")  # what trackers warn of is theirs


def epochs_of(folder):
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [event for event in events if event["event"] == "epoch"]


def train(out, **settings):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.rand(60, 4, generator=draw)
    samples = as_samples((inputs, ["no", "yes"] * 30))
    recipe = limbeck.TrainConfig(num_epochs=3)
    return limbeck.train("mlp:widths=4", samples, recipe=recipe, out=out, progress="silent", **settings)


def test_every_epoch_goes_to_the_tracker(tmp_path, wandb):
    fake = wandb()
    train(tmp_path / "run", log="wandb")
    assert [call[0] for call in fake.calls] == ["init", "log", "log", "log", "finish"]
    assert fake.calls[0][1]["name"] == "run"
    assert fake.axes == [("student-seed0/*", "student-seed0/step")]
    for call, event in zip(fake.calls[1:4], epochs_of(tmp_path / "run"), strict=True):
        assert call[1]["student-seed0/train/total"] == pytest.approx(event["train"]["total"])
        assert call[1]["student-seed0/validation/accuracy"] == event["validation"]["accuracy"]
        assert call[1]["student-seed0/step"] == event["step"]


def test_one_that_fails_on_the_way_stops_nothing(tmp_path, wandb, capsys):
    fake = wandb(fails_at="log")
    recipe = limbeck.TrainConfig(num_epochs=3)
    samples = as_samples((torch.rand(60, 4), ["no", "yes"] * 30))
    result = limbeck.train(
        "mlp:widths=4", samples, recipe=recipe, out=tmp_path / "run", progress="plain", log=["wandb"]
    )
    assert [call[0] for call in fake.calls] == ["init", "log"]
    assert capsys.readouterr().err.count("wandb failed and gets no more of this run: ConnectionError") == 1
    assert len(result.record.networks[0].history) == 3


def test_one_without_a_login_is_told_before_anything_is_trained(tmp_path, wandb):
    wandb(fails_at="init")
    with pytest.raises(InvalidValue, match="wandb cannot begin a run") as caught:
        train(tmp_path / "run", log="wandb")
    assert "log in to wandb" in str(caught.value)


def test_without_a_login_the_command_line_ends_with_2_and_writes_nothing(tmp_path, wandb, monkeypatch, capsys):
    wandb(fails_at="init")
    monkeypatch.setattr(
        sys, "argv", ["limbeck", "train", "--log", "wandb", "--epochs", "1", "--out", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("limbeck: wandb cannot begin a run.")
    assert "log in to wandb" in told
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(MissingPackage, match="needs trackio"):
        train(tmp_path / "run", log="trackio")


def test_mlflow_gets_metrics_by_step(tmp_path, monkeypatch):
    calls = []
    names = ("set_experiment", "start_run", "log_params", "log_metrics", "end_run")
    fake = SimpleNamespace(**{n: lambda *a, _n=n, **k: calls.append((_n, a, k)) for n in names})
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    train(tmp_path / "run", log="mlflow")
    assert [call[0] for call in calls] == [*names[:3], *["log_metrics"] * 3, "end_run"]
    steps = [call[2]["step"] for call in calls if call[0] == "log_metrics"]
    assert steps == sorted(set(steps))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_tensorboard_writes_into_the_runs_folder(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path / "run", log="tensorboard")
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    read.Reload()
    assert len(read.Scalars("student-seed0/validation/accuracy")) == 3


@pytest.mark.slow
@others_warnings
def test_wandb_itself_gets_every_epoch(tmp_path, monkeypatch):
    for name, value in (("MODE", "offline"), ("DIR", str(tmp_path)), ("SILENT", "true")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb = pytest.importorskip("wandb")
    logged, finish = {}, wandb.finish

    def finishing():
        logged.update(dict(wandb.run.summary), steps=wandb.run.step, name=wandb.run.name)
        finish()

    monkeypatch.setattr(wandb, "finish", finishing)
    train(tmp_path / "run", log="wandb")
    wandb.teardown()
    last = epochs_of(tmp_path / "run")[-1]
    assert (logged["name"], logged["steps"]) == ("run", 3)
    assert logged["student-seed0/step"] == last["step"]
    assert logged["student-seed0/train/total"] == pytest.approx(last["train"]["total"])
    assert [path.stat().st_size > 0 for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb")] == [True]


@pytest.mark.slow
@others_warnings
def test_wandb_itself_without_a_login_ends_before_anything_is_trained(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    wandb = pytest.importorskip("wandb")
    with pytest.raises(InvalidValue, match="wandb cannot begin a run"):
        train(tmp_path / "run", log="wandb")
    wandb.teardown()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@others_warnings
def test_mlflow_itself_gets_metrics_by_step(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow = pytest.importorskip("mlflow")
    train(tmp_path / "run", log="mlflow")
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("limbeck").experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params["network"] == "mlp:widths=4"
    history = client.get_metric_history(run.info.run_id, "student-seed0/train/total")
    logged = [(metric.step, metric.value) for metric in history]
    assert logged == [(epoch["step"], epoch["train"]["total"]) for epoch in epochs_of(tmp_path / "run")]


@pytest.mark.slow
@others_warnings
def test_trackio_itself_gets_every_epoch(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio")
    train(tmp_path / "run", log="trackio")
    with contextlib.closing(sqlite3.connect(tmp_path / "trackio" / "limbeck.db")) as database:
        rows = database.execute("SELECT run_name, metrics FROM metrics ORDER BY step").fetchall()
    logged = [(name, json.loads(metrics)["student-seed0/train/total"]) for name, metrics in rows]
    assert logged == [("run", pytest.approx(epoch["train"]["total"])) for epoch in epochs_of(tmp_path / "run")]


def test_none_is_imported_unasked():
    import subprocess

    names = ("wandb", "mlflow", "trackio", "tensorboard")
    code = f"import sys, limbeck.distillation; print([name for name in {names} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
