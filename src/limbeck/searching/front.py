"""The front of accuracy against cost, what of it is tested, and the sentence that answers the question."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.errors import shortened
from limbeck.records import RunRecord
from limbeck.records.search_record import Point
from limbeck.statistics import mean_interval, summarise


def front_of(points: Sequence[Point]) -> list[Point]:
    """Return the points that no cheaper one, or one of the same cost, equals in accuracy; cheapest first.

    Example:
        >>> make = lambda name, cost, accuracy: Point(name, cost, 1, accuracy, 0.0, {}, 1)
        >>> [point.name for point in front_of([make("a", 1, 0.5), make("b", 2, 0.4), make("c", 3, 0.9)])]
        ['a', 'c']
    """
    found: list[Point] = []
    for point in sorted(points, key=lambda one: (one.cost, -one.accuracy, one.nll)):
        if not found or point.accuracy > found[-1].accuracy:
            found.append(point)
    return found


def chosen_of_front(front: Sequence[Point], *, teacher_accuracy: float, min_kept: float) -> Point:
    """Return the cheapest point that keeps enough of the teacher's validation accuracy; else the most accurate."""
    enough = [point for point in front if point.accuracy >= min_kept * teacher_accuracy]
    return enough[0] if enough else front[-1]


def winners_of(front: Sequence[Point], chosen: Point, *, count: int) -> list[Point]:
    """Return the chosen point with its neighbours on the front, the next smaller one first; cheapest first."""
    place = list(front).index(chosen)
    order = sorted(range(len(front)), key=lambda other: (abs(other - place), other > place))
    return [front[other] for other in sorted(order[:count])]


def kept_by(record: RunRecord, role: str) -> tuple[float, tuple[float, float] | None]:
    """Return the mean share of the teacher's test accuracy that a student keeps, with its interval over seeds."""
    (teacher,) = record.values("teacher", "accuracy").values()
    shares = [value / teacher for value in record.values(role, "accuracy").values()]
    return summarise(shares).mean, mean_interval(shares)


def answer_of(
    record: RunRecord, roles: dict[str, Point], chosen: Point, *, min_kept: float, untried: Sequence[str] = ()
) -> str:
    """Return the sentence: what the chosen student keeps, at which share of the cost, and what the next smaller does.

    Args:
        record: with the teacher and the winners on the test set.
        roles: point of each winner by its role, cheapest first.
        chosen: by validation.
        min_kept: what was asked for.
        untried: cheaper candidates that were not trained.
    """
    ordered = list(roles.items())
    place = next(number for number, (_, point) in enumerate(ordered) if point is chosen)
    mean, interval = kept_by(record, ordered[place][0])
    sizes = list(record.values("teacher", "parameters", split="machine").values())
    share = _size(chosen.num_parameters, sizes[0]) if sizes and sizes[0] else ""
    parts = [f"{chosen.name} keeps {_share(mean, interval)} of the teacher's test accuracy{share}"]
    if mean < min_kept:
        parts[0] += f", less than the {100 * min_kept:g} % asked for"
        if place + 1 < len(ordered):
            role, larger = ordered[place + 1]
            parts.append(f"the next larger one, {larger.name}, keeps {_share(*kept_by(record, role))}")
    if place == 0:
        parts.append("it is the smallest on the front" if not untried else f"{shortened(untried)}: not tried")
    else:
        role, smaller = ordered[place - 1]
        other, its = kept_by(record, role)
        told = "does, too" if other >= min_kept else "does not"
        parts.append(f"the next smaller one, {smaller.name}, {told}: {_share(other, its)}")
    return "; ".join(parts) + "."


def _size(own: int, teachers: float) -> str:
    if own > teachers:
        return f" with {own / teachers:.3g} times its parameters"
    return f" at 1/{teachers / own:.3g} of its parameters"


def _share(mean: float, interval: tuple[float, float] | None) -> str:
    told = f"{100 * mean:.1f} %"
    return told if interval is None else f"{told} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
