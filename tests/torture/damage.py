"""Flips, digits, cuts and swaps in everything that is written: refused, made again, or without effect."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from children import Outcome, run
from jobs import MUTUAL, SMALL, TAUGHT, fingerprint
from report import Part

EVALUATE = ["--data", "data.npz", "--device", "cpu"]
STUDENT = ["distill", "--student", "mlp:widths=4", *SMALL, "--out", "next"]
READERS: dict[str, list[list[str]]] = {  # a folder, and the commands that read it
    "run": [
        ["evaluate", "run", *EVALUATE],
        ["report", "run"],
        ["verify", "run"],
        ["export", "run", "--out", "next"],
        [*STUDENT, "--teacher", "run"],
    ],
    "store": [["verify", "store"], [*STUDENT, "--store", "store"]],
    "stopped": [[*TAUGHT, "--out", "stopped"]],
    "stopped-mutual": [[*MUTUAL, "--out", "stopped-mutual"]],
    "self": [
        ["evaluate", "self", *EVALUATE],
        ["evaluate", "self/exits", *EVALUATE, "--threshold", "0.9"],
        ["verify", "self"],
    ],
    "search": [["verify", "search"], ["report", "search"], ["evaluate", "search", *EVALUATE]],
    "exported": [["verify", "exported"], [*STUDENT, "--teacher", "onnx:exported/model.onnx"]],
    "committee": [["verify", "committee"], ["evaluate", "committee", *EVALUATE]],
}
STOPPED = ("stopped", "stopped-mutual")


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
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.sound: dict[str, str] = {}

    def attempt(self, part: Part, draw: random.Random) -> None:
        """Damage one file, read its folder, and see that it is refused or that nothing differs."""
        own = draw.choice(list(READERS))
        reader = draw.choice(READERS[own])
        files = [path for path in sorted((self.base / own).rglob("*")) if path.is_file() and path.suffix != ".lock"]
        path = draw.choice(files).relative_to(self.base)
        how, changed = hurt((self.base / path).read_bytes(), draw)
        if changed == (self.base / path).read_bytes():
            part.add("nothing changed")
            return
        sound = self._result(reader)
        found, outcome = self._read(reader, path, changed)
        complaint = outcome.complaint(codes=(0, 2), seconds=60.0)
        if not complaint and outcome.code == 0 and found != sound:
            complaint = "another result without a word"
        ending = "refused" if outcome.code == 2 else "the same result"
        what = f"{' '.join(reader[:2])}, {how} in {path}"
        part.add("not as promised" if complaint else ending, f"{what}: {complaint}" if complaint else "")

    def _result(self, reader: list[str]) -> str:
        key = " ".join(reader)
        if key not in self.sound:
            self.sound[key], outcome = self._read(reader, None, b"")
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
        written = next((name for name in ("next", *STOPPED) if name in reader), None)
        if written is not None:
            return repr(fingerprint(folder / written)), outcome
        return outcome.text if reader[0] == "evaluate" else "", outcome
