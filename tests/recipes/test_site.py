"""The site builds strictly, and its reference has every public name, with arguments that are really there."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import limbeck

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")
pytest.importorskip("mkdocs_jupyter")
pytest.importorskip("latex2mathml")

import axe
from site_docstrings import for_the_site, plain_type
from site_pages import packages

ROOT = Path(__file__).parents[2]
# Landmarks without a name that the theme's script puts beside each block of code, around the button that copies it; and
# the blocks, which that script lets keys scroll wherever there is a mouse, as there is none in a headless browser.
OF_THE_THEME = {"landmark-unique": ".md-code__nav", "scrollable-region-focusable": "pre > code"}
pytestmark = pytest.mark.xdist_group("site")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def page(site: Path, name: str) -> str:
    return (site / f"{name}.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_public_name_has_its_place_in_the_reference(site):
    front = page(site, "reference/limbeck")
    assert [name for name in limbeck.__all__ if f">{name}</code>" not in front] == []
    for package, names in packages().items():
        text = page(site, f"reference/{package}")
        missing = [name for name in names if f'id="{package}.{name}"' not in text and not is_plain(package, name)]
        assert missing == [], package


@pytest.mark.slow
def test_the_reference_shows_arguments_examples_and_formulas_as_they_are(site):
    text = re.sub(r"<[^>]+>", "", page(site, "reference/limbeck.distillation"))
    shown = text[text.index("distill(") :].partition("distill_mutual")[0]
    assert "num_labelled" in shown
    assert "Labels to keep, stratified" in shown
    assert "settings: DistillJob" not in text
    losses = page(site, "reference/limbeck.losses")
    assert "<math" in losses
    assert '<span class="gp">&gt;&gt;&gt; </span>' in losses
    assert "Annotated[" not in re.sub(r"<[^>]+>", "", page(site, "reference/limbeck.training"))


@pytest.mark.slow
def test_files_beside_the_docs_are_pages_or_told_without_a_link(site):
    assert 'id="exit-codes"' in page(site, "security")
    assert 'href="security.html#exit-codes"' in page(site, "getting-started")
    assert "tests/torture</" not in page(site, "reliability").replace("tests/torture</p>", "")


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site):
    dead = []
    for path in site.rglob("*.html"):
        links = re.findall(r'(?:href|src)="((?!\w+:|//|#)[^"]+)"', path.read_text(encoding="utf-8"))
        targets = {unquote(link.partition("#")[0].partition("?")[0]) for link in links if "404" not in path.name}
        dead += [f"{path.relative_to(site)}: {one}" for one in targets if one and not (path.parent / one).exists()]
    assert dead == []


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("name", ["index", "guide/deploy", "notebooks/first-distillation", "architecture"])
def test_axe_finds_nothing_wrong_with_a_page_of_the_site(site, chromium, axe_script, tmp_path, name):
    assert axe.violations(chromium, axe_script, site / f"{name}.html", tmp_path, left_out=OF_THE_THEME) == []


def test_docstrings_name_the_arguments_that_are_there():
    wrong = {name: found for name, thing in public() if (found := differing_arguments(thing)) is not None}
    assert wrong == {}


def test_what_limbeck_itself_offers_documents_every_argument():
    things = {name: getattr(limbeck, name) for name in limbeck.__all__ if name != "__version__"}
    assert [n for n, thing in things.items() if parameters_of(thing) and "Args:" not in (thing.__doc__ or "")] == []


def test_functions_of_many_arguments_document_them():
    many = [(name, thing) for name, thing in public() if inspect.isfunction(thing) and name.count(".") == 2]
    many = [(name, thing.__doc__ or "") for name, thing in many if len(parameters_of(thing)) > 2]
    assert [name for name, text in many if "Args:" not in text and "arguments" not in text] == []


def test_docstrings_become_markdown():
    assert for_the_site(":class:`Samples` at x[0][1]") == "`Samples` at x[0]\\[1]"
    assert plain_type("Annotated[int, Ge(0)] | None") == "int | None"


def public() -> Iterator[tuple[str, Any]]:
    """Yield every public function and class, and the public methods of classes."""
    for package, names in packages().items():
        for name in names:
            thing = getattr(importlib.import_module(package), name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"{package}.{name}", thing
            if inspect.isclass(thing):
                methods = ((key, getattr(thing, key)) for key in vars(thing) if not key.startswith("_"))
                yield from ((f"{package}.{name}.{key}", m) for key, m in methods if inspect.isroutine(m))


def is_plain(package: str, name: str) -> bool:
    """Whether a name is that of a value or a type alias, which has no docstring of its own."""
    thing = getattr(importlib.import_module(package), name)
    return not (inspect.isclass(thing) or inspect.isfunction(thing))


def parameters_of(thing: Any) -> list[str]:
    try:
        return [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]
    except ValueError:  # an exception class without a signature of its own
        return []


def differing_arguments(thing: Any) -> str | None:
    """Return what a docstring's Args have too many or too few; None where they match, or where there are none."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", inspect.cleandoc(thing.__doc__ or ""), re.MULTILINE)
    if not inspect.getdoc(thing):
        return "no docstring"
    if section is None:
        return None
    lines = [line for line in section[1].splitlines() if re.match(r" {4}\S", line)]
    told = [name.strip(" *`") for line in lines for name in line.partition(":")[0].split(",")]
    given = parameters_of(thing)
    unknown, missing = set(told) - set(given), set(given) - set(told)
    return f"unknown {sorted(unknown)}, missing {sorted(missing)}" if unknown or missing else None
