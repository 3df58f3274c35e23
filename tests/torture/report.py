"""What a campaign found, counted by part, and the page that tells it."""

from __future__ import annotations

import os
import platform
import textwrap
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
MOST_TOLD = 5


@dataclass
class Part:
    """One part of a campaign.

    Args:
        name: of the part.
        promise: what must hold, as a sentence.
        counts: how attempts ended.
        complaints: what was not as promised.
        facts: sentences on what was measured.
        seconds: that all attempts took.
    """

    name: str
    promise: str
    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def attempts(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def add(self, ending: str, complaint: str = "") -> None:
        """Count an attempt, with what was wrong with it."""
        self.counts[ending] += 1
        if complaint:
            self.complaints.append(complaint)


def write_page(parts: list[Part], *, command: str, num_runs: int, note: str = "") -> None:
    """Write the page.

    Args:
        parts: of the campaign.
        command: that ran it.
        note: what a reader must know, as a sentence.
        num_runs: how often it was begun, until its time was spent.
    """
    seconds = sum(part.seconds for part in parts)
    stops = (
        f" It was stopped, and gone on with, {num_runs - 1} times."
        if num_runs > 2
        else " It was stopped once, and went on."
        if num_runs == 2
        else ""
    )
    lines = [
        "# Reliability",
        "",
        "Written by the campaign itself; what it does is in [tests/torture](../tests/torture).",
        "",
        f"`{command}`, {time.strftime('%Y-%m-%d')}: {seconds / 60:.0f} minutes on {platform.machine()}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores; other work ran beside it.{stops}",
        *(["", note] if note else []),
        "",
        "| part | attempts | minutes | not as promised | how they ended |",
        "|---|---|---|---|---|",
    ]
    for part in parts:
        endings = ", ".join(f"{ending}: {count:,}" for ending, count in sorted(part.counts.items()))
        lines.append(
            f"| {part.name} | {part.attempts:,} | {part.seconds / 60:.1f} | {len(part.complaints)} | {endings} |"
        )
    for part in parts:
        lines += ["", f"## {part.name}", "", part.promise]
        lines += [line for fact in part.facts for line in ("", fact)]
        if part.complaints:
            lines += ["", "Not as promised:", ""]
            lines += [f"- `{' '.join(complaint.split())[:300]}`" for complaint in part.complaints[:MOST_TOLD]]
            if len(part.complaints) > MOST_TOLD:
                lines.append(f"- and {len(part.complaints) - MOST_TOLD} more")
    PAGE.write_text("\n".join(map(folded, lines)) + "\n", encoding="utf-8")


def folded(line: str) -> str:
    """Return a line of Markdown in lines of at most 120 characters, but for rows of tables, which cannot be broken."""
    if line.startswith("|") or not line:
        return line
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
