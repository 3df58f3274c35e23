"""Flips, digits, cuts and swaps in everything that is written: refused, made again, or without effect."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from children import Outcome, run
from jobs import CACHE, MACHINE, MUTUAL, SMALL, STORE, TAUGHT, fingerprint
from report import Part
from together import run_here, run_together

EVALUATE = ["--data", "data.npz", "--device", "cpu"]
PICTURES = ["--data", "pictures.zip", *MACHINE]
PICTURED = ["train", "--student", "mlp:widths=4", "--epochs", "1", "--seeds", "1", *PICTURES]
STUDENT = ["distill", "--student", "mlp:widths=4", *SMALL, "--out", "next"]
CHECKED: dict[str, list[list[str]]] = {  # a folder, and the commands that read it and write nothing
    "run": [["evaluate", "run", *EVALUATE], ["verify", "run"]],
    "store": [["verify", "store"]],
    "self": [
        ["evaluate", "self", *EVALUATE],
        ["evaluate", "self/exits", *EVALUATE, "--threshold", "0.9"],
        ["verify", "self"],
    ],
    "search": [["verify", "search"], ["evaluate", "search", *EVALUATE]],
    "exported": [["verify", "exported"]],
    "committee": [["verify", "committee"], ["evaluate", "committee", *EVALUATE]],
    CACHE: [["evaluate", "pictured", "--data", "pictures.zip", "--device", "cpu"]],
}
USED: dict[str, list[list[str]]] = {  # a folder, and the commands that make something of it
    "run": [["report", "run"], ["export", "run", "--out", "next"], [*STUDENT, "--teacher", "run"]],
    "store": [[*STUDENT, "--store", "store"], [*STORE, "--out", "store"]],
    "stopped": [[*TAUGHT, "--out", "stopped"]],
    "stopped-mutual": [[*MUTUAL, "--out", "stopped-mutual"]],
    "search": [["report", "search"]],
    "exported": [[*STUDENT, "--teacher", "onnx:exported/model.onnx"]],
    CACHE: [[*PICTURED, "--out", "next"], [*PICTURED, "--image-size", "9", "--out", "next"]],
}
WRITTEN = ("next", "stopped", "stopped-mutual", "store")  # what is compared where a command writes it
AGAIN = "made again"
TOGETHER = 20
Runner = Callable[[list[str], Path], Outcome]
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
    """Damages files of runs, stores, caches and what else is written, and reads them.

    Args:
        base: a folder that holds them and the data.
    """

    def __init__(self, base: Path) -> None:
        self.base, self.folder = base, base.with_name("damaged")
        self.sound: dict[str, str] = {}

    def attempt(self, part: Part, draw: random.Random, number: int) -> None:
        """Damage one file and use its folder, in a process of its own; then some that are checked, in one process."""
        part.add(*self._check(*_drawn(USED, number, draw.getrandbits(64)), run))
        chosen = [_drawn(CHECKED, number + count, draw.getrandbits(64)) for count in range(TOGETHER)]
        for _, reader, _ in chosen:
            self._result(reader)
        self._copy()
        found = run_together([partial(self._check, *one, run_here) for one in chosen], self.base.parent)
        for count, one in enumerate(chosen):
            ending, complaint = found[count] if count < len(found) else ("", "not reached")
            part.add(*(self._check(*one, run) if complaint else (ending, "")))

    def _check(self, own: str, reader: list[str], seed: int, run_it: Runner) -> tuple[str, str]:
        """Damage one file of a folder, and see that its reader refuses it or that nothing differs."""
        draw = random.Random(seed)
        sound = self._result(reader)
        if run_it is run:
            self._copy()
        files = sorted(path for path in (self.folder / own).rglob("*") if path.is_file() and path.suffix != ".lock")
        path = draw.choice(files)
        content = path.read_bytes()
        how, changed = hurt(content, draw)
        if changed == content:
            return "nothing changed", ""
        path.write_bytes(changed)
        found, outcome = self._read(reader, run_it)
        path.write_bytes(content)
        complaint = outcome.complaint(codes=(0, 2), seconds=60.0)
        if not complaint and outcome.code == 0 and found != sound:
            complaint = "another result without a word"
        what = f"{' '.join(reader[:2])}, {how} in {path.relative_to(self.folder)}: {complaint}"
        ending = "refused" if outcome.code == 2 else "made again" if AGAIN in outcome.text else "the same result"
        return ending, what if complaint else ""

    def _result(self, reader: list[str]) -> str:
        """Return what a reader finds where nothing is damaged."""
        key = " ".join(reader)
        if key not in self.sound:
            self._copy()
            self.sound[key], outcome = self._read(reader, run)
            if outcome.code != 0:
                raise RuntimeError(f"{key}: {outcome.text[-2000:]}")
        return self.sound[key]

    def _copy(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.base, self.folder)

    def _read(self, reader: list[str], run_it: Runner) -> tuple[str, Outcome]:
        outcome = run_it(reader, self.folder)
        written = next((name for name in WRITTEN if reader[-1] == name and reader[0] != "verify"), None)
        if written is not None:
            return repr(fingerprint(self.folder / written)), outcome
        told = [line for line in outcome.text.splitlines() if AGAIN not in line]
        return "\n".join(told) if reader[0] == "evaluate" else "", outcome


def _drawn(readers: dict[str, list[list[str]]], number: int, seed: int) -> tuple[str, list[str], int]:
    """Return a folder, one of its readers and a seed: the folders one after the other."""
    own = list(readers)[number % len(readers)]
    return own, readers[own][seed % len(readers[own])], seed
