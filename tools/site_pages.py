"""Pages of the site that no one writes by hand: the reference, examples, files of the root; and links out of docs/.

Hooks of MkDocs (``hooks:`` in mkdocs.yml).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import posixpath
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
PROGRAMS = {"a_loop": "A loop of your own", "torchdistill": "torchdistill", "textbrewer": "TextBrewer", "timm": "timm"}
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}  # files of the root that become pages
SOURCE = re.compile(r'href="((?!\w+:)[^"#]+)\.(?:md|ipynb)((?:#[^"]*)?)"')
NOTEBOOK_CODE = '<div class="highlight-ipynb hl-python">'
SEARCH_DIALOG = '<div class="md-search" data-md-component="search" role="dialog">'
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(((?:\.\./)*)([^)#:\s]+)((?:#[^)\s]*)?)\)")


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
    programs = [{f"{title}, side by side": _program_page(name)} for name, title in PROGRAMS.items()]
    sections["Coming from"] += [*programs, {"With Limbeck": _program_page("limbeck")}]
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
    """Give wide tables room, and mend links to files outside of docs/."""
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["toc"]
    folder = posixpath.dirname(page.file.src_uri)
    return LINK.sub(lambda found: _mended(found, folder), markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Turn a notebook's links to sources, which MkDocs leaves as they are, into links to pages."""
    is_notebook = page.file.src_uri.endswith(".ipynb")
    return SOURCE.sub(r'href="\1.html\2"', html) if is_notebook else html


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's search dialog for people who hear the page, and let keys scroll a notebook's code."""
    named = output.replace(SEARCH_DIALOG, SEARCH_DIALOG.replace(">", ' aria-label="Search">'))
    return named.replace(NOTEBOOK_CODE, NOTEBOOK_CODE.replace(">", ' tabindex="0">'))


def _mended(found: re.Match[str], folder: str) -> str:
    """Return a link as it is within docs/; a link to the page of a file elsewhere; its text alone where it has none."""
    text, path = found[1], posixpath.normpath(posixpath.join("docs", folder, found[2] + found[3]))
    if path.startswith("docs/"):
        return found[0]
    target = ROOT_PAGES.get(path)
    if path == "examples" or path.startswith("examples/"):
        target = path.removesuffix(".py") + ".md"
    return f"[{text}]({posixpath.relpath(target, folder or '.')}{found[4]})" if target else text


def generated() -> dict[str, str]:
    """Return the text of every generated page by its name."""
    pages = {f"reference/{name}.md": f"# {name}\n\n::: {name}\n" for name in packages()}
    pages["reference/limbeck.md"] = _front_page()
    pages["reference/commands.md"] = _commands()
    for name, page in ROOT_PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        pages[page] = text.replace("](docs/", "](").replace("](SECURITY.md", "](security.md")
    for path in _examples():
        pages[f"examples/{path.stem}.md"] = f"# {_title(path)}\n\n{_code(path)}"
    return pages | _programs()


def _programs() -> dict[str, str]:
    """Return the pages of the job that is written with other tools: each beside Limbeck's, and what they share."""
    folder = ROOT / "examples" / "coming_from"
    ours = _code(folder / "with_limbeck.py")
    pages = {_program_page("limbeck"): f"# With Limbeck\n\n{ours}"}
    for name, title in PROGRAMS.items():
        theirs = _code(folder / f"with_{name}.py") + "\n" + _code(folder / "evidence.py")
        columns = "".join(f"<div markdown>\n\n{column}\n</div>\n" for column in (theirs, ours))
        head = f"---\nhide: [navigation, toc]\n---\n\n# {title}, side by side\n\n"
        beside = f'<div class="side-by-side" markdown>\n{columns}</div>\n\nBoth import `job.py`, data and networks:\n\n'
        pages[_program_page(name)] = head + beside + _code(folder / "job.py")
    for name in ("job", "evidence"):
        pages[f"examples/coming_from/{name}.md"] = f"# {name}.py\n\n{_code(folder / f'{name}.py')}"
    return pages


def _program_page(name: str) -> str:
    return f"examples/coming_from/with_{name}.md"


def _code(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return f"`{name}`\n\n```python\n{path.read_text(encoding='utf-8')}```\n"


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
