"""Flips, digits, cuts and swaps in everything that is written: refused, made again, or without effect."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from children import Outcome, run
from jobs import SMALL
from report import Part

READERS: dict[str, list[list[str]]] = {
    "run": [
        ["evaluate", "run", "--data", "data.npz", "--device", "cpu"],
        ["report", "run"],
        ["distill", "--student", "mlp:widths=4", "--teacher", "run", *SMALL, "--out", "next"],
    ],
    "store": [
        ["verify", "store"],
        ["distill", "--student", "mlp:widths=4", "--store", "store", *SMALL, "--out", "next"],
    ],
    "checkpoint": [["distill", "--student", "mlp:widths=4", "--teacher", "mlp:widths=8", *SMALL, "--out", "stopped"]],
}
FOLDERS = {"run": "run", "store": "store", "checkpoint": "stopped"}


def hurt(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return what was done to a file's bytes, and what came of it."""
    kind = draw.choice(("flip", "digit", "cut", "swap", "longer", "empty"))
    changed = bytearray(content)
    if not content or kind == "empty":
        return "empty", b"" if content else b"\0"
    place = draw.randrange(len(content))
    if kind == "flip":
        changed[place] ^= 1 << draw.randrange(8)
    elif kind == "digit":
        digits = [index for index, byte in enumerate(content) if chr(byte).isdigit()]
        if digits:
            place = draw.choice(digits)
            changed[place] = ord("0") + (content[place] - ord("0") + draw.randint(1, 9)) % 10
    elif kind == "cut":
        del changed[place:]
    elif kind == "swap":
        other = draw.randrange(len(content))
        changed[place], changed[other] = changed[other], changed[place]
    else:
        changed += bytes([draw.randrange(256)])
    return kind, bytes(changed)


class Damage:
    """Damages files of a run, a store and a stopped run, and reads them.

    Args:
        base: a folder that holds them and the data.
        draw: of files and places.
    """

    def __init__(self, base: Path, draw: random.Random) -> None:
        self.base, self.draw = base, draw
        self.sound: dict[str, str] = {}

    def attempt(self, part: Part) -> None:
        """Damage one file, read its folder, and see that it is refused or that nothing differs."""
        kind = self.draw.choice(list(READERS))
        reader = self.draw.choice(READERS[kind])
        own = FOLDERS[kind]
        files = [path for path in sorted((self.base / own).rglob("*")) if path.is_file() and path.suffix != ".lock"]
        path = self.draw.choice(files).relative_to(self.base)
        how, changed = hurt((self.base / path).read_bytes(), self.draw)
        if changed == (self.base / path).read_bytes():
            part.add("nothing changed")
            return
        sound = self._result(reader, None, b"")
        found, outcome = self._read(reader, path, changed)
        complaint = outcome.complaint(codes=(0, 2), seconds=60.0)
        if not complaint and outcome.code == 0 and found != sound:
            complaint = "another result without a word"
        ending = "refused" if outcome.code == 2 else "the same result"
        what = f"{' '.join(reader[:2])}, {how} in {path}"
        part.add("not as promised" if complaint else ending, f"{what}: {complaint}" if complaint else "")

    def _result(self, reader: list[str], path: Path | None, changed: bytes) -> str:
        key = " ".join(reader)
        if key not in self.sound:
            self.sound[key], outcome = self._read(reader, path, changed)
            if outcome.code != 0:
                raise RuntimeError(f"{key}: {outcome.text[-2000:]}")
        return self.sound[key]

    def _read(self, reader: list[str], path: Path | None, changed: bytes) -> tuple[str, Outcome]:
        folder = self.base.with_name(f"{self.base.name}-copy")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.base, folder)
        if path is not None:
            (folder / path).write_bytes(changed)
        outcome = run(reader, folder)
        written = next((name for name in ("next", "stopped") if name in reader), None)
        student = folder / (written or "") / "student.safetensors"
        if written is not None:
            return str(hash(student.read_bytes())) if student.is_file() else "", outcome
        return outcome.text if reader[0] == "evaluate" else "", outcome
