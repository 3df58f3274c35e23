"""Draw the house from its imports: ``make architecture`` writes the picture, ``make check`` sees that it is current.

The floors are those that import-linter enforces (``pyproject.toml``); the arrows are the imports that grimp finds. An
arrow that other arrows imply is left out: what is drawn is the transitive reduction.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grimp
import networkx

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = "limbeck"
BEGIN, END = (
    "<!-- begin of what tools/architecture.py draws -->\n",
    "<!-- end of what tools/architecture.py draws -->\n",
)


def floors() -> list[list[str]]:
    """Return the packages on each floor, highest floor first, as import-linter enforces them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip().removeprefix(f"{PACKAGE}.") for name in layer.split("|")] for layer in layers]


def arrows() -> networkx.DiGraph:
    """Return who imports whom among the package's children, without what other arrows imply."""
    modules = grimp.build_graph(PACKAGE)
    for child in modules.find_children(PACKAGE):
        modules.squash_module(child)
    drawn = networkx.DiGraph()
    for child in modules.find_children(PACKAGE):
        drawn.add_node(child)
        drawn.add_edges_from((child, other) for other in modules.find_modules_directly_imported_by(child))
    drawn.remove_nodes_from([PACKAGE])
    drawn.remove_edges_from(list(networkx.selfloop_edges(drawn)))
    if not networkx.is_directed_acyclic_graph(drawn):
        sys.exit(f"packages import each other in a circle: {networkx.find_cycle(drawn)}")
    reduced: networkx.DiGraph = networkx.transitive_reduction(drawn)
    return networkx.relabel_nodes(reduced, {name: name.removeprefix(f"{PACKAGE}.") for name in reduced})


def drawing() -> str:
    """Return the picture as a Mermaid flowchart."""
    graph, lines = arrows(), ["```mermaid", "flowchart TD"]
    below = [floor for floor in floors() if set(floor) & set(graph)]
    for number, floor in zip(range(len(below) - 1, -1, -1), below, strict=True):
        lines.append(f'  subgraph floor{number}["floor {number}"]')
        lines += [f"    {name.strip('_')}[{name}]" for name in floor if name in graph]
        lines.append("  end")
    lines += [f"  {one.strip('_')} --> {other.strip('_')}" for one, other in sorted(graph.edges)]
    return "\n".join([*lines, "```", ""])


def main() -> None:
    """Write the picture into the page; with --check fail where it is another."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        sys.exit(f"{PAGE}: the lines that mark the picture's place are gone: {BEGIN.strip()} {END.strip()}")
    drawn = before + BEGIN + drawing() + END + after
    if "--check" in sys.argv[1:]:
        sys.exit(None if drawn == page else f"{PAGE}: the picture is not that of the imports; run make architecture")
    PAGE.write_text(drawn, "utf-8")


if __name__ == "__main__":
    main()
