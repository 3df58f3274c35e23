"""Counts lines of code, package by package: without blank lines, comments and docstrings.

    python tools/code_lines.py [FOLDER]

A line counts where a token of code begins or goes on; a statement of a string alone is a docstring or a remark.
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    r"""Return the number of a module's lines that hold code.

    Example:
        >>> code_lines('"Words."\n\n# a remark\nx = (\n    1,  # one\n)\n')
        3
    """
    remarks: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            remarks.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - remarks)


def by_package(folder: Path) -> Counter[str]:
    """Return the lines of each package directly below a folder; modules beside them count as ``(modules)``."""
    counts: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        counts[parts[0] if len(parts) > 1 else "(modules)"] += code_lines(path.read_text(encoding="utf-8"))
    return counts


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Counts lines of code without blank lines, comments and docstrings.")
    default = Path(__file__).parents[1] / "src" / "limbeck"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    counts = by_package(parser.parse_args().folder)
    for name, count in counts.most_common():
        print(f"{name:<20}{count:>8,}")
    print(f"{'total':<20}{counts.total():>8,}")


if __name__ == "__main__":
    main()
