"""Programs of ``torch.export`` as teachers, from files that must not run code."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import TeacherError
from limbeck.models.fixed import FixedNetwork
from limbeck.teachers.module import ModuleTeacher

_ARITHMETIC = "add|sub|mul|floordiv|truediv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_"
_TARGET = re.compile(rf"torch\.ops\.\w+(\.\w+)*|torch\.sym_\w+|_operator\.({_ARITHMETIC})|math\.\w+")
_SIZE = re.compile(r"(?:[A-Z]\w*|'[a-z]\w*'|[a-z]+=(?:True|False)|\d+(?:\.\d+)?|[-+*/(),\s<>=&|~])*")
_PLAIN = ("archive_format", "archive_version", "byteorder", "version", ".format_version")


def exported_teacher(
    program: torch.export.ExportedProgram, *, name: str | None = None, **options: Any
) -> ModuleTeacher:
    """Return an exported program as a teacher; it runs in the mode that it was exported in.

    Args:
        program: exported from a network in eval mode, with a dynamic batch size unless ``batch_size`` fits it.
        name: shown in records.
        options: as :class:`ModuleTeacher` takes them.
    """
    return ModuleTeacher(FixedNetwork(program.module()), name=name or "exported program", **options)


def load_exported(path: Path | str, *, name: str | None = None, **options: Any) -> ModuleTeacher:
    """Return the program in a ``.pt2`` file as a teacher, without running code from it.

    ``torch.export.load`` unpickles what a file asks it to, and evaluates the sizes and guards in it as Python. So the
    file is looked through first: tensors that load as weights alone, operators of ``torch.ops``, sizes of symbols and
    numbers, no guards, nothing else.

    Args:
        path: of the file.
        name: shown in records; the file's name where not given.
        options: as :class:`ModuleTeacher` takes them.
    Raises:
        TeacherError: no such file, a damaged one, or one that would run code.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TeacherError(f"Cannot read {path}.", received=error.strerror, remedy="check the path") from error
    try:
        _check_archive(content, path)
        program = torch.export.load(io.BytesIO(content))
        return exported_teacher(program, name=name or path.name, **options)
    except TeacherError:
        raise
    except Exception as error:
        raise TeacherError(
            f"{path} holds no program of torch.export.",
            received=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
            expected="a file that torch.export.save wrote, with this release of torch or an earlier one",
            remedy="export the network again: torch.export.save(torch.export.export(network.eval(), inputs), path)",
        ) from error


def _check_archive(content: bytes, path: Path) -> None:
    archive = zipfile.ZipFile(io.BytesIO(content))
    names = archive.namelist()
    if len(set(names)) != len(names) or len({name.split("/")[0] for name in names if "/" in name}) > 1:
        raise _refused(path, "an archive with an entry twice, or two roots")
    for entry in names:
        place, _, leaf = entry.rpartition("/")
        if leaf.endswith(".json"):
            _check_json(json.loads(archive.read(entry)), path)
        elif leaf.endswith(".pt"):
            torch.load(io.BytesIO(archive.read(entry)), weights_only=True)
        elif not (leaf in _PLAIN or place.endswith(".data") or re.fullmatch(r"(weight|tensor|constant)_\d+", leaf)):
            raise _refused(path, entry)


def _check_json(content: Any, path: Path) -> None:
    for key, value in _entries(content):
        if key == "use_pickle" and value:
            raise _refused(path, "a pickled tensor")
        if key == "guards_code" and value:
            raise _refused(path, f"a guard that is Python: {str(value)[:80]}")
        if key == "expr_str" and not (isinstance(value, str) and _SIZE.fullmatch(value)):
            raise _refused(path, f"a size that is Python: {str(value)[:80]}")
        if key == "target" and isinstance(value, str) and not _TARGET.fullmatch(value):
            raise _refused(path, f"a call of {value[:80]}")


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            yield from _entries(value)
    elif isinstance(content, list):
        for value in content:
            yield from _entries(value)


def _refused(path: Path, found: str) -> TeacherError:
    return TeacherError(
        f"{path} holds more than tensors and operators; reading it could run code.",
        received=f"{found}; nothing was run",
        expected="a program of tensors, operators of torch.ops and sizes",
        remedy="where you trust it, load it yourself and pass the program in Python: "
        "as_teacher(torch.export.load(path))",
    )
