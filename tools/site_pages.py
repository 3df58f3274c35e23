"""Pages of the site that no one writes by hand: the reference, the examples' files; and links out of docs/ mended.

Hooks of MkDocs (``hooks:`` in mkdocs.yml).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from mkdocs.structure.files import File, Files

import limbeck
from limbeck.cli.app import app as command_line

ROOT = Path(__file__).resolve().parent.parent
NOT_DOCUMENTED = {"limbeck.cli"}  # its commands have a page of their own
WIDE = {"results.md", "settings.md"}  # pages whose table takes the room of the contents, too
LINK = re.compile(r"\]\(\.\./examples(?:/(\w+)\.py)?\)")


def packages() -> dict[str, list[str]]:
    """Return the public names of every package that has some."""
    found = {}
    for module in pkgutil.iter_modules(limbeck.__path__, "limbeck."):
        names = sorted(getattr(importlib.import_module(module.name), "__all__", []))
        if names and module.name not in NOT_DOCUMENTED:
            found[module.name] = names
    return found


def on_config(config: Any) -> Any:
    """Add what lies in folders, and the reference, to the navigation."""
    docs = Path(config["docs_dir"])
    sections = {title: pages for section in config["nav"] for title, pages in section.items()}
    sections["How to"] += _unlisted(docs, sections["How to"])
    sections["Results"] += [_entry(path, docs) for path in sorted((docs / "results").glob("*.md"))]
    sections["Reference"] += [{"limbeck": "reference/limbeck.md"}]
    sections["Reference"] += [{name: f"reference/{name}.md"} for name in packages()]
    sections["How to"] += [{"Files of the examples": [{_title(p): f"examples/{p.stem}.md"} for p in _examples()]}]
    sections["Project"] += [{"Decisions": [_entry(path, docs) for path in sorted((docs / "decisions").glob("*.md"))]}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for name, text in generated().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Give wide tables room, and turn links to the examples' files into links to their pages."""
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["toc"]
    return LINK.sub(lambda found: f"](examples/{found[1]}.md)" if found[1] else "](examples.md)", markdown)


def generated() -> dict[str, str]:
    """Return the text of every generated page by its name."""
    pages = {f"reference/{name}.md": f"# {name}\n\n::: {name}\n" for name in packages()}
    pages["reference/limbeck.md"] = _front_page()
    pages["reference/commands.md"] = _commands()
    for path in _examples():
        code = path.read_text(encoding="utf-8")
        pages[f"examples/{path.stem}.md"] = f"# {_title(path)}\n\n`examples/{path.name}`\n\n```python\n{code}```\n"
    return pages


def _front_page() -> str:
    rows = []
    for name in limbeck.__all__:
        value = getattr(limbeck, name)
        summary = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        home = limbeck._HOMES.get(name)
        shown = f"[`{name}`][{home}.{name}]" if home else f"`{name}`"
        rows.append(f"| {shown} | {summary if home else 'the version, as in `limbeck --version`'} |\n")
    head = (
        "# limbeck\n\nWhat `import limbeck` offers. Each name loads on first use.\n\n| name | what |\n| --- | --- |\n"
    )
    return head + "".join(rows)


def _commands() -> str:
    runner, group = CliRunner(env={"COLUMNS": "100"}), command_line()
    text = "# Commands\n\nWhat `limbeck COMMAND --help` says.\n"
    for command in group.list_commands(click.Context(group)):
        shown = runner.invoke(group, [command, "--help"], prog_name="limbeck")
        text += f"\n## limbeck {command}\n\n```text\n{shown.output.strip()}\n```\n"
    return text


def _examples() -> list[Path]:
    return sorted((ROOT / "examples").glob("*.py"))


def _unlisted(docs: Path, listed: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the guides that stand nowhere yet in the navigation."""
    known = {page for entry in listed for page in entry.values()} | {"guide/soft-targets.md"}
    entries = [_entry(path, docs) for path in sorted((docs / "guide").glob("*.md"))]
    return [entry for entry in entries if not known & set(entry.values())]


def _entry(path: Path, docs: Path) -> dict[str, str]:
    return {_title(path): path.relative_to(docs).as_posix()}


def _title(path: Path) -> str:
    return path.stem.replace("-", " ").replace("_", " ")
