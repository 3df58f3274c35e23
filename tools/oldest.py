"""The oldest versions of what limbeck needs that ``pyproject.toml`` allows, as constraints: ``make test-oldest``.

A requirement that has no lower bound has no oldest version, and is left to pip.
"""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.requirements import Requirement

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest(requirements: list[str]) -> list[str]:
    """Return ``name==version`` for the lower bound of each requirement that has one.

    Example:
        >>> oldest(["torch>=2.6", "ray[client]>=2.40; python_version < '3.15'", "types-PyYAML"])
        ['torch==2.6', 'ray==2.40']
    """
    found = []
    for text in requirements:
        requirement = Requirement(text)
        bounds = [one.version for one in requirement.specifier if one.operator in (">=", "==", "~=")]
        if bounds:
            found.append(f"{requirement.name}=={bounds[0]}")
    return found


def main() -> int:
    """Print the constraints of the dependencies, and of the extras that are named."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    requirements = list(project["dependencies"])
    for extra in sys.argv[1:]:
        requirements += project["optional-dependencies"][extra]
    print("\n".join(oldest(requirements)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
