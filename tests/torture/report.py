"""What a campaign found, counted by part, and the page that tells it."""

from __future__ import annotations

import os
import platform
import re
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
        size: how many attempts are the goal; 0 for as many as there is time for.
        calls: how often attempts were made; some make several at once.
        jobs: how many attempts each job had, where a part disturbs jobs.
    """

    name: str
    promise: str
    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    seconds: float = 0.0
    size: int = 0
    calls: int = 0
    jobs: Counter[str] = field(default_factory=Counter)

    @property
    def attempts(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    @property
    def is_whole(self) -> bool:
        """Whether there were as many as there are to be."""
        return self.size > 0 and self.attempts >= self.size

    def add(self, ending: str, complaint: str = "", *, job: str = "") -> None:
        """Count an attempt, with what was wrong with it; ``ending`` is how it ended where nothing was."""
        self.counts["not as promised" if complaint else ending] += 1
        if complaint:
            self.complaints.append(complaint)
        if job:
            self.jobs[job] += 1

    def join(self, other: Part) -> None:
        """Add what another process found in the same part."""
        self.counts += other.counts
        self.jobs += other.jobs
        self.complaints += other.complaints
        self.facts += other.facts
        self.seconds += other.seconds


def write_page(
    parts: list[Part], *, command: str, seconds: float, num_workers: int, num_runs: int, note: str = ""
) -> None:
    """Write the page.

    Args:
        parts: of the campaign.
        command: that ran it.
        seconds: that it took by the clock.
        num_workers: processes that shared the attempts.
        num_runs: how often it was begun, until its time was spent.
        note: what a reader must know, as a sentence.
    """
    lines = [
        "# Reliability",
        "",
        "Written by the campaign itself; what it does is in [tests/torture](../tests/torture).",
        "",
        f"`{command}`, {time.strftime('%Y-%m-%d')}: {seconds / 60:.0f} minutes of "
        f"{'one process' if num_workers == 1 else f'{num_workers} processes'} on {platform.machine()}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores; other work ran beside it.{_stops(num_runs)}",
        *(["", note] if note else []),
        "",
        "| part | attempts | goal | minutes | not as promised | how they ended |",
        "|---|---|---|---|---|---|",
    ]
    for part in parts:
        endings = ", ".join(f"{ending}: {count:,}" for ending, count in sorted(part.counts.items()))
        size = f"{part.size:,}" if part.size else "—"
        minutes, wrong = f"{part.seconds / 60:.1f}", len(part.complaints)
        lines.append(f"| {part.name} | {part.attempts:,} | {size} | {minutes} | {wrong} | {endings} |")
    if short := [part.name for part in parts if part.size and not part.is_whole]:
        lines += ["", f"The time was over before these had their goal: {', '.join(short)}."]
    lines += _by_job([part for part in parts if part.jobs])
    for part in parts:
        lines += ["", f"## {part.name}", "", part.promise]
        lines += [line for fact in part.facts for line in ("", fact)]
        if part.complaints:
            lines += ["", "Not as promised:", ""]
            lines += [f"- `{_short(complaint)}`" for complaint in part.complaints[:MOST_TOLD]]
            if len(part.complaints) > MOST_TOLD:
                lines.append(f"- and {len(part.complaints) - MOST_TOLD} more")
    PAGE.write_text("\n".join(map(folded, lines)) + "\n", encoding="utf-8")


def _short(complaint: str) -> str:
    """Return a complaint in one line, without the folders of this machine."""
    return re.sub(r"/[\w./-]*/(?=[\w-]+\.py\b)", "", " ".join(complaint.split()))[:300]


def _stops(num_runs: int) -> str:
    if num_runs < 2:
        return ""
    times = "once, and went on" if num_runs == 2 else f"{num_runs - 1} times, and went on"
    return f" It was stopped {times}."


def _by_job(parts: list[Part]) -> list[str]:
    """Return a table of the jobs and how often each was disturbed, and in which way."""
    if not parts:
        return []
    names = list(dict.fromkeys(name for part in parts for name in part.jobs))
    rows = []
    for name in sorted(names):
        counts = [part.jobs[name] for part in parts]
        rows.append(f"| {name} | {' | '.join(f'{count:,}' for count in (*counts, sum(counts)))} |")
    heading = " | ".join(part.name for part in parts)
    return ["", f"| job | {heading} | together |", f"|---|{'---|' * len(parts)}---|", *rows]


def folded(line: str) -> str:
    """Return a line of Markdown in lines of at most 120 characters, but for rows of tables, which cannot be broken."""
    if line.startswith("|") or not line:
        return line
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
