"""Which classes are taken for which: confusions summed over seeds, and the most confused pairs."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.records import NetworkRecord, RunRecord
from limbeck.reports.summary import role_order
from limbeck.reports.wording import printable

Cells = dict[tuple[int, int], int]  # samples by true and predicted class; what is not there is 0


@dataclass(frozen=True)
class ConfusedPair:
    """A true class, the predicted class instead, and how often each network did so, per network of its role."""

    true: str
    predicted: str
    counts: dict[str, str]  # by role


def summed_confusions(record: RunRecord) -> dict[str, tuple[Cells, int]]:
    """Return by role the confusions summed over seeds, and how many were summed. Members are left out.

    So is a network whose record keeps no more than the most frequent cells.
    """
    sums: dict[str, tuple[Cells, int]] = {}
    size = len(record.data.class_names)
    for network in sorted(record.networks, key=lambda n: role_order(n.role)):
        cells = _cells_of(network, size)
        if network.role.startswith("member ") or not cells or network.num_cells_left_out:
            continue
        total, count = sums.get(network.role, ({}, 0))
        for place, number in cells.items():
            total[place] = total.get(place, 0) + number
        sums[network.role] = (total, count + 1)
    return sums


def most_confused_pairs(record: RunRecord, *, count: int = 10) -> tuple[list[str], list[ConfusedPair]]:
    """Return the roles and the pairs that the last role (the student) confuses most, with every role's mean count.

    The matrices are used where the record has them, else the lists that the run kept of each network.
    """
    tables = {
        role: {key: total / networks for key, total in _off_diagonal(cells, record.data.class_names).items()}
        for role, (cells, networks) in summed_confusions(record).items()
    }
    whole = set(tables)
    for role in sorted(record.roles(), key=role_order):
        networks = [n for n in record.networks if n.role == role and n.most_confused]
        if role in tables or not networks or role.startswith("member "):
            continue
        sums: dict[tuple[str, str], float] = {}
        for network in networks:
            for true, predicted, number in network.most_confused:
                sums[true, predicted] = sums.get((true, predicted), 0.0) + number / len(networks)
        tables[role] = sums
    roles = sorted(tables, key=role_order)
    if not roles:
        return [], []
    ranked = sorted(
        {key for table in tables.values() for key in table},
        key=lambda key: ([-tables[role].get(key, 0.0) for role in reversed(roles)], key),
    )[:count]
    decimals = {role: 0 if sum(n.role == role for n in record.networks) == 1 else 1 for role in roles}
    pairs = [
        ConfusedPair(
            printable(true, limit=40),
            printable(predicted, limit=40),
            {
                role: f"{tables[role].get((true, predicted), 0.0):.{decimals[role]}f}"
                if role in whole or (true, predicted) in tables[role]
                else "—"
                for role in roles
            },
        )
        for true, predicted in ranked
    ]
    return roles, pairs


def _off_diagonal(cells: Cells, names: list[str]) -> dict[tuple[str, str], int]:
    return {(names[i], names[j]): value for (i, j), value in cells.items() if i != j}


def _cells_of(network: NetworkRecord, size: int) -> Cells:
    """Return the cells that occur, from the matrix or the cells that a record keeps; none that lie outside it."""
    flat = network.confusion_cells
    if flat:
        cells = dict(zip(zip(flat[::3], flat[1::3], strict=False), flat[2::3], strict=False))
        is_inside = len(flat) % 3 == 0 and all(0 <= i < size and 0 <= j < size for i, j in cells)
        return cells if is_inside else {}
    matrix = network.confusion
    if size == 0 or len(matrix) != size or any(len(row) != size for row in matrix):
        return {}
    return {(i, j): value for i, row in enumerate(matrix) for j, value in enumerate(row) if value}
