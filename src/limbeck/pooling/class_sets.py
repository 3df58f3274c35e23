"""Class sets of specialists: by number or by name, checked once."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from limbeck.errors import InvalidValue, unknown_name

ClassSet = Sequence[int] | Sequence[str] | Tensor
ClassSets = Sequence[ClassSet]


def class_set_numbers(
    class_sets: ClassSets, *, num_classes: int, class_names: Sequence[str] | None = None
) -> list[list[int]]:
    """Return the class numbers of each specialist's set, in the order given.

    A class may be in several sets, or in none.

    Args:
        class_sets: S_k of each specialist: class numbers, or names where ``class_names`` is given.
        num_classes: C, of the generalist.
        class_names: of all C classes, in the order of their numbers.
    Raises:
        InvalidValue: a set that is empty, holds every class, or holds a class twice; a number outside 0 .. C - 1;
            names without ``class_names``, or another number of those.
        UnknownName: a name that no class has; near ones are listed.
    Example:
        >>> class_set_numbers([["cat", "dog"], [2]], num_classes=3, class_names=["dog", "cat", "car"])
        [[1, 0], [2]]
    """
    if class_names is not None and len(class_names) != num_classes:
        raise InvalidValue(
            "There must be one name per class.", received=f"{len(class_names)} names", expected=f"{num_classes} names"
        )
    places = None if class_names is None else {name: number for number, name in enumerate(class_names)}
    return [_numbers(index, given, num_classes, places) for index, given in enumerate(class_sets)]


def _numbers(index: int, given: ClassSet, num_classes: int, places: dict[str, int] | None) -> list[int]:
    if isinstance(given, str):
        raise InvalidValue(
            f"The class set of specialist {index} must be a list.",
            received=repr(given),
            expected="class numbers or names",
            remedy=f"write [{given!r}] for that class alone",
        )
    try:
        numbers = [_number(index, one, num_classes, places) for one in given]
    except TypeError as error:
        raise InvalidValue(
            f"The class set of specialist {index} must be a list of class numbers or names.", received=given
        ) from error
    if not numbers:
        raise InvalidValue(
            f"The class set of specialist {index} is empty.", received="no classes", expected="at least one class"
        )
    number, count = Counter(numbers).most_common(1)[0]
    if count > 1:
        raise InvalidValue(
            f"The class set of specialist {index} holds a class twice.",
            received=given[numbers.index(number)],
            expected="different classes",
        )
    if len(numbers) == num_classes:
        raise InvalidValue(
            f"The class set of specialist {index} holds every class.",
            received=f"{num_classes} of {num_classes} classes",
            expected="at least one class outside, for the dustbin",
            remedy="give a network that knows all classes to an ensemble instead",
        )
    return numbers


def _number(index: int, one: int | str | Tensor, num_classes: int, places: dict[str, int] | None) -> int:
    if isinstance(one, str):
        if places is None:
            raise InvalidValue(
                f"The class set of specialist {index} holds a name, and the names of the classes are not known.",
                received=repr(one),
                expected=f"class numbers from 0 to {num_classes - 1}, or class_names beside the sets",
            )
        if one not in places:
            raise unknown_name("class", one, places)
        return places[one]
    number = operator.index(one)
    if not 0 <= number < num_classes:
        raise InvalidValue(
            f"The class set of specialist {index} holds an unknown class.",
            received=number,
            expected=f"class numbers from 0 to {num_classes - 1}",
        )
    return number
