"""``docs/results.md`` and the pages below it: the committed records of full reproductions, for a reader in a hurry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from limbeck.reports.claims import headline, observation_table, training_time
from limbeck.reports.drawing import ReportFigure
from limbeck.reports.figures import draw_for_results
from limbeck.reports.lights import MEANINGS, SYMBOLS, Light, lights
from limbeck.reports.quantities import MISSING
from limbeck.reports.standalone import standalone_svg
from limbeck.reports.wording import printable
from limbeck.reproduction import ReproductionRecord

HEAD = """# Results

Every claim that was tried, one line each. Each recipe has a page of its own with figures, departures and its command.

- **paper** is the number in print. **ours** is the mean ± sample standard deviation over n runs of different seeds.
- **95 % interval** is where the mean over many seeds would lie ([what that means](explanations/intervals.md)).
- **cost** is the training time of all networks of the recipe together.
"""
NOTHING = "\nNo record is committed yet.\n"
FOOT = """
Each number comes from a sealed record under `results/`. This page and those below it are written by
`limbeck report results --markdown docs/results.md`, never by hand.
"""
COLUMNS = ["verdict", "claim", "paper", "goal", "ours", "95 % interval"]


def results_markdown(records: Mapping[str, ReproductionRecord], *, folder: str = "results") -> str:
    """Return the first page: every claim of every record in one table, one line each.

    Args:
        records: by the name of their folder, in the order of the page.
        folder: of the recipes' pages, as the links name it.
    Returns:
        Markdown; the same records give the same text.
    """
    if not records:
        return HEAD + NOTHING
    all_lights = {name: lights(record) for name, record in records.items()}
    rows = [
        [f"[{_short_name(name)}]({folder}/{name}.md)", *_escaped_all(_claim_row(light)), training_time(records[name])]
        for name, each in all_lights.items()
        for light in each
    ]
    table = _table(["recipe", *COLUMNS, "cost"], rows)
    return f"{HEAD}\n{_counted(all_lights)}\n{table}{FOOT}"


def results_pages(records: Mapping[str, ReproductionRecord]) -> dict[str, str]:
    """Return the page of each recipe and its two figures: text by the name of the file."""
    files = {}
    for name, record in records.items():
        figures = draw_for_results(record)
        names = [f"{name}-{number}.svg" for number in range(1, len(figures) + 1)]
        files[f"{name}.md"] = _page(name, record, dict(zip(names, figures, strict=True)))
        files |= {file: standalone_svg(figure) for file, figure in zip(names, figures, strict=True)}
    return files


def _counted(all_lights: Mapping[str, list[Light]]) -> str:
    """Return how many claims have each colour, with what the colour means."""
    counts = Counter(light.word for each in all_lights.values() for light in each)
    lines = [f"| {SYMBOLS[word]} {word} | {counts[word]} | {meaning} |\n" for word, meaning in MEANINGS.items()]
    return "| verdict | claims | meaning |\n| --- | --- | --- |\n" + "".join(lines)


def _page(name: str, record: ReproductionRecord, figures: Mapping[str, ReportFigure]) -> str:
    environment = record.environment
    circumstances = ", ".join(
        f"{key} {_escaped(str(environment[key]))}"
        for key in ("limbeck", "commit", "torch", "device", "precision")
        if environment.get(key) is not None
    )
    parts = [
        f"# {_escaped(record.title)}\n",
        f"{_escaped(record.paper)}.\n",
        f"**{_escaped(headline(record))}** Training all networks took {training_time(record)}.\n",
        *(_figure(file, figure) for file, figure in figures.items()),
        "## Claim by claim\n",
        _table(COLUMNS, [_escaped_all(_claim_row(light)) for light in lights(record)]),
        f"## The command\n\n```\n{printable(record.command)}\n```\n",
        *_bullets("## What differs from the paper", record.departures),
        *_bullets("## Notes", record.notes),
        *_observed(record),
        f"Record: `results/{name}/record.json`, {record.created[:10]}; {circumstances}. "
        f"`limbeck report results/{name}` draws its full page. All claims: [results](../results.md).\n",
    ]
    return "\n".join(parts)


def _claim_row(light: Light) -> list[str]:
    verdict = light.verdict
    sentence = printable(verdict.claim.sentence)
    return [light.text, sentence, verdict.paper_text, light.goal_text, verdict.ours_text, light.interval_text]


def _figure(file: str, figure: ReportFigure) -> str:
    alternative = _escaped(figure.title).replace("[", "(").replace("]", ")")
    return f"## {_escaped(figure.title)}\n\n![{alternative}]({file})\n\n{_escaped(figure.how_to_read)}\n"


def _bullets(heading: str, sentences: list[str]) -> list[str]:
    return [f"{heading}\n", "".join(f"- {_escaped(sentence)}\n" for sentence in sentences)] if sentences else []


def _observed(record: ReproductionRecord) -> list[str]:
    """Return everything observed, folded away: a row for each number, so that no table is wider than the page."""
    table = observation_table(record)
    if table is None:
        return []
    rows = [
        [row[0], row[1], heading, cell]
        for row in table.rows
        for heading, cell in zip(table.headings[2:], row[2:], strict=True)
        if cell != MISSING
    ]
    body = _table(["condition", "n", "quantity", "value"], [_escaped_all(row) for row in rows])
    return [f"<details><summary>Everything observed ({len(rows)} numbers)</summary>\n\n{body}\n</details>\n"]


def _short_name(name: str) -> str:
    return _escaped(name.replace("-", " "))


def _table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _escaped_all(cells: list[str]) -> list[str]:
    return [_escaped(cell) for cell in cells]


def _escaped(text: str) -> str:
    plain = printable(text)
    for character in "\\|`*<>":
        plain = plain.replace(character, f"\\{character}")
    return plain
