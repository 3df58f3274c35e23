"""Whether what lies in a folder of ours is what was written: every file that carries a checksum is read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from limbeck.commands.collection_summary import counted
from limbeck.commands.verify_files import CHECKS_BY_NAME, CHECKS_BY_SUFFIX, Found, check_of_whole
from limbeck.distillation.run_directory import (
    MARKER,
)
from limbeck.errors import LimbeckError, RecordError, shortened
from limbeck.records.files import PARTIAL
from limbeck.records.locking import LOCK_FILE

MOST_LISTED = 5
_QUIET = {MARKER, LOCK_FILE}  # hold nothing


@dataclass(frozen=True)
class Check:
    """A check that was passed, and what it found."""

    name: str
    verdict: str
    largest_nats: float | None = None  # of "answers": the largest KL between stored and new ones


@dataclass
class _Findings:
    """What was found out on the way."""

    root: Path
    damaged: dict[str, LimbeckError] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)
    num_partial: int = 0
    num_checked: int = 0

    def name(self, path: Path) -> str:
        """Return a path as it is shown: from the folder that is checked."""
        return path.name if path == self.root else path.relative_to(self.root).as_posix()


def verify_folder(path: Path) -> Iterator[Check]:
    """Yield a check for everything in a folder, or a file, that is as it was written.

    Runs, networks, stores, exports, records, committees, searches, caches are known by their files, however deep.

    Raises:
        RecordError: nothing of ours is there; or, at the end, files that are damaged, by name.
    """
    findings = _Findings(path)
    if path.is_dir():
        yield from _folder(path, findings)
    elif path.is_file():
        yield from _files(path.parent, {path.name}, findings)
    if not findings.num_checked and not findings.damaged:
        raise RecordError(
            f"There is no store, run, network or other work of limbeck in {path}.",
            received="no such file or folder" if not path.exists() else "nothing that carries a checksum",
            expected="a folder that limbeck has written",
        )
    if findings.unchecked:
        names = shortened(findings.unchecked, most=MOST_LISTED)
        yield Check("without a checksum", f"{counted(len(findings.unchecked), 'file')}: {names}")
    if findings.num_partial:
        yield Check("half-written", f"{counted(findings.num_partial, 'file or folder')}, which count for nothing")
    if findings.damaged:
        first = next(iter(findings.damaged.values()))
        raise RecordError(
            f"{path} is damaged: {shortened(findings.damaged, most=MOST_LISTED)}.",
            received=first.fact if first.received is None else f"{first.fact} {first.received}",
            expected="what was written",
            remedy=first.remedy or "take it from a backup, or make it again",
        )


def _folder(folder: Path, findings: _Findings) -> Iterator[Check]:
    whole = check_of_whole(folder)
    if whole is not None:
        yield from _tried(folder, whole, findings, set())
        return
    entries = sorted(entry for entry in folder.iterdir() if not entry.is_symlink())
    findings.num_partial += sum(PARTIAL.search(entry.name) is not None for entry in entries)
    own = [entry for entry in entries if not PARTIAL.search(entry.name)]
    yield from _files(folder, {entry.name for entry in own if entry.is_file()}, findings)
    for entry in own:
        if entry.is_dir():
            yield from _folder(entry, findings)


def _files(folder: Path, names: set[str], findings: _Findings) -> Iterator[Check]:
    covered = set(_QUIET)
    for name, check in CHECKS_BY_NAME.items():  # some cover others
        if name in names:
            yield from _tried(folder / name, check, findings, covered)
            covered.add(name)
    for name in sorted(names - covered):
        if (known := CHECKS_BY_SUFFIX.get(Path(name).suffix)) is not None:
            yield from _tried(folder / name, known, findings, covered)
        else:
            findings.unchecked.append(findings.name(folder / name))


def _tried(
    path: Path, check: Callable[[Path], Found | None], findings: _Findings, covered: set[str]
) -> Iterator[Check]:
    """Yield what a check found; note a file that it cannot say anything of, or that is damaged."""
    name = findings.name(path)
    try:
        found = check(path)
    except LimbeckError as error:
        findings.damaged[name] = error
        return
    except (OSError, UnicodeDecodeError) as error:
        findings.damaged[name] = RecordError(f"{path} cannot be read.", received=str(error))
        return
    if found is None:
        findings.unchecked.append(name)
        return
    verdict, others = found
    covered |= others
    findings.num_checked += 1
    yield Check(name, verdict)
