"""Errors tell the fact, what was received, what was expected and the remedy, and stand in one tree."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys

import pytest

from limbeck import errors
from limbeck.errors import (
    InvalidValue,
    LimbeckError,
    RecordError,
    ShapeMismatch,
    UnknownName,
    near_names,
    require_fraction,
    require_not_negative,
    require_positive,
    unknown_name,
)


def test_message_has_fact_received_expected_and_remedy_in_this_order():
    error = LimbeckError("It broke.", received=3, expected="4", remedy="add 1")
    assert str(error).splitlines() == ["It broke.", "  received: 3", "  expected: 4", "  remedy: add 1"]


def test_parts_that_were_not_given_are_left_out_but_falsy_values_stay():
    assert str(LimbeckError("It broke.")) == "It broke."
    assert str(LimbeckError("It broke.", received=0)).splitlines()[1] == "  received: 0"


def test_every_error_of_the_module_is_a_limbeck_error():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Exception)]
    assert len(classes) > 10
    assert all(issubclass(c, LimbeckError) for c in classes)


@pytest.mark.parametrize(
    ("kind", "builtin"), [(InvalidValue, ValueError), (ShapeMismatch, ValueError), (UnknownName, LookupError)]
)
def test_errors_can_be_caught_as_the_builtin_that_they_are(kind, builtin):
    with pytest.raises(builtin):
        raise kind("fact")


def test_near_names_come_nearest_first_and_are_limited():
    known = ["resnet18", "resnet34", "resnet50", "resnet101", "mlp"]
    assert near_names("resnet_18", known)[0] == "resnet18"
    assert len(near_names("resnet", known, count=2)) == 2
    assert near_names("zzz", known) == []


def test_unknown_name_lists_the_known_ones_and_suggests_only_what_is_near():
    error = unknown_name("model", "mpl", ["mlp", "cnn"])
    assert error.received == "mpl"
    assert error.expected == "one of cnn, mlp"
    assert error.remedy == "did you mean mlp?"
    assert unknown_name("model", "zzzz", ["mlp", "cnn"]).remedy is None


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_require_positive_refuses(value):
    with pytest.raises(InvalidValue, match="temperature must be above 0"):
        require_positive("temperature", value)


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf])
def test_require_not_negative_refuses(value):
    with pytest.raises(InvalidValue, match="hard_weight must not be negative"):
        require_not_negative("hard_weight", value)


@pytest.mark.parametrize(
    ("value", "below_one"), [(-0.1, False), (1.1, False), (1.0, True), (math.nan, False), (math.nan, True)]
)
def test_require_fraction_refuses(value, below_one):
    with pytest.raises(InvalidValue, match="dropout must be a fraction"):
        require_fraction("dropout", value, below_one=below_one)


def test_limits_that_belong_to_the_range_pass():
    require_positive("x", 1e-300)
    require_not_negative("x", 0.0)
    require_fraction("x", 0.0)
    require_fraction("x", 1.0)
    require_fraction("x", 0.0, below_one=True)
    assert not issubclass(RecordError, ValueError)  # a file's fault is no value of a call


def test_errors_records_and_reports_import_nothing_heavy():
    heavy = "torch", "numpy", "scipy", "matplotlib", "jinja2", "rich", "PIL", "sklearn"
    code = f"import limbeck.reports, sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
