"""A .pt2 file cannot run code: whatever it holds beside tensors, operators and sizes is refused before it is read."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from limbeck.errors import TeacherError
from limbeck.teachers.exported import load_exported

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "good.pt2"
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network, (torch.zeros(2, 1, 2, 2),), dynamic_shapes=shapes, strict=False)
    torch.export.save(program, path)
    return path


def forged(good: Path, path: Path, *, key: str, value: Any) -> Path:
    """Write the program with every ``key`` of it set to ``value``."""

    def put(content: Any) -> None:
        for name, inner in content.items() if isinstance(content, dict) else enumerate(content):
            if name == key:
                content[name] = value
            elif isinstance(inner, (dict, list)):
                put(inner)

    with zipfile.ZipFile(good) as before, zipfile.ZipFile(path, "w") as after:
        for entry in before.namelist():
            content = before.read(entry)
            if entry.endswith(".json"):
                decoded = json.loads(content)
                put(decoded)
                content = json.dumps(decoded).encode()
            after.writestr(entry, content)
    return path


def test_a_program_of_a_dynamic_batch_is_read(good):
    targets = load_exported(good)(torch.arange(5), torch.zeros(5, 1, 2, 2))
    assert targets.logits_at(1.0).shape == (5, 3)


def test_a_size_that_calls_exec_is_not_evaluated(good, tmp_path):
    mark = tmp_path / "ran"
    code = "+".join(f"S('chr')({ord(letter)})" for letter in f"open({str(mark)!r}, 'w').close()")
    with pytest.raises(TeacherError, match="a size that is Python"):
        load_exported(forged(good, tmp_path / "bad.pt2", key="expr_str", value=f"S('exec')({code})"))
    assert not mark.exists()


@pytest.mark.parametrize(
    "size", ["S('open')('a','w')", "Max(S('exec'))", "Symbol('s0')('x')", "Symbol('s0', real=S)", "Max.x", "Add('a')"]
)
def test_a_size_is_constructors_symbols_and_numbers(good, tmp_path, size):
    with pytest.raises(TeacherError, match="a size that is Python"):
        load_exported(forged(good, tmp_path / "bad.pt2", key="expr_str", value=size))


@pytest.mark.parametrize(
    "target",
    ["torch.ops.import_module", "torch.ops.load_library", "torch.hub.load", "torch.ops.aten.from_file.default",
     "torch.ops.aten.__class__.__init__", "os.system"],
)  # fmt: skip
def test_only_operators_are_called(good, tmp_path, target):
    with pytest.raises(TeacherError, match="a call of"):
        load_exported(forged(good, tmp_path / "bad.pt2", key="target", value=target))


def test_a_structure_imports_no_module(good, tmp_path):
    context = json.dumps({"default_factory_module": "this", "default_factory_name": "s"}).replace("_f", "\\u005ff")
    spec = json.dumps([1, {"type": "collections.defaultdict", "context": context, "children_spec": []}])
    with pytest.raises(TeacherError, match="a structure that imports"):
        load_exported(forged(good, tmp_path / "bad.pt2", key="in_spec", value=spec))
    assert "this" not in sys.modules
