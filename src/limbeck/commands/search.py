"""``limbeck search``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.commands.networks import named_teachers, student_source
from limbeck.commands.settings import prepare, with_teacher_epochs
from limbeck.records.search_record import SearchRecord
from limbeck.reports.searches import candidates_text
from limbeck.searching import SearchResult, search
from limbeck.searching.candidates import expanded
from limbeck.settings import SearchConfig


def run(
    *,
    file: Path | None,
    flags: dict[str, Any],
    assignments: Sequence[str],
    out: Path | None,
    overwrite: bool,
    num_trials: int,
    jobs: str | None,
    budget: str | None,
    progress: str,
    command: str,
) -> tuple[SearchResult, Path]:
    """Search as the flags and the file say; return the result and the folder that it was written to."""
    flags = with_teacher_epochs(flags)
    prepared = prepare(SearchConfig, file=file, flags=flags, assignments=assignments)
    config = prepared.config
    arguments = prepared.arguments(stem="search", out=out, overwrite=overwrite, progress=progress, command=command)
    arguments |= {"num_trials": num_trials, "jobs": jobs, "budget": budget}
    specs = [spec for text in config.student for spec in expanded(text)]
    teachers = named_teachers(config.teachers, flags, prepared)
    students = [student_source(spec, from_command_line="student" in flags) for spec in specs]
    return search(teachers, students=students, **arguments), arguments["out"]


def as_text(found: SearchRecord) -> str:
    """Return the candidates and the answer for a terminal."""
    return f"{candidates_text(found)}\n\n{found.answer}"
