"""What is released works where nothing else is: the wheel in an empty environment, and a complete sdist."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, folder: Path, path: Path | None = None, timeout: int = 600) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
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


ONLY_DECLARED = """
import importlib.metadata as metadata, re, sys
from importlib.machinery import PathFinder
from packaging.requirements import Requirement

def declared(name, found):
    name = re.sub("[-_.]+", "-", name).lower()
    if name in found:
        return
    found.add(name)
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            try:
                declared(requirement.name, found)
            except metadata.PackageNotFoundError:
                pass

found = set()
declared("limbeck", found)
homes = metadata.packages_distributions()
hidden = {
    module for module, names in homes.items()
    if not any(re.sub("[-_.]+", "-", name).lower() in found for name in names)
}

class DeclaredAlone(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
    del sys.modules[name]
sys.meta_path[:] = [DeclaredAlone if finder is PathFinder else finder for finder in sys.meta_path]
assert "pytest" in hidden and "torch" not in hidden
import limbeck
assert limbeck.__file__.startswith(sys.argv.pop(1)), limbeck.__file__
from limbeck.cli import main
main()
"""


@pytest.mark.slow
def test_the_wheel_works_with_what_it_declares_alone(built, tmp_path):
    """Installed beside this environment's packages, of which it sees those that it requires, and no other."""
    (wheel,) = built.glob("*.whl")
    home = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run(*install, "--target", home, wheel, folder=tmp_path)
    assert "distill" in run(sys.executable, "-c", ONLY_DECLARED, home, "--help", folder=tmp_path, path=home)
    job = ["distill", "--epochs", "1", "--seeds", "1", "--teacher", "mlp:widths=20", "--out", "run"]
    shown = run(sys.executable, "-c", ONLY_DECLARED, home, *job, folder=tmp_path, path=home)
    assert "report: run/report.html" in shown
    assert "distill" in run(home / "bin" / "limbeck", "--help", folder=tmp_path, path=home)


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
