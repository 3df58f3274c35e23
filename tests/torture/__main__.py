"""The campaign: ``make torture`` for an hour, ``TORTURE=quick`` for two minutes, ``TORTURE=MINUTES`` for as long.

The same seed gives the same attempts, as many as the time allows; ``SEED`` sets another one.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from children import run
from damage import Damage
from inputs import Inputs
from jobs import COMMANDS, SMALL, STORE, TEACHER, write_data
from report import Part, write_page
from stops import Stops
from within import jobs, numbers

SHARES = {"kill": 0.22, "cut": 0.16, "fail": 0.12, "damage": 0.18, "inputs": 0.22, "numbers": 0.06}  # of the time
PROMISES = {
    "kill": "SIGKILL, SIGTERM or SIGINT at a random moment; the same command then ends in the same bytes. In its first "
    "tenth of a second a process does not listen to signals yet.",
    "cut": "Killed at one of its file operations; the same command then ends in the same bytes and leaves "
    "nothing behind.",
    "fail": "From one file operation on every write fails (disk full, input/output error, read-only): exit code 2 with "
    "a message, or 0 where it can do without; with room again the same command ends in the same bytes.",
    "damage": "Flips, digits, cuts, swaps, additions in files of a run, a store and a stopped run: refused, or the "
    "same result.",
    "inputs": "Generated configurations, flags, arrays, archives, images, sounds and weights: a message within 5 s and "
    "500 MiB, no traceback, no code run, nothing written outside.",
    "numbers": "Infinities, NaN, 1e30, temperatures from 1e-6 to 1e6, one class, one sample, learning rates that "
    "explode.",
    "jobs": "Jobs one after another in one process: memory, descriptors, threads and temporary files stay.",
}


def warm(folder: Path) -> None:
    """Import once what the children need, by doing once what they do."""
    import torch

    import limbeck.commands.cache
    import limbeck.commands.distill
    import limbeck.commands.evaluate
    import limbeck.commands.export
    import limbeck.commands.specialists
    import limbeck.commands.train
    import limbeck.commands.verify

    inputs, labels = torch.randn(60, 4), torch.arange(60) % 3
    recipe = limbeck.TrainConfig(num_epochs=1)
    limbeck.distill(
        "mlp:widths=4",
        "mlp:widths=4",
        train=(inputs, labels),
        recipe=recipe,
        seeds=1,
        device="cpu",
        progress="silent",
        out=folder / "warm",
    )


def prepare(base: Path) -> None:
    """Fill a folder with data, a teacher, a run, a store and a run that was stopped."""
    base.mkdir()
    write_data(base)
    cut = ["distill", "--student", "mlp:widths=4", "--teacher", "mlp:widths=8", *SMALL, "--out"]
    for arguments in (TEACHER, [*cut, "run"], [*STORE, "--out", "store"], [*cut, "stopped"]):
        outcome = run(arguments, base)
        if outcome.code:
            sys.exit(outcome.text)
    for name in ("record.json", "report.html", "student.safetensors", "model.json"):
        (base / "stopped" / name).unlink(missing_ok=True)  # as where it is stopped before its end


def spend(seconds: float, attempt: Callable[[], None]) -> None:
    """Repeat attempts for so long, at least once."""
    end = time.perf_counter() + seconds
    while True:
        attempt()
        if time.perf_counter() >= end:
            return


def main() -> int:
    """Run the campaign, write its page, and return 1 where a promise was broken."""
    asked, seed = os.environ.get("TORTURE", "60"), int(os.environ.get("SEED", "0"))
    total = 60 * (2.0 if asked == "quick" else float(asked))
    start = time.perf_counter()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    root = Path(tempfile.mkdtemp(prefix="limbeck-torture-"))
    os.environ["LIMBECK_CACHE"] = str(root / "cache")
    (root / "temporary").mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(root / "temporary")  # where nobody else leaves files
    try:
        warm(root)
        base, lone, outside = root / "base", root / "lone", root / "outside"
        prepare(base)
        outside.mkdir()

        def clear() -> None:
            shutil.rmtree(lone, ignore_errors=True)
            lone.mkdir()
            write_data(lone)

        stops, damage = Stops(base, random.Random(seed)), Damage(base, random.Random(seed + 1))
        generated, draw = Inputs(lone, outside, random.Random(seed + 2)), random.Random(seed + 3)
        for name in COMMANDS:
            stops.reference(name)
        parts = {name: Part(name, promise) for name, promise in PROMISES.items()}
        attempts: dict[str, Callable[[], None]] = {
            "kill": lambda: stops.kill(parts["kill"]),
            "cut": lambda: stops.cut(parts["cut"]),
            "fail": lambda: stops.fail(parts["fail"]),
            "damage": lambda: damage.attempt(parts["damage"]),
            "inputs": lambda: generated.attempt(parts["inputs"], clear),
            "numbers": lambda: numbers(parts["numbers"], draw),
        }
        for name, share in SHARES.items():
            spend(share * total, attempts[name])
            print(f"{name}: {parts[name].attempts} attempts, {len(parts[name].complaints)} complaints", flush=True)
        jobs(parts["jobs"], root, 20 if total < 700 else 500 if total > 1800 else 100)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    command = f"TORTURE={asked} make torture" + (f" SEED={seed}" if seed else "")
    write_page(list(parts.values()), command=command, seconds=time.perf_counter() - start)
    for part in parts.values():
        for complaint in part.complaints:
            print(f"{part.name}: {complaint}")
    return 1 if any(part.complaints for part in parts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
