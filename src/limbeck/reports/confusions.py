"""Which classes are taken for which: confusion matrices summed over seeds, and the most confused pairs."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.records import RunRecord
from limbeck.reports.summary import role_order
from limbeck.reports.wording import printable

Matrix = list[list[int]]


@dataclass(frozen=True)
class ConfusedPair:
    """A true class, the predicted class instead, and how often each network did so, per network of its role."""

    true: str
    predicted: str
    counts: dict[str, str]  # by role


def summed_confusions(record: RunRecord) -> dict[str, tuple[Matrix, int]]:
    """Return by role the confusion matrices summed over seeds, and how many were summed. Members are left out."""
    sums: dict[str, tuple[Matrix, int]] = {}
    size = len(record.data.class_names)
    for network in sorted(record.networks, key=lambda n: role_order(n.role)):
        matrix = network.confusion
        if network.role.startswith("member ") or not _is_square(matrix, size):
            continue
        before = sums.get(network.role)
        if before:
            pairs = zip(before[0], matrix, strict=True)
            matrix = [[a + b for a, b in zip(left, right, strict=True)] for left, right in pairs]
        sums[network.role] = (matrix, before[1] + 1 if before else 1)
    return sums


def most_confused_pairs(record: RunRecord, *, count: int = 10) -> tuple[list[str], list[ConfusedPair]]:
    """Return the roles and the pairs that the last role (the student) confuses most, with every role's mean count.

    The matrices are used where the record has them, else the lists that the run kept of each network.
    """
    tables = {
        role: {key: total / networks for key, total in _off_diagonal(matrix, record.data.class_names).items()}
        for role, (matrix, networks) in summed_confusions(record).items()
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


def _off_diagonal(matrix: Matrix, names: list[str]) -> dict[tuple[str, str], int]:
    return {
        (names[i], names[j]): value for i, row in enumerate(matrix) for j, value in enumerate(row) if value and i != j
    }


def _is_square(matrix: Matrix, size: int) -> bool:
    return size > 0 and len(matrix) == size and all(len(row) == size for row in matrix)
