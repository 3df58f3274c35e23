"""The campaign: ``make torture`` for an hour, ``TORTURE=quick`` for two minutes, ``TORTURE=MINUTES`` for as long.

Attempt n of a part is the same in every campaign of a seed (``SEED``), and each part gets as many as its share of the
time allows. What was found is kept in ``build/torture-SEED.json`` after every attempt: a campaign that was stopped goes
on from there when it is given again. ``NOTE`` is a sentence for the page, such as what was mended since.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from children import run
from damage import STOPPED, Damage
from disks import FullDisk
from flat import flat
from inputs import Inputs
from jobs import MACHINE, MUTUAL, SEARCH, SELF, SMALL, SPECIALISTS, STORE, TAUGHT, TEACHER, write_data
from numbers_at_ends import numbers
from report import Part, write_page
from state import Attempt, Campaign
from stops import Stops

KEPT = Path(__file__).parents[2] / "build"
SHARES = {"kill": 0.25, "cut": 0.18, "fail": 0.1, "full disk": 0.08, "damage": 0.14, "inputs": 0.2, "numbers": 0.05}
JOBS_SHARE = 0.1  # of the time, after all else
PROMISES = {
    "kill": "SIGKILL, SIGTERM or SIGINT at a random moment, to all processes of a job or to one; the same command then "
    "ends in the same bytes. Exit codes are the documented ones, unless the signal came where Python was not ready.",
    "cut": "Killed at one of its file operations; the same command then ends in the same bytes and leaves "
    "nothing behind.",
    "fail": "From one file operation on every write fails (disk full, input/output error, read-only): exit code 2 with "
    "a message, or 0 where it can do without; with room again the same command ends in the same bytes.",
    "full disk": "A disk in memory with room for a part of what the job writes (root alone can make one): exit code 2 "
    "with a message, or 0 where it can do without; with room the same command ends in the same bytes.",
    "damage": "Flips, digits, cuts, swaps, additions in files of runs, stores, stopped runs, searches, committees and "
    "exports: refused, or the same result.",
    "inputs": "Generated configurations, flags, arrays, archives, images, sounds, clips, weights, ONNX files and "
    "programs: a message within 5 s of a processor's time and 500 MiB, no traceback, no code run, nothing written "
    "outside.",
    "numbers": "Infinities, NaN, 1e30, temperatures from 1e-6 to 1e6, one class, one sample, learning rates that "
    "explode.",
    "jobs": "Jobs one after another in one process: memory, descriptors, threads and temporary files stay.",
}


def warm(folder: Path) -> None:
    """Import once what the children need, by doing once what they do."""
    import av  # noqa: F401
    import kaldi_native_fbank  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import optuna  # noqa: F401
    import sklearn.ensemble
    import sklearn.linear_model
    import sklearn.pipeline  # noqa: F401
    import soundfile  # noqa: F401
    import torch
    import torch.distributed.elastic.rendezvous.c10d_rendezvous_backend
    import torch.distributed.launcher.api
    import torch.onnx._internal.exporter._core

    import limbeck.commands.cache
    import limbeck.commands.distill
    import limbeck.commands.evaluate
    import limbeck.commands.export
    import limbeck.commands.reproduce
    import limbeck.commands.search
    import limbeck.commands.specialists
    import limbeck.commands.train
    import limbeck.commands.verify
    from limbeck.recipes import load_recipe

    load_recipe("zhang2018-mutual-digits")
    inputs, labels = torch.randn(60, 4), torch.arange(60) % 3
    settings = {"train": (inputs, labels), "seeds": 1, "device": "cpu", "progress": "silent"}
    recipe = limbeck.TrainConfig(num_epochs=1)
    limbeck.distill("mlp:widths=4", "mlp:widths=4", **settings, recipe=recipe, out=folder / "warm")


def prepare(base: Path) -> None:
    """Fill a folder with data, networks, a store and all that is damaged later."""
    base.mkdir()
    write_data(base)
    committee = [*SPECIALISTS, *MACHINE, "--data", "data.npz", "--out", "committee"]
    commands = [TEACHER, [*TAUGHT, "--out", "run"], [*STORE, "--out", "store"], committee]
    commands += [[*TAUGHT, "--out", "stopped"], [*MUTUAL, "--out", "stopped-mutual"], [*SELF, "--out", "self"]]
    commands += [[*SEARCH, *SMALL, "--out", "search"], ["export", "run", "--out", "exported"]]
    for arguments in commands:
        outcome = run(arguments, base)
        if outcome.code:
            sys.exit(f"limbeck {' '.join(arguments)}: {outcome.text[-2000:]}")
    for stopped in STOPPED:
        for name in ("record.json", "report.html", "student.safetensors", "model.json"):
            (base / stopped / name).unlink(missing_ok=True)  # as where it is stopped before its end


def attempts_of(root: Path) -> dict[str, Attempt]:
    """Return what makes an attempt of each part, once all is there that they need."""
    base, lone, outside = root / "base", root / "lone", root / "outside"
    prepare(base)
    outside.mkdir()

    def clear() -> None:
        shutil.rmtree(lone, ignore_errors=True)
        lone.mkdir()
        write_data(lone)

    stops, damage, inputs = Stops(base), Damage(base), Inputs(lone, outside, clear)
    found: dict[str, Attempt] = {"kill": stops.kill, "cut": stops.cut, "fail": stops.fail, "damage": damage.attempt,
                                 "inputs": inputs.attempt, "numbers": numbers}  # fmt: skip
    if FullDisk.is_possible(root / "disk"):
        found["full disk"] = FullDisk(stops, root / "disk").attempt
    return found


def main() -> int:
    """Run the campaign, or go on with it, write its page, and return 1 where a promise was broken."""
    asked, seed = os.environ.get("TORTURE", "60"), int(os.environ.get("SEED", "0"))
    total = 60 * (2.0 if asked == "quick" else float(asked))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    root = Path(tempfile.mkdtemp(prefix="limbeck-torture-"))
    os.environ["LIMBECK_CACHE"] = str(root / "cache")
    (root / "temporary").mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(root / "temporary")  # where nobody else leaves files
    parts = {name: Part(name, promise) for name, promise in PROMISES.items()}
    campaign = Campaign(KEPT / f"torture-{seed}.json", seed, parts, SHARES)
    campaign.load()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by the way out, which cleans up
    try:
        warm(root)
        campaign.spend(total, attempts_of(root))
        if not parts["jobs"].attempts:
            campaign.attempt("jobs", lambda part, _: flat(part, root, JOBS_SHARE * total))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    command = f"TORTURE={asked} make torture" + (f" SEED={seed}" if seed else "")
    write_page(list(parts.values()), command=command, num_runs=campaign.num_runs, note=os.environ.get("NOTE", ""))
    campaign.file.unlink(missing_ok=True)
    return 1 if any(part.complaints for part in parts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
