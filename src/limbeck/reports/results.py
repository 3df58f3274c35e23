"""``docs/results.md``: the committed records of full reproductions as one page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from limbeck.reports.claims import claim_table, headline, observation_table, training_time
from limbeck.reports.html_table import HtmlTable
from limbeck.reports.wording import printable
from limbeck.reproduction import ReproductionRecord

HEAD = """# Results

Every number here was made by the command above its table, and is drawn from the record that it left under `results/`.
The page itself is written by `limbeck report results --markdown docs/results.md`; `limbeck report results/NAME` draws a
record's page with its figures. Ours is the mean ± sample standard deviation over n runs that differ in their seed.
"""
NOTHING = "\nNo record is committed yet.\n"


def results_markdown(records: Mapping[str, ReproductionRecord]) -> str:
    """Return the page: for each record its headline, command, claims, observations, departures and circumstances.

    Args:
        records: by the name of their folder, in the order of the page.
    Returns:
        Markdown; the same records give the same text.
    """
    return HEAD + ("".join(_section(name, record) for name, record in records.items()) or NOTHING)


def _section(name: str, record: ReproductionRecord) -> str:
    observed = observation_table(record)
    environment = record.environment
    circumstances = ", ".join(
        f"{key} {_escaped(str(environment[key]))}"
        for key in ("limbeck", "commit", "torch", "device", "precision")
        if environment.get(key) is not None
    )
    parts = [
        f"\n## {_escaped(record.title)}\n",
        f"{_escaped(record.paper)}. **{_escaped(headline(record))}**\n",
        f"```\n{printable(record.command)}\n```\n",
        _table(claim_table(record)),
        *([f"<details><summary>Everything observed</summary>\n\n{_table(observed)}\n</details>\n"] if observed else []),
    ]
    if record.departures:
        parts.append("Departures:\n\n" + "".join(f"- {_escaped(departure)}\n" for departure in record.departures))
    if record.notes:
        parts.append("Notes:\n\n" + "".join(f"- {_escaped(note)}\n" for note in record.notes))
    parts.append(
        f"Record: `results/{name}/record.json`, {record.created[:10]}; {circumstances}; training time of all networks "
        f"{training_time(record)}.\n"
    )
    return "\n".join(parts)


def _table(table: HtmlTable) -> str:
    lines = [table.headings, ["---"] * len(table.headings), *table.rows]
    return "".join("| " + " | ".join(_escaped(cell) for cell in line) + " |\n" for line in lines)


def _escaped(text: str) -> str:
    plain = printable(text)
    for character in "\\|`*<>":
        plain = plain.replace(character, f"\\{character}")
    return plain
