"""A run's folder is checked before training, gone on with after a stop, and never overwritten unasked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from limbeck.distillation import RunDirectory, run_directory
from limbeck.distillation.run_directory import FinishedRun
from limbeck.errors import OutputError
from limbeck.records import lock_scope

CONFIG = {"temperature": 4.0, "seeds": (0, 1), "recipe": {"num_epochs": 3}}


def open_run(path: Path | None, config: dict[str, object] = CONFIG, *, overwrite: bool = False) -> RunDirectory:
    directory = RunDirectory.check(path, config=config, overwrite=overwrite)
    with lock_scope():
        directory.begin()
    return directory


def finished(path: Path) -> Path:
    open_run(path)
    (path / "record.json").write_text("{}")
    (path / "checkpoints" / "old.pt").write_text("old")
    return path


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_a_new_folder_is_made_with_the_configuration(tmp_path):
    directory = open_run(tmp_path / "a" / "run")
    assert (
        directory.path / "config.yaml"
    ).read_text() == "temperature: 4.0\nseeds:\n- 0\n- 1\nrecipe:\n  num_epochs: 3\n"


def test_without_a_folder_nothing_is_written():
    directory = open_run(None)
    assert directory.path is None


def test_the_same_configuration_goes_on_and_another_is_refused_with_what_differs(tmp_path):
    open_run(tmp_path / "run")
    open_run(tmp_path / "run")
    with pytest.raises(OutputError, match="another configuration") as refused:
        open_run(tmp_path / "run", CONFIG | {"temperature": 8.0})
    assert "-temperature: 4.0" in str(refused.value)
    assert "+temperature: 8.0" in str(refused.value)


def test_checking_writes_nothing(tmp_path):
    RunDirectory.check(tmp_path / "run", config=CONFIG)
    assert not (tmp_path / "run").exists()
    path = finished(tmp_path / "run")
    before = files(path)
    RunDirectory.check(path, config=CONFIG, overwrite=True)
    assert files(path) == before


def test_a_finished_run_is_kept_unless_overwriting_is_asked_for(tmp_path):
    path = finished(tmp_path / "run")
    (path / "my-notes.txt").write_text("keep me")
    with pytest.raises(FinishedRun, match="finished run of this configuration"):
        open_run(path)
    with pytest.raises(OutputError, match="finished run of another"):
        open_run(path, CONFIG | {"temperature": 8.0})
    directory = open_run(path, overwrite=True)
    assert not (path / "record.json").exists()
    assert not list((path / "checkpoints").iterdir())
    assert (path / ".overwritten" / "checkpoints" / "old.pt").read_text() == "old"  # until the new run is whole
    open_run(path)
    open_run(path, CONFIG | {"temperature": 8.0}, overwrite=True)  # the stopped one makes room, the finished one stays
    assert (path / ".overwritten" / "record.json").read_text() == "{}"
    directory.end()
    assert not (path / ".overwritten").exists()
    assert (path / "my-notes.txt").read_text() == "keep me"


@pytest.mark.parametrize("what", ["config.yaml", "record.json"])
def test_a_folder_of_the_users_is_no_run_whatever_lies_in_it(tmp_path, what):
    (tmp_path / what).write_text("mine")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.pt").write_text("mine")
    before = files(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="not a run's"):
            open_run(tmp_path, overwrite=overwrite)
    assert files(tmp_path) == before


def test_a_file_of_the_users_within_a_run_is_not_removed(tmp_path):
    path = finished(tmp_path / "run")
    (path / "targets").mkdir()
    (path / "targets" / "labels.csv").write_text("mine")
    with pytest.raises(OutputError, match="no run has written") as refused:
        open_run(path, overwrite=True)
    assert "targets/labels.csv" in str(refused.value)
    assert (path / "targets" / "labels.csv").read_text() == "mine"
    assert (path / "record.json").exists()


def test_a_run_that_was_killed_before_its_configuration_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "run"

    def killed(*arguments):
        if arguments[0].name == "config.yaml":
            raise KeyboardInterrupt
        return written(*arguments)

    written = run_directory.write_text
    monkeypatch.setattr(run_directory, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        open_run(path)
    assert files(path) == {".limbeck-run"}
    monkeypatch.undo()
    open_run(path)
    assert (path / "config.yaml").exists()


def test_other_peoples_folders_and_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match="not a run's"):
        open_run(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="is a file"):
        open_run(tmp_path / "thesis.tex")


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="needs /proc, a folder that even root cannot write")
def test_a_place_that_cannot_be_written_is_named():
    with pytest.raises(OutputError, match="/proc/run"):
        open_run(Path("/proc/run"))
