"""Find a Chromium for the browser tests; ``python tools/chromium.py`` installs one where that is one light step.

Never an error: without a browser those tests are skipped, and the summary of the run says how to get one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VARIABLE = "LIMBECK_CHROMIUM"
NAMES = (
    "chromium",
    "chromium-browser",
    "chromium-headless-shell",
    "chrome-headless-shell",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
)
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
PLAYWRIGHT_FOLDERS = ("~/.cache/ms-playwright", "~/Library/Caches/ms-playwright")
PLAYWRIGHT_BINARIES = ("chrome", "headless_shell", "chrome-headless-shell", "Chromium", "Google Chrome for Testing")
PACKAGES = ("chromium-headless-shell", "fonts-liberation")  # of Debian; without fonts a page has no letters
HINT = f"apt-get install {' '.join(PACKAGES)}, or pip install playwright && playwright install chromium"
REMEDY = f"{HINT}; or name a Chromium or Chrome in {VARIABLE}"
INSTALL_SECONDS = 300


def find() -> str | None:
    """Return the path of a Chromium: the one that LIMBECK_CHROMIUM names, of the PATH, or that Playwright keeps."""
    named = os.environ.get(VARIABLE)
    if named:
        return shutil.which(named)
    for name in (*NAMES, *APPLICATIONS):
        if path := shutil.which(name):
            return path
    folders = (os.environ.get("PLAYWRIGHT_BROWSERS_PATH"), *PLAYWRIGHT_FOLDERS)
    for folder in (Path(name).expanduser() for name in folders if name):
        for binary in PLAYWRIGHT_BINARIES:
            found = [path for path in sorted(folder.glob(f"chromium*/**/{binary}")) if os.access(path, os.X_OK)]
            if found:
                return str(found[-1])
    return None


def install() -> None:
    """Install Debian's headless Chromium where this is root on a Debian with apt; otherwise do nothing."""
    if os.environ.get(VARIABLE) or not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": INSTALL_SECONDS}
    try:
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", *command], stdin=subprocess.DEVNULL, check=True, **quiet)
    except (OSError, subprocess.SubprocessError):
        return


def main() -> None:
    """Say which browser the tests will use, after trying to install one where none is."""
    if find() is None:
        print("chromium: none found, trying apt-get (browser tests need one)", flush=True)
        install()
    path = find()
    print(f"chromium: {path}" if path else f"chromium: none, browser tests will be skipped. To get one: {REMEDY}")


if __name__ == "__main__":
    sys.exit(main())
