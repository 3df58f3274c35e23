"""The folder of a run: made before anything is trained, gone on with after a stop, never overwritten unasked."""

from __future__ import annotations

import difflib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from limbeck.errors import OutputError
from limbeck.records import make_folder, write_text

CONFIG_FILE = "config.yaml"
RECORD_FILE = "record.json"
REPORT_FILE = "report.html"
EVENTS_FILE = "events.jsonl"
CHECKPOINTS = "checkpoints"
SEARCH_FILES = ("search.json", "search.journal")


@dataclass(frozen=True)
class RunDirectory:
    """Where a run writes.

    Args:
        path: the folder, or None to keep nothing on disk until ``result.save``.
    """

    path: Path | None

    @staticmethod
    def open(path: Path | None, *, config: dict[str, Any], overwrite: bool = False) -> RunDirectory:
        """Make the folder, or go on with the unfinished run of the same configuration that is in it.

        Raises:
            OutputError: not writable, a finished run, a run of another configuration, or other people's files.
        """
        if path is None:
            return RunDirectory(None)
        text = dump_config(config)
        if overwrite and (path / CONFIG_FILE).exists():
            _remove_run(path)
        else:
            _check_free(path, text)
        make_folder(path / CHECKPOINTS)
        write_text(path / CONFIG_FILE, text)
        return RunDirectory(path)


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
    if not (path / CONFIG_FILE).exists():
        if any(path.iterdir()):
            raise OutputError(
                f"{path} holds files that are not a run's.",
                expected="an empty or missing folder",
                remedy="choose another --out",
            )
        return
    if (path / RECORD_FILE).exists():
        raise OutputError(
            f"{path} holds a finished run.",
            expected="an empty folder, or a stopped run of the same configuration",
            remedy="choose another --out, or add --overwrite to remove the old run",
        )
    found = (path / CONFIG_FILE).read_text(encoding="utf-8")
    if found != config:
        changes = [
            line
            for line in difflib.unified_diff(found.splitlines(), config.splitlines(), lineterm="", n=0)
            if line[:1] in "+-" and line[:3] not in ("+++", "---")
        ]
        raise OutputError(
            f"{path} holds a stopped run of another configuration.",
            received="; ".join(changes[:8]),
            expected="the same settings, to go on with it",
            remedy="choose another --out, or add --overwrite to remove the old run",
        )


def _remove_run(path: Path) -> None:
    """Remove the files that a run writes, and nothing else."""
    for name in (
        CONFIG_FILE,
        RECORD_FILE,
        REPORT_FILE,
        EVENTS_FILE,
        "student.safetensors",
        "model.json",
        *SEARCH_FILES,
    ):
        (path / name).unlink(missing_ok=True)
    for folder in (CHECKPOINTS, "teachers", "targets", "members", "exits", "trials", "tensorboard"):
        shutil.rmtree(path / folder, ignore_errors=True)
