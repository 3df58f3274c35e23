"""Find axe-core for the accessibility tests; ``python tools/axe.py`` gets it through npm where there is one.

Never an error: without it those tests are skipped, and the summary of the run says how to get it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VARIABLE = "LIMBECK_AXE"
VERSION = "4.14.1"
FOLDER = Path(sys.prefix) / "axe"  # of the virtual environment
FILE = Path("node_modules") / "axe-core" / "axe.min.js"
REMEDY = f"install npm and run python tools/axe.py, or name an axe.min.js in {VARIABLE}"
INSTALL_SECONDS = 120


def find() -> Path | None:
    """Return the path of axe.min.js: the one that LIMBECK_AXE names, or the virtual environment's."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else FOLDER / FILE
    return path if path.is_file() else None


def install() -> None:
    """Get the pinned version through npm where npm is there; otherwise do nothing."""
    npm = shutil.which("npm")
    if npm is None or os.environ.get(VARIABLE):
        return
    command = [npm, "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund", "--ignore-scripts"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([*command, f"axe-core@{VERSION}"], check=True, timeout=INSTALL_SECONDS, **quiet)
    except (OSError, subprocess.SubprocessError):
        return


def main() -> None:
    """Say which axe-core the tests will use, after trying to get one where none is."""
    if find() is None:
        install()
    path = find()
    print(f"axe-core: {path}" if path else f"axe-core: none, accessibility tests will be skipped. To get it: {REMEDY}")


if __name__ == "__main__":
    sys.exit(main())
