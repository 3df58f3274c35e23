"""The log that keeps every scalar."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from limbeck.errors import OutputError


class EventLog:
    """``events.jsonl``: one JSON object a line, appended, each with the event's name, the network's and the time.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._start = time.monotonic()
        self._may_be_cut = True  # what an earlier process wrote may end in half a line

    def write(self, event: str, network: str, **values: Any) -> None:
        """Append one event. Values that are dataclasses are written as objects; NaN is written as null.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._path is None:
            return
        content = {"event": event, "network": network, "log_seconds": round(time.monotonic() - self._start, 3)}
        for name, value in values.items():
            content[name] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                if self._may_be_cut and file.tell() and not _ends_with_newline(self._path):
                    file.write("\n")  # the last line was cut when its process was killed
                self._may_be_cut = False
                file.write(json.dumps(_finite(content)) + "\n")
        except OSError as error:
            raise OutputError(
                f"Cannot write {self._path}.", received=error.strerror, expected="a writable folder with free space"
            ) from error


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return None
    return value
