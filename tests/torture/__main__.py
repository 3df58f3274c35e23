"""The campaign: ``make torture`` for an hour, ``TORTURE=quick`` for two minutes, ``TORTURE=MINUTES`` for as long.

Attempt n of a part is the same in every campaign of a seed (``SEED``), and each part gets as many as its share of the
time allows, until it has its size. ``WORKERS`` processes share them, two where there are two cores. What was found is
kept in ``build/torture-SEED-WORKER.json`` after every attempt: a campaign that was stopped goes on from there when it
is given again. ``NOTE`` is a sentence for the page, such as what was mended since.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from children import end_all, run
from damage import PICTURED, STOPPED, Damage, Runner
from disks import FullDisk
from flat import MOST_JOBS, flat
from inputs import Inputs
from jobs import (
    CACHE,
    JOBS,
    MACHINE,
    MUTUAL,
    SEARCH,
    SELF,
    SMALL,
    SPECIALISTS,
    STORE,
    TAUGHT,
    TEACHER,
    write_data,
    write_pictures,
)
from numbers_at_ends import numbers
from report import Part, write_page
from state import Attempt, Campaign
from stops import Stops
from together import run_here

KEPT = Path(__file__).parents[2] / "build"
SHARES = {"kill": 0.34, "cut": 0.26, "fail": 0.04, "full disk": 0.02, "damage": 0.15, "inputs": 0.16, "numbers": 0.03}
SIZES = {"kill": 100 * len(JOBS), "cut": 100 * len(JOBS), "fail": 20 * len(JOBS), "full disk": 10 * len(JOBS),
         "damage": 10_000, "inputs": 10_000, "numbers": 1_000, "jobs": MOST_JOBS}  # fmt: skip
JOBS_SHARE = 0.1  # of the time, after all else
ROOM_BYTES = 4 << 30  # that a disk in memory must have for the campaign to be there
PROMISES = {
    "kill": "SIGKILL, SIGTERM or SIGINT at a random moment, to all processes of a job or to one; the same command then "
    "ends in the same bytes. Exit codes are the documented ones, unless the signal came where Python was not ready. "
    "Most jobs run in forks of a process that has imported everything, and draw no figures; one in sixteen is a "
    "program of its own, also while it starts.",
    "cut": "Killed at one of its file operations, each in turn; the same command then ends in the same bytes and "
    "leaves nothing behind.",
    "fail": "From one file operation on every write fails (disk full, input/output error, read-only): exit code 2 with "
    "a message, or 0 where it can do without; with room again the same command ends in the same bytes.",
    "full disk": "A disk in memory with room for a part of what the job writes (root alone can make one): exit code 2 "
    "with a message, or 0 where it can do without; with room the same command ends in the same bytes.",
    "damage": "Flips, digits, cuts, swaps, additions in files of runs, stores, stopped runs, searches, committees, "
    "exports and of what is kept of pictures: refused, made again, or the "
    "same result.",
    "inputs": "Generated configurations, flags, arrays, archives, images, sounds, clips, weights, ONNX files and "
    "programs: a message within 5 s of a processor's time and 500 MiB, no traceback, no code run, nothing written "
    "outside.",
    "numbers": "Infinities, NaN, 1e30, temperatures from 1e-6 to 1e6, one class, 100,000 classes, one sample, learning "
    "rates that explode: a result, or a message.",
    "jobs": "Jobs one after another in one process: memory, descriptors, threads and temporary files stay.",
}


def warm(folder: Path) -> None:
    """Import once what the children need, by doing once what they do, and draw no figures from then on."""
    import av  # noqa: F401
    import kaldi_native_fbank  # noqa: F401
    import sklearn.ensemble
    import sklearn.linear_model
    import sklearn.pipeline  # noqa: F401
    import soundfile  # noqa: F401
    import torch.distributed.elastic.rendezvous.c10d_rendezvous_backend
    import torch.distributed.launcher.api  # noqa: F401

    import limbeck.reports.html as html
    from limbeck.recipes import load_recipe

    load_recipe("zhang2018-mutual-digits")
    place, outputs = Path.cwd(), (os.dup(1), os.dup(2))
    prepare(folder, run_here)
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(place)
    html.draw_figures, html.draw_front, html.draw_observations = (lambda *_: {}), (lambda *_: None), (lambda *_: [])
    gc.collect()
    gc.freeze()  # so that children share the memory of all that was imported


def prepare(base: Path, run_it: Runner) -> None:
    """Fill a folder with data, networks, a store and all that is damaged later."""
    base.mkdir()
    write_data(base)
    write_pictures(base / "pictures.zip")
    committee = [*SPECIALISTS, *MACHINE, "--data", "data.npz", "--out", "committee"]
    commands = [TEACHER, [*TAUGHT, "--out", "run"], [*STORE, "--out", "store"], committee]
    commands += [[*TAUGHT, "--out", "stopped"], [*MUTUAL, "--out", "stopped-mutual"], [*SELF, "--out", "self"]]
    commands += [[*SEARCH, *SMALL, "--out", "search"], ["export", "run", "--out", "exported"]]
    commands += [[*PICTURED, "--out", "pictured"], ["verify", "run"], ["evaluate", "run", "--data", "data.npz"]]
    for arguments in commands:
        outcome = run_it(arguments, base)
        if outcome.code:
            sys.exit(f"limbeck {' '.join(arguments)}: {outcome.text[-2000:]}")
    for stopped in STOPPED:
        for name in ("record.json", "report.html", "student.safetensors", "model.json"):
            (base / stopped / name).unlink(missing_ok=True)  # as where it is stopped before its end


def attempts_of(root: Path) -> dict[str, Attempt]:
    """Return what makes an attempt of each part in a folder that has a prepared one, ``base``."""
    base, lone, outside = root / "base", root / "lone", root / "outside"
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


def campaign_of(seed: int, worker: int, num_workers: int) -> Campaign:
    """Return one worker's part of the campaign, as far as it has come."""
    parts = {name: Part(name, promise, size=-(-SIZES[name] // num_workers)) for name, promise in PROMISES.items()}
    name = f"torture-{seed}-{worker}.json" if num_workers == 1 else f"torture-{seed}-{worker}-of-{num_workers}.json"
    campaign = Campaign(KEPT / name, seed, parts, SHARES, worker, num_workers)
    campaign.load()
    return campaign


def work(campaign: Campaign, root: Path, total_seconds: float) -> None:
    """Do one worker's part in a folder of its own; the first does jobs one after another, too."""
    own = root / f"worker-{campaign.worker}"
    own.mkdir()
    shutil.copytree(root / "base", own / "base")
    (own / "temporary").mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(own / "temporary")  # where nobody else leaves files
    jobs_seconds = 0.0 if campaign.worker else JOBS_SHARE * total_seconds
    campaign.spend(total_seconds - jobs_seconds, attempts_of(own))
    if campaign.worker == 0 and not campaign.parts["jobs"].attempts:
        campaign.attempt("jobs", lambda part, *_: flat(part, own, jobs_seconds))


def main() -> int:
    """Run the campaign, or go on with it, write its page, and return 1 where a promise was broken."""
    asked, seed = os.environ.get("TORTURE", "60"), int(os.environ.get("SEED", "0"))
    num_workers = int(os.environ.get("WORKERS", min(2, os.cpu_count() or 1)))
    total = 60 * (1.3 if asked == "quick" else float(asked))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["LIMBECK_CACHE"] = CACHE
    root = Path(tempfile.mkdtemp(prefix="limbeck-torture-", dir=_memory_disk()))
    workers: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by the way out, which cleans up
    try:
        warm(root / "warm")
        prepare(root / "base", run)
        campaigns = [campaign_of(seed, worker, num_workers) for worker in range(num_workers)]
        workers.extend(_fork(partial(work, campaign, root, total)) for campaign in campaigns)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
        workers.clear()
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        shutil.rmtree(root, ignore_errors=True)
    if any(codes):
        print(f"workers ended with {codes}; give the command again to go on", file=sys.stderr)
        return 2
    ended = [campaign_of(seed, worker, num_workers) for worker in range(num_workers)]
    parts = [Part(name, promise, size=SIZES[name]) for name, promise in PROMISES.items()]
    for part in parts:
        for campaign in ended:
            part.join(campaign.parts[part.name])
    write_page(
        parts,
        command=f"TORTURE={asked} make torture" + (f" SEED={seed}" if seed else ""),
        seconds=max(campaign.seconds for campaign in ended),
        num_workers=num_workers,
        num_runs=ended[0].num_runs - 1,  # loaded once more, for the page
        note=os.environ.get("NOTE", ""),
    )
    for campaign in ended:
        campaign.file.unlink(missing_ok=True)
    return 1 if any(part.complaints for part in parts) else 0


def _fork(target: Callable[[], None]) -> int:
    """Run a function in a forked process that ends with it; return its number."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            target()
            code = 0
        except SystemExit:
            pass  # told to stop
        except BaseException:
            traceback.print_exc()
        finally:
            end_all()
            sys.stdout.flush()
            os._exit(code)
    return pid


def _memory_disk() -> str | None:
    """Return a disk in memory, which wears nothing out and is faster; None where there is none with room."""
    disk = Path("/dev/shm")
    has_room = disk.is_dir() and os.access(disk, os.W_OK) and shutil.disk_usage(disk).free >= ROOM_BYTES
    return str(disk) if has_room else None


if __name__ == "__main__":
    sys.exit(main())
