"""Programs of ``torch.export`` as teachers, from files that must not run code."""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from limbeck.bounds import require_honest_zip, require_plain_file
from limbeck.errors import TeacherError
from limbeck.models.fixed import FixedNetwork
from limbeck.records.export_record import check_exported
from limbeck.teachers.module import ModuleTeacher

_ARITHMETIC = "add|sub|mul|floordiv|truediv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_"
_HIGHER_ORDER = "cond|while_loop|wrap_with_set_grad_enabled|wrap_with_autocast"
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims?|quantized|quantized_decomposed|torchvision)\.(?!__|from_file)\w+\.(?!__)\w+"
    rf"|torch\.ops\.higher_order\.({_HIGHER_ORDER})|torch\.sym_\w+|_operator\.({_ARITHMETIC})|math\.\w+"
)
_SIZES = frozenset(
    re.findall(
        r"\w+",
        """
    Symbol Integer Rational Float Add Mul Pow Max Min Mod Equality Unequality StrictLessThan LessThan
    StrictGreaterThan GreaterThan And Or Not FloorDiv ModularIndexing Where PythonMod CleanDiv CeilToInt FloorToInt
    CeilDiv LShift RShift PowByNatural FloatPow FloatTrueDiv IntTrueDiv TruncToFloat TruncToInt RoundToInt
    RoundDecimal ToFloat Identity
""",
    )
)
TEXT_FOLDERS = ("extra", "extra_files")  # of an archive: what stands beside the program; the latter in torch 2.6
_IMPORTS = ("default_factory_module", "__enum__")  # what a structure of inputs names to have it imported
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
    require_plain_file(path)
    require_honest_zip(path, TeacherError)
    check_exported(path)
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
        elif place.rpartition("/")[2] in TEXT_FOLDERS:  # texts beside the program, which nothing runs
            continue
        elif not (leaf in _PLAIN or place.endswith(".data") or re.fullmatch(r"(weight|tensor|constant)_\d+", leaf)):
            raise _refused(path, entry)


def _check_json(content: Any, path: Path) -> None:
    for key, value in _entries(content):
        if key in _IMPORTS:
            raise _refused(path, f"a structure that imports {str(value)[:80]}")
        if key == "use_pickle" and value:
            raise _refused(path, "a pickled tensor")
        if key == "guards_code" and value:
            raise _refused(path, f"a guard that is Python: {str(value)[:80]}")
        if key == "expr_str" and not (isinstance(value, str) and _is_size(value)):
            raise _refused(path, f"a size that is Python: {str(value)[:80]}")
        if key == "target" and isinstance(value, str) and not _TARGET.fullmatch(value):
            raise _refused(path, f"a call of {value[:80]}")


def _is_size(text: str) -> bool:
    """Return whether text is a size as sympy writes it: constructors of ``_SIZES`` of each other, symbols and numbers.

    sympy reads it with ``eval``, where ``S('exec')`` is Python's ``exec``: nothing else may be called, and text
    stands in ``Symbol('s0')`` and ``Float('1.0')`` alone.
    """
    try:
        return text.isascii() and text.isprintable() and _is_size_node(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError):
        return False


def _is_size_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (bool, int, float))
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_size_node(node.operand)
    if isinstance(node, ast.Name):
        return node.id in ("true", "false")
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in _SIZES:
        return False
    for keyword in node.keywords:
        if not (isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, (bool, int))):
            return False
    if node.func.id in ("Symbol", "Float") and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
        pattern = r"[a-z]\w*" if node.func.id == "Symbol" else r"-?[\d.]+(e[-+]?\d+)?"
        return re.fullmatch(pattern, str(node.args[0].value)) is not None
    return all(_is_size_node(argument) for argument in node.args)


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            yield from _entries(value)
    elif isinstance(content, list):
        for value in content:
            yield from _entries(value)
    elif isinstance(content, str) and content.lstrip()[:1] in ("{", "[", '"'):  # structures are JSON inside of JSON
        try:
            inner = json.loads(content)
        except ValueError:
            return
        yield from _entries(inner)


def _refused(path: Path, found: str) -> TeacherError:
    return TeacherError(
        f"{path} holds more than tensors and operators; reading it could run code.",
        received=f"{found}; nothing was run",
        expected="a program of tensors, operators of torch.ops and sizes",
        remedy="where you trust it, load it yourself and pass the program in Python: "
        "as_teacher(torch.export.load(path))",
    )
