"""Known vulnerabilities of the versions in ``constraints.txt``: ``make audit``.

pip-audit asks a service on the internet, and by itself ends well where that knows nothing of a package. Here what could
not be looked up is told, and is no success: exit code 3; 1 where a vulnerability is known.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
NOT_CHECKED = 3
MOST_NAMED = 8


def verdict(dependencies: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Return the exit code and what is said of what pip-audit found.

    Args:
        dependencies: each with a name, and either a version and "vulns", or a "skip_reason".
    Example:
        >>> verdict([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}])
        (3, '1 of 2 packages were looked up: no vulnerability is known.\\nNot looked up: b')
    """
    skipped = [str(one["name"]) for one in dependencies if "skip_reason" in one]
    known = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no release'}"
        for one in dependencies
        for flaw in one.get("vulns", ())
    ]
    lines = [f"{len(dependencies) - len(skipped)} of {len(dependencies)} packages were looked up"]
    if len(skipped) == len(dependencies):
        lines[0] += ": nothing was checked."
    else:
        lines[0] += f": {len(known)} known vulnerabilities." if known else ": no vulnerability is known."
    lines += known
    if skipped:
        more = f" and {len(skipped) - MOST_NAMED} more" if len(skipped) > MOST_NAMED else ""
        lines.append(f"Not looked up: {', '.join(skipped[:MOST_NAMED])}{more}")
    return (1 if known else NOT_CHECKED if skipped or not dependencies else 0), "\n".join(lines)


def main() -> int:
    """Ask pip-audit, tell, and return the exit code."""
    flags = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"Nothing was checked: the service could not be asked.\n  received: {reason[:300]}")
        return NOT_CHECKED
    code, text = verdict(dependencies)
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
