"""Limbeck beside torchdistill and TextBrewer: the same epoch of distillation, in one process, in turns.

    python benchmarks/peers.py --env DIR [--json] [--num-rounds 5] [--num-samples 12800]

The peers come from PyPI into a virtual environment of their own in DIR, a folder outside the repository; it is made on
the first run (a few minutes, about 1.5 GB) and used again afterwards. ``OMP_NUM_THREADS`` sets the threads of all.
What is run there, and how each library is set up, is in ``peers_inside.py``.

The peers are installed without their dependencies, so that neither moves torch; what they import is pinned beside them.
torchdistill 1.1.5 dropped its cache of teacher outputs, so the release before it is put aside under another package
name, to measure that cache too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
PEERS = ["torchdistill==1.1.5", "textbrewer==0.2.1.post1"]
IMPORTED_BY_PEERS = ["torchvision==0.28.0", "tensorboardX==2.6.5", "protobuf==7.36.2", "tqdm==4.70.1"]
EARLIER = {"torchdistill_1_1_4": "torchdistill==1.1.4"}  # package name to import it by, and pin
STAMP = "environment.json"


def main() -> None:
    """Make the environment, run the benchmark in it, print its result."""
    arguments = _arguments()
    folder = arguments.env.resolve()
    if folder.is_relative_to(ROOT):
        raise SystemExit(f"--env must lie outside the repository, got {arguments.env}")
    python = make_environment(folder)
    print("running the rounds", file=sys.stderr)
    result = run_inside(python, folder, num_rounds=arguments.num_rounds, num_samples=arguments.num_samples)
    print(json.dumps(result, indent=2) if arguments.json else as_markdown(result))


def make_environment(folder: Path) -> Path:
    """Return the Python of the environment in ``folder``; install what is missing or pinned otherwise."""
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / STAMP
    contents = {"checkout": str(ROOT), "constraints": CONSTRAINTS.read_text(encoding="utf-8")}
    contents |= {"peers": " ".join(PEERS + IMPORTED_BY_PEERS), "earlier": " ".join(EARLIER.values())}
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == contents:
        return python
    print("making the environment", file=sys.stderr)
    stamp.unlink(missing_ok=True)
    _call(sys.executable, "-m", "venv", str(folder / "venv"))
    torch = next(line for line in contents["constraints"].splitlines() if line.startswith("torch=="))
    _pip(python, "--constraint", str(CONSTRAINTS), torch, "numpy")
    _pip(python, "--constraint", str(CONSTRAINTS), "--editable", str(ROOT))
    _pip(python, "--no-deps", *PEERS, *IMPORTED_BY_PEERS)
    for package, pin in EARLIER.items():
        _put_aside(python, folder / "earlier", package, pin)
    stamp.write_text(json.dumps(contents), encoding="utf-8")
    return python


def run_inside(python: Path, folder: Path, *, num_rounds: int, num_samples: int) -> dict[str, Any]:
    """Run ``peers_inside.py`` in the environment and return its JSON.

    Its error stream is a pipe, where the peers' progress bars switch themselves off.
    """
    script = Path(__file__).with_name("peers_inside.py")
    command = [str(python), str(script), str(folder), str(num_rounds), str(num_samples)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def as_markdown(result: dict[str, Any]) -> str:
    """Return the tables: times with their ratio to the floor, what did not run, and the soft losses."""
    machine, settings = result["machine"], result["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"{versions}; Python {machine['python']}; {machine['processor']}, {machine['num_threads']} thread(s)",
        f"{settings['num_samples']} samples, batch {settings['batch_size']}, T = {settings['temperature']:g}, "
        f"hard weight {settings['hard_weight']:g}, {settings['num_rounds']} rounds in turns",
        "",
        "| way | processor s | quartiles | ratio to the floor | off the reference student | what runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, seconds in result["seconds"].items():
        ratio, difference = result["ratios"][name], result["difference"][name]
        lines.append(
            f"| `{name}` | {seconds['median']:.3f} | {seconds['low']:.3f} to {seconds['high']:.3f} | {ratio:.2f} "
            f"| {'another order' if difference is None else f'{difference:.0e}'} | {result['ways'][name]} |"
        )
    lines += [f"| `{name}` | did not run | | | | {reason} |" for name, reason in result["not_run"].items()]
    lines += ["", "| soft loss | gradient over the paper's | at agreement | in words |", "|---|---|---|---|"]
    for name, loss in result["soft_loss"].items():
        if "not_run" in loss:
            lines.append(f"| {name} | | | {loss['not_run']} |")
            continue
        lines.append(
            f"| {name} | {loss['gradient_factor']:.4g} | {loss['value_at_agreement']:.4f} | {loss['in_words']} |"
        )
    return "\n".join(lines)


def _put_aside(python: Path, target: Path, package: str, pin: str) -> None:
    """Install a second release under its own package name: its imports of itself are relative, so that it runs so."""
    shutil.rmtree(target / package, ignore_errors=True)
    _pip(python, "--no-deps", "--upgrade", "--target", str(target), pin)
    (target / pin.partition("==")[0]).rename(target / package)


def _pip(python: Path, *arguments: str) -> None:
    _call(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


def _arguments() -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--env", type=Path, required=True, help="folder of the environment, outside the repository")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
    parser.add_argument("--num-rounds", type=int, default=5, help="how often each way runs its epoch")
    parser.add_argument("--num-samples", type=int, default=12_800, help="of the epoch; 60000 is MNIST's")
    return parser.parse_args()


if __name__ == "__main__":
    main()
