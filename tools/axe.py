"""Find axe-core for the accessibility tests; ``python tools/axe.py`` gets it through npm where there is one.

Never an error: without it those tests are skipped, and the summary of the run says how to get it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "LIMBECK_AXE"
VERSION = "4.14.1"
FOLDER = Path(sys.prefix) / "axe"  # of the virtual environment
FILE = Path("node_modules") / "axe-core" / "axe.min.js"
REMEDY = f"install npm and run python tools/axe.py, or name an axe.min.js in {VARIABLE}"
INSTALL_SECONDS = 120
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
RUN = """<script>
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], leftOut = LEFT_OUT;
const isTold = (rule, node) => !(rule in leftOut && document.querySelector(node.target[0])?.matches(leftOut[rule]));
const run = () => axe.run(document, {runOnly: rules}).then((found) => {
  const told = (one) => one.nodes.filter((node) => isTold(one.id, node)).map((node) => node.html.slice(0, 200));
  const wrong = found.violations.map((one) => [one.id, told(one)]).filter((one) => one[1].length);
  document.body.textContent = "FOUND" + JSON.stringify({passes: found.passes.length, wrong}) + "END";
});
addEventListener("load", () => setTimeout(run, 500));
</script>"""


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


def violations(
    chromium: str,
    script: str,
    page: Path,
    scratch: Path,
    *,
    dark: bool = False,
    left_out: Mapping[str, str] | None = None,
) -> list[tuple[str, list[str]]]:
    """Return what axe-core finds wrong with a page, rule by rule.

    Args:
        chromium: the browser.
        script: the text of axe-core.
        page: a file; a copy beside it, without its policy so that a script may run, is opened and removed.
        scratch: a folder for the browser's profile.
        dark: prefer the dark scheme.
        left_out: by rule, a selector of elements that are not told.
    """
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    run = f"<script>{script}</script>{RUN.replace('LEFT_OUT', json.dumps(dict(left_out or {})))}</body>"
    copy = page.with_name(f"axe-{page.name}")
    copy.write_text(text.replace("</body>", run), encoding="utf-8")
    given = [f"--user-data-dir={scratch / 'profile'}", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    given += ["--virtual-time-budget=20000", "--window-size=1200,900", "--dump-dom", copy.absolute().as_uri()]
    try:
        done = subprocess.run([chromium, *QUIET, *given], capture_output=True, text=True, timeout=240, check=True)
    finally:
        copy.unlink()
    told = re.search(r"FOUND(.*)END", done.stdout, flags=re.DOTALL)
    assert told is not None, done.stdout[-2000:]
    found = json.loads(told[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["passes"] > 10, "axe-core looked at nothing"
    return [(rule, nodes) for rule, nodes in found["wrong"]]


def main() -> None:
    """Say which axe-core the tests will use, after trying to get one where none is."""
    if find() is None:
        install()
    path = find()
    print(f"axe-core: {path}" if path else f"axe-core: none, accessibility tests will be skipped. To get it: {REMEDY}")


if __name__ == "__main__":
    sys.exit(main())
