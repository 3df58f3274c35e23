"""A reproduction in words and tables: what terminal, page and ``docs/results.md`` have in common."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import TYPE_CHECKING, TypeVar

from limbeck.reports.facts import Fact, duration
from limbeck.reports.html_table import HtmlTable
from limbeck.reports.quantities import MISSING
from limbeck.reports.wording import listed, printable
from limbeck.reproduction import ReproductionRecord, Verdict, spread_text, unit_text, value_text

if TYPE_CHECKING:
    from rich.table import Table

Item = TypeVar("Item", bound=Hashable)
MOST_ROWS, MOST_COLUMNS = 12, 5  # of observations that a terminal shows; the page has them all


def headline(record: ReproductionRecord) -> str:
    """Return what came of the goals, in a sentence or two."""
    if record.smoke:
        return "A smoke run: it shows that the path works, and its numbers mean nothing."
    verdicts = [verdict for verdict in record.verdicts() if verdict.claim.has_goal]
    if not verdicts:
        return "No goal was set for these claims: paper and ours stand side by side."
    by_status = {status: [v for v in verdicts if v.status == status] for status in ("reached", "not reached")}
    num_missing = len(verdicts) - sum(map(len, by_status.values()))
    if num_missing == len(verdicts):
        return "What the goals are about was not measured."
    sentence = f"{len(by_status['reached'])} of {len(verdicts)} goals reached"
    if by_status["not reached"]:
        sentence += f"; not reached: {listed([subject(verdict) for verdict in by_status['not reached']])}"
    return sentence + (f"; {num_missing} not measured." if num_missing else ".")


def claim_rows(record: ReproductionRecord) -> list[list[str]]:
    """Return claim, paper, ours and verdict of every claim, in order."""
    return [[subject(v), v.paper_text, v.ours_text, v.text] for v in record.verdicts()]


def subject(verdict: Verdict) -> str:
    """Return what a claim is about: "distilled, test errors"."""
    return f"{words(verdict.claim.condition)}, {words(verdict.claim.quantity)}"


def words(name: str) -> str:
    """Return a name as a reader says it.

    Example:
        >>> words("hard_labels"), words("test_nll")
        ('hard labels', 'test NLL')
    """
    return printable(" ".join("NLL" if word == "nll" else word for word in name.split("_")))


def key_claims(record: ReproductionRecord) -> list[Fact]:
    """Return the head of the page: our number for each of the first four claims, the paper's below it."""
    facts = []
    for verdict in record.verdicts()[:4]:
        if verdict.ours is None:
            continue
        value = value_text(verdict.ours.mean, verdict.claim.unit)
        details = [f"n = {verdict.ours.count}"] if verdict.of_runs else []
        details += [f"paper {verdict.paper_text}"] if verdict.claim.paper is not None else []
        details += [verdict.status] if verdict.status != "no goal" else []
        facts.append(Fact(value, subject(verdict), " · ".join(details)))
    return facts


def claim_table(record: ReproductionRecord) -> HtmlTable:
    """Return the claims with their sentences."""
    rows = [
        [row[0], printable(verdict.claim.sentence), *row[1:]]
        for row, verdict in zip(claim_rows(record), record.verdicts(), strict=True)
    ]
    return HtmlTable("Claim by claim", ["what", "claim", "paper", "ours", "verdict"], rows)


def observation_table(record: ReproductionRecord) -> HtmlTable | None:
    """Return every quantity of every condition; None where nothing was observed."""
    quantities = _each(o.quantity for o in record.observations)
    if not quantities:
        return None
    units = {quantity: record.unit_of(quantity) for quantity in quantities}
    rows = []
    for condition in _each(o.condition for o in record.observations):
        summaries = {quantity: record.summary(condition, quantity) for quantity in quantities}
        runs = [record.values(condition, quantity) for quantity in quantities]
        counts = sorted({len(values) for values in runs if values and set(values) != {None}})
        cells = [MISSING if s is None else spread_text(s, units[quantity]) for quantity, s in summaries.items()]
        num_runs = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else MISSING
        rows.append([words(condition), num_runs, *cells])
    headings = [words(q) + (f" ({unit_text(units[q]).strip()})" if unit_text(units[q]) else "") for q in quantities]
    return HtmlTable("Conditions", ["condition", "n", *headings], rows)


def run_table(record: ReproductionRecord) -> HtmlTable:
    """Return the observations one by one."""
    rows = [
        [words(o.condition), MISSING if o.seed is None else str(o.seed), words(o.quantity), value_text(o.value, o.unit)]
        for o in record.observations
    ]
    return HtmlTable("Observations", ["condition", "seed", "quantity", "value"], rows)


def trained_table(record: ReproductionRecord) -> HtmlTable:
    """Return what the networks are and how long they trained, one row for each name and architecture."""
    rows = []
    for name, spec in _each((network.name, network.spec) for network in record.networks):
        networks = [network for network in record.networks if (network.name, network.spec) == (name, spec)]
        epochs = sorted({network.num_epochs for network in networks})
        seconds = sum(network.training_seconds for network in networks)
        devices = _each(str(network.environment.get("device", MISSING)) for network in networks)
        rows.append(
            [
                words(name),
                printable(spec.replace(",", ", ")),
                f"{networks[0].num_parameters:,}",
                _seeds([network.seed for network in networks]),
                str(epochs[0]) if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}",
                duration(seconds),
                ", ".join(map(printable, devices)),
            ]
        )
    headings = ["network", "is", "parameters", "seeds", "epochs", "training, all seeds", "trained on"]
    return HtmlTable("Networks", headings, rows)


def _seeds(seeds: list[int]) -> str:
    """Return the seeds; of networks that share some (a sweep's), also how many networks there are."""
    distinct = _each(seeds)
    text = ", ".join(map(str, distinct))
    return text if len(distinct) == len(seeds) else f"{text} ({len(seeds)} networks)"


def training_time(record: ReproductionRecord) -> str:
    """Return the training time of all networks, whenever they were trained."""
    return duration(sum(network.training_seconds for network in record.networks))


def reproduction_table(record: ReproductionRecord) -> Table:
    """Return a reproduction for the terminal, folded to its width: headline, claims, what else was observed, notes."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid()
    grid.add_row(Text(printable(headline(record)), style="bold"))
    claims = _plain_table(["claim", "paper", "ours", "verdict"], claim_rows(record), numeric=(1, 2))
    grid.add_row(claims)
    observed = observation_table(record)
    if observed is not None and len(observed.rows) <= MOST_ROWS and len(observed.headings) <= MOST_COLUMNS:
        grid.add_row("")
        grid.add_row(_plain_table(observed.headings, observed.rows, numeric=range(1, len(observed.headings))))
    for note in record.notes:
        grid.add_row("")
        grid.add_row(Text(printable(note)))
    return grid


def _plain_table(headings: list[str], rows: list[list[str]], *, numeric: Collection[int]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    for column, heading in enumerate(headings):
        is_number = column in numeric
        table.add_column(Text(heading), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _each(items: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(items))
