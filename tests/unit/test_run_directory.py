"""A run's folder is checked before training, gone on with after a stop, and never overwritten unasked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from limbeck.distillation import RunDirectory
from limbeck.errors import OutputError

CONFIG = {"temperature": 4.0, "seeds": (0, 1), "recipe": {"num_epochs": 3}}


def test_a_new_folder_is_made_with_the_configuration(tmp_path):
    directory = RunDirectory.open(tmp_path / "a" / "run", config=CONFIG)
    assert (
        directory.path / "config.yaml"
    ).read_text() == "temperature: 4.0\nseeds:\n- 0\n- 1\nrecipe:\n  num_epochs: 3\n"


def test_without_a_folder_nothing_is_written():
    directory = RunDirectory.open(None, config=CONFIG)
    assert directory.path is None


def test_the_same_configuration_goes_on_and_another_is_refused_with_what_differs(tmp_path):
    RunDirectory.open(tmp_path / "run", config=CONFIG)
    RunDirectory.open(tmp_path / "run", config=CONFIG)
    with pytest.raises(OutputError, match="another configuration") as refused:
        RunDirectory.open(tmp_path / "run", config=CONFIG | {"temperature": 8.0})
    assert "-temperature: 4.0" in str(refused.value)
    assert "+temperature: 8.0" in str(refused.value)


def test_a_finished_run_is_kept_unless_overwriting_is_asked_for(tmp_path):
    path = RunDirectory.open(tmp_path / "run", config=CONFIG).path
    (path / "record.json").write_text("{}")
    (path / "checkpoints" / "old.pt").write_text("")
    (path / "my-notes.txt").write_text("keep me")
    with pytest.raises(OutputError, match="finished run"):
        RunDirectory.open(path, config=CONFIG)
    RunDirectory.open(path, config=CONFIG, overwrite=True)
    assert not (path / "record.json").exists()
    assert not list((path / "checkpoints").iterdir())
    assert (path / "my-notes.txt").read_text() == "keep me"


def test_other_peoples_folders_and_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match="not a run's"):
        RunDirectory.open(tmp_path, config=CONFIG, overwrite=True)
    with pytest.raises(OutputError, match="is a file"):
        RunDirectory.open(tmp_path / "thesis.tex", config=CONFIG)


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="needs /proc, a folder that even root cannot write")
def test_a_place_that_cannot_be_written_is_named():
    with pytest.raises(OutputError, match="/proc/run"):
        RunDirectory.open(Path("/proc/run"), config=CONFIG)
