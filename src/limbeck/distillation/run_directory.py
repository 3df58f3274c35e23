"""The folder of a run: made before anything is trained, gone on with after a stop, never overwritten unasked."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from limbeck.errors import OutputError
from limbeck.ranks.group import ALONE, Ranks
from limbeck.records import FolderLock, make_folder, remove_stale, write_text
from limbeck.records.files import remedy_of
from limbeck.records.search_record import SEARCH_FILE

CONFIG_FILE = "config.yaml"
RECORD_FILE = "record.json"
REPORT_FILE = "report.html"
EVENTS_FILE = "events.jsonl"
CHECKPOINTS = "checkpoints"
MARKER = ".limbeck-run"
MARK = "A run of limbeck writes this folder.\n"
ASIDE = ".overwritten"  # within the folder: the run before, until the new one is whole
TARGETS_FOLDER, TRIALS_FOLDER = "targets", "trials"
SEARCH_JOURNAL = "search.journal"
OWN_FILES = (
    CONFIG_FILE,
    RECORD_FILE,
    REPORT_FILE,
    EVENTS_FILE,
    "student.safetensors",
    "model.json",
    "probe.json",
    SEARCH_FILE,
    SEARCH_JOURNAL,
)
OWN_FOLDERS = (CHECKPOINTS, "teachers", TARGETS_FOLDER, "members", "exits", "fused", TRIALS_FOLDER, "tensorboard")
OWN_FILE = re.compile(r"\.(safetensors|json|jsonl|pt|distcp|metadata|bin|yaml|html)(\.partial.*)?$|\.lock$|tfevents")


class FinishedRun(OutputError):
    """The folder holds the finished run of this very configuration."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} holds a finished run of this configuration.",
            expected="an empty folder, or a stopped run of the same configuration",
            remedy="read its record.json, choose another --out, or add --overwrite to run it again",
        )
        self.path = path


@dataclass(frozen=True)
class RunDirectory:
    """Where a run writes.

    Args:
        path: the folder, or None to keep nothing on disk until ``result.save``.
        config: of the run, as YAML.
        overwrites: whether a run that is there makes room for this one.
        lock: of the folder, from ``begin`` to ``end`` or the end of the job.
        is_written: whether this process writes it; of several ranks only the first does.
    """

    path: Path | None
    config: str = ""
    overwrites: bool = False
    lock: FolderLock | None = field(default=None, compare=False)
    is_written: bool = True

    @staticmethod
    def check(
        path: Path | None, *, config: dict[str, Any], overwrite: bool = False, ranks: Ranks = ALONE
    ) -> RunDirectory:
        """See that the folder can be made, or holds the unfinished run of the same configuration; write nothing.

        Of several ranks the first looks, and all go by what it finds.

        Raises:
            FinishedRun: the run of this configuration, finished.
            FolderInUse: another process is at work on it.
            OutputError: a run of another configuration, or other people's files.
        """
        if path is None:
            return RunDirectory(None)
        text, lock = dump_config(config), run_lock(path)

        def makes_room() -> bool:
            _check_name(path)
            is_run = (path / MARKER).is_file()
            lock.check_free()
            if overwrite and is_run:
                _check_own(path)
            else:
                _check_free(path, text)
            return overwrite and is_run

        return RunDirectory(path, text, ranks.from_first(makes_room), lock, is_written=ranks.is_first)

    def begin(self) -> None:
        """Make the folder, the marker by which it is known first; a run that is to be overwritten is moved aside.

        The marker is locked: no other process can begin here until this job ends.

        Raises:
            FinishedRun: another process has finished the run of this configuration meanwhile.
            FolderInUse: another process is at work on it.
            OutputError: not writable.
        """
        if self.path is None or not self.is_written:
            return
        make_folder(self.path)
        if self.lock is not None:
            self.lock.acquire()
        if self.overwrites:
            try:
                _move_aside(self.path)
            except OSError as error:
                raise OutputError(
                    f"The run in {self.path} cannot be moved aside.",
                    received=error.strerror,
                    expected="a folder that may be written",
                    remedy=remedy_of(error),
                ) from error
        else:
            _check_free(self.path, self.config)  # again: others may have been at work since it was checked
        remove_stale(self.path)
        make_folder(self.path / CHECKPOINTS)
        write_text(self.path / CONFIG_FILE, self.config)

    def end(self) -> None:
        """Remove the run that was moved aside, now that the new one is whole, and let others at the folder."""
        if self.path is not None:
            shutil.rmtree(self.path / ASIDE, ignore_errors=True)
        if self.lock is not None:
            self.lock.release()


def run_lock(path: Path) -> FolderLock:
    """Return the lock of a run's folder: its marker."""
    return FolderLock(path / MARKER, guards=path, text=MARK)


def dump_config(config: dict[str, Any]) -> str:
    """Return a configuration as YAML, in its own order."""
    text: str = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
    return text


def plain(value: Any) -> Any:
    """Return settings as JSON and YAML hold them: tuples become lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _check_free(path: Path, config: str) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"{path} is a file.", expected="a folder", remedy="choose another --out")
    if not (path / MARKER).is_file():
        if any(path.iterdir()):
            raise OutputError(
                f"{path} holds files that are not a run's.",
                expected="an empty or missing folder",
                remedy="choose another --out",
            )
        return
    if not (path / CONFIG_FILE).exists():
        return  # it was stopped before it wrote anything else
    found = (path / CONFIG_FILE).read_text(encoding="utf-8", errors="replace")
    is_finished = (path / RECORD_FILE).exists()
    if found == config and is_finished:
        raise FinishedRun(path)
    if found != config:
        changes = [
            line
            for line in difflib.unified_diff(found.splitlines(), config.splitlines(), lineterm="", n=0)
            if line[:1] in "+-" and line[:3] not in ("+++", "---")
        ]
        raise OutputError(
            f"{path} holds a {'finished' if is_finished else 'stopped'} run of another configuration.",
            received="; ".join(changes[:8]),
            expected="the same settings",
            remedy="choose another --out, or add --overwrite to remove the old run",
        )


def _check_name(path: Path) -> None:
    try:
        path.exists()
    except OSError as error:
        raise OutputError(
            f"No folder can be called {path!s:.80}...", received=error.strerror, remedy=remedy_of(error)
        ) from error


def _check_own(path: Path) -> None:
    """Raise OutputError where a folder of a run that is to be overwritten holds a file that no run writes."""
    foreign = [
        file
        for name in OWN_FOLDERS
        for file in (path / name).rglob("*")
        if file.is_symlink() or (file.is_file() and not OWN_FILE.search(file.name))
    ]
    if foreign:
        raise OutputError(
            f"{path} holds a file that no run has written; overwriting would remove it.",
            received=str(foreign[0].relative_to(path)),
            expected="a run's own files in " + ", ".join(OWN_FOLDERS),
            remedy="move it elsewhere, or choose another --out",
        )


def _move_aside(path: Path) -> None:
    """Move a run's own files into a folder within, where they stay until the new run is whole.

    Where an earlier run lies there already, what is moved is one that took its place and was stopped: it is removed.
    """
    aside = path / ASIDE
    holds_earlier = (aside / RECORD_FILE).exists()
    make_folder(aside)
    for name in (*OWN_FILES, *OWN_FOLDERS):
        own = path / name
        if not own.exists():
            continue
        if holds_earlier or (aside / name).exists():
            shutil.rmtree(own) if own.is_dir() else own.unlink()
        else:
            os.replace(own, aside / name)
