"""Draw the badges of the README, from what the project declares and pins: ``python tools/badges.py [--check]``."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

from packaging.requirements import Requirement

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images" / "badges"
PYTHON = "Programming Language :: Python :: 3."
LETTER, MARGIN, HEIGHT = 6.6, 6, 20  # pixels: width of a letter of 11 px on average, space beside text, of a badge
BADGE = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" aria-label="{title}">
<title>{title}</title>
<rect width="{left}" height="{height}" rx="3" fill="#444"/>
<rect x="{left}" width="{right}" height="{height}" rx="3" fill="#0b6e4f"/>
<g fill="#fff" font-family="DejaVu Sans,Verdana,sans-serif" font-size="11" text-anchor="middle">
<text x="{left_middle}" y="14">{what}</text>
<text x="{right_middle}" y="14">{value}</text>
</g>
</svg>
"""


def facts() -> dict[str, str]:
    """Return what each badge says, by what it is of."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = settings["project"]
    pythons = [text.removeprefix(PYTHON) for text in project["classifiers"] if text.startswith(PYTHON)]
    torch = next(one for one in map(Requirement, project["dependencies"]) if one.name == "torch")
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    newest = next(line.partition("==")[2] for line in pins if line.startswith("torch=="))
    assert settings["tool"]["mypy"]["strict"]
    return {
        "tested with Python": ", ".join(f"3.{minor}" for minor in pythons),
        "tested with PyTorch": f"{next(iter(torch.specifier)).version}, {newest}",
        "types": "mypy, strict",
        "licence": project["license"],
    }


def badge(what: str, value: str) -> str:
    """Return a badge as SVG."""
    left, right = (round(LETTER * len(text)) + 2 * MARGIN for text in (what, value))
    return BADGE.format(
        width=left + right, height=HEIGHT, left=left, right=right, left_middle=left / 2, right_middle=left + right / 2,
        title=escape(f"{what}: {value}"), what=escape(what), value=escape(value),
    )  # fmt: skip


def main() -> int:
    """Write the badges; with ``--check`` tell whether those that are there are current."""
    drawn = {FOLDER / f"{what.split()[-1].lower()}.svg": badge(what, value) for what, value in facts().items()}
    if "--check" in sys.argv[1:]:
        stale = [path for path, text in drawn.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not current: python tools/badges.py", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in drawn.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
