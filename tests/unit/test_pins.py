"""Pins: hashed as constraints.txt has them, the oldest as pyproject.toml has them; an audit says what it saw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from audit import verdict
from oldest import oldest

try:
    import tomllib
except ImportError:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DEPENDENCIES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE)
    return {canonicalize_name(package): version for package, version in found}


def test_the_hashed_list_is_that_of_the_constraints():
    hashed, pinned = pins("requirements.hashed.txt"), pins("constraints.txt")
    assert {name: version for name, version in hashed.items() if pinned.get(name, version) != version} == {}
    needed = {canonicalize_name(Requirement(text).name) for text in DEPENDENCIES} - {"torch"}
    assert needed <= hashed.keys()
    assert "torch" not in hashed
    for block in re.split(r"\n(?=[^\s#])", (ROOT / "requirements.hashed.txt").read_text("utf-8"))[1:]:
        assert re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+\n?", block), block[:80]


def test_every_dependency_has_an_oldest_version():
    assert len(oldest(DEPENDENCIES)) == len(DEPENDENCIES)


@pytest.mark.parametrize(
    ("dependencies", "code", "words"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 of 1 packages were looked up: no vulnerability"),
        ([], 3, "0 of 0 packages were looked up: nothing was checked"),
        ([{"name": "a", "skip_reason": "unknown"}], 3, "Not looked up: a"),
        (
            [
                {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]},
                {"name": "b", "skip_reason": ""},
            ],
            1,
            "a 1: CVE-1, mended in 2",
        ),
    ],
)
def test_an_audit_that_could_not_look_is_no_success(dependencies, code, words):
    assert verdict(dependencies)[0] == code
    assert words in verdict(dependencies)[1]
