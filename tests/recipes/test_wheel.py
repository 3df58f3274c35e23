"""What is released works where nothing else is: the wheel in an empty environment, and a complete sdist."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, folder: Path, timeout: int = 600) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return folder


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "env", folder=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*install, "--constraint", ROOT / "constraints.txt", wheel, folder=tmp_path)
    assert "distill" in run(tmp_path / "env" / "bin" / "limbeck", "--help", folder=tmp_path)
    job = ["distill", "--epochs", "1", "--seeds", "1", "--teacher", "mlp:widths=20", "--out", "run"]
    assert "report: run/report.html" in run(tmp_path / "env" / "bin" / "limbeck", *job, folder=tmp_path)


def test_the_sdist_holds_what_is_needed_to_build_and_test(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "constraints.txt", "Makefile", "src/limbeck/py.typed"}
    needed |= {
        "src/limbeck/presets/digits.yaml",
        "src/limbeck/reports/templates/report.html.j2",
        "tests/unit/test_fit.py",
    }
    assert needed <= names
    assert not any(name.startswith((".venv", "runs", "dist")) for name in names)
