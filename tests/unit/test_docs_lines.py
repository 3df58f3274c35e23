"""Pages that people write keep their lines short: 120 characters, but for tables, pictures and code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *DOCS.glob("guide/*.md"), *DOCS.glob("explanations/*.md"), *DOCS.glob("coming-from/*.md")]
PAGES += [*DOCS.glob("decisions/*.md"), *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY"))]
PAGES += [path for path in DOCS.glob("*.md") if path.name not in ("results.md", "settings.md")]
LONGEST = 120


def prose(text: str) -> Iterator[str]:
    is_code = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code and not line.startswith(("|", "![")):
            yield line


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: path.stem)
def test_lines_are_short(path):
    assert [line for line in prose(path.read_text(encoding="utf-8")) if len(line) > LONGEST] == []
