"""Records go to JSON and come back equal; what is not a whole record is refused; files are written whole or not."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import resource
import signal
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limbeck import records
from limbeck.errors import OutputError, RecordError
from limbeck.records import Measurement, RunRecord, from_json, is_sealed, to_json, write_bytes, write_text

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def strategy_for(kind):
    """Return any value of a record's field."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{name: strategy_for(hint) for name, hint in hints.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is typing.Any:
        return JSON_VALUES
    if origin is list:
        return st.lists(strategy_for(arguments[0]), max_size=2)
    if origin is tuple:
        if arguments[1:] == (...,):
            return st.lists(strategy_for(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*map(strategy_for, arguments))
    if origin is dict:
        return st.dictionaries(st.text(max_size=5), strategy_for(arguments[1]), max_size=2)
    if arguments:
        return st.none() | strategy_for(arguments[0])
    return {str: st.text(max_size=8), int: st.integers(), float: FLOATS}[kind]


@given(strategy_for(RunRecord))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_record_comes_back_equal(record):
    text = to_json(record)
    again = from_json(text)
    assert again == record
    assert to_json(again) == text


def test_a_real_record_comes_back_equal(make_record):
    record = make_record(num_members=2, num_epochs=3)
    assert from_json(to_json(record)) == record


@pytest.fixture(scope="module")
def content(make_record):
    return json.loads(to_json(make_record(seeds=(0,), num_epochs=1, num_dark=0)))


def changed(content, path, value):
    """Return unsealed JSON text of the content with one place set, or removed where the value is ``...``."""
    copy = json.loads(json.dumps(content))
    del copy["sha256"]
    place = copy
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(copy)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["kind"], ..., "the record misses kind"),
        (["networks", 0, "role"], ..., r"networks\[0\] misses role"),
        (["colour"], "red", "unknown fields: colour"),
        (["data", "colour"], "red", "the record.data has unknown fields: colour"),
        (["seeds"], ["0"], r"seeds\[0\] has a value of the wrong type"),
        (["seeds"], [True], r"seeds\[0\]"),
        (["seeds"], 0, "seeds"),
        (["elapsed_seconds"], "9", "elapsed_seconds"),
        (["elapsed_seconds"], True, "elapsed_seconds"),
        (["elapsed_seconds"], 10**400, "elapsed_seconds"),
        (["networks", 1, "history", 0, "train"], {"total": None}, r"history\[0\].train.total"),
        (["networks", 0, "most_confused"], [["1", "2"]], r"most_confused\[0\]"),
        (["networks", 0], "teacher", r"networks\[0\] is not an object"),
        (["measurements", 0, "value"], None, r"measurements\[0\].value"),
    ],
)
def test_missing_unknown_and_wrongly_typed_fields_are_named(content, path, value, named):
    with pytest.raises(RecordError, match=named):
        from_json(changed(content, path, value))


def test_all_fields_that_are_missing_or_unknown_are_named_at_once(content):
    data = {name: value for name, value in content["data"].items() if name not in ("name", "num_test")}
    with pytest.raises(RecordError, match=r"the record\.data misses name, num_test"):
        from_json(changed(content, ["data"], data))
    with pytest.raises(RecordError, match=r"the record\.data has unknown fields: colour, size"):
        from_json(changed(content, ["data"], content["data"] | {"size": 1, "colour": 2}))


def test_a_wrong_value_is_told_with_what_was_expected(content):
    with pytest.raises(RecordError, match=r"seeds\[0\]") as caught:
        from_json(changed(content, ["seeds"], ["0"]), source="record.json")
    assert (caught.value.received, caught.value.expected) == ("'0'", "a valid integer")


def test_one_changed_digit_is_told(content):
    text = json.dumps({**content, "elapsed_seconds": content["elapsed_seconds"] + 1})
    with pytest.raises(RecordError, match=r"here\.json was changed after it was written") as caught:
        from_json(text, source="here.json")
    assert content["sha256"] in caught.value.expected
    assert caught.value.remedy


@pytest.mark.parametrize("seal", ["", None, 0, "0" * 64])
def test_another_seal_is_refused(content, seal):
    with pytest.raises(RecordError, match="was changed"):
        from_json(json.dumps({**content, "sha256": seal}))


def test_a_seal_holds_for_the_content_in_any_layout(make_record, content):
    record = make_record(seeds=(0,), num_epochs=1, num_dark=0)
    compact = json.dumps(dict(reversed(content.items())), separators=(",", ":"), ensure_ascii=False)
    assert from_json(compact) == record


def test_a_record_of_an_earlier_release_has_no_seal_and_is_read(make_record, content):
    text = changed(content, ["notes"], [])
    assert not is_sealed(text, source="here")
    assert from_json(text).networks == make_record(seeds=(0,), num_epochs=1, num_dark=0).networks
    assert is_sealed(json.dumps(content), source="here")


def test_settings_with_numbers_for_names_are_sealed_as_they_are_read(make_record):
    record = dataclasses.replace(make_record(seeds=(0,), num_epochs=1, num_dark=0), config={"a": {10: 1, 9: (2,)}})
    assert from_json(to_json(record)).config == {"a": {"10": 1, "9": [2]}}


def test_a_stray_byte_in_a_command_leaves_the_record_readable(make_record):
    record = dataclasses.replace(make_record(seeds=(0,), num_epochs=1, num_dark=0), command="limbeck --out r\udcf6n")
    assert from_json(to_json(record)).command == "limbeck --out r?n"


@pytest.mark.parametrize("value", [{"a": "\udcf6"}, json.loads("[" * 900 + "]" * 900)])
def test_what_is_no_text_or_too_deep_is_refused_and_named(content, value):
    with pytest.raises(RecordError, match=r"here\.json cannot be read"):
        from_json(changed(content, ["environment"], {"a": value}), source="here.json")


def test_fields_with_defaults_may_be_missing(content):
    assert from_json(changed(content, ["notes"], ...)).notes == []


def test_whole_numbers_are_read_as_floats_where_floats_belong(content):
    elapsed = from_json(changed(content, ["elapsed_seconds"], 9)).elapsed_seconds
    assert elapsed == 9.0
    assert isinstance(elapsed, float)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused_with_a_remedy(content, version):
    with pytest.raises(RecordError, match="another version") as caught:
        from_json(changed(content, ["version"], version), source="record.json")
    assert caught.value.received == version
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "other"}', "[" * 100_000])
def test_what_is_no_record_is_refused_and_named(text):
    with pytest.raises(RecordError, match=r"here\.json"):
        from_json(text, source="here.json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused_when_read(content, number):
    text = changed(content, ["elapsed_seconds"], 123456.5).replace("123456.5", number)
    with pytest.raises(RecordError):
        from_json(text)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused_when_written(make_record, number):
    record = make_record(seeds=(0,), num_epochs=1, num_dark=0)
    bad = dataclasses.replace(record, measurements=[Measurement("teacher", 0, "test", "last", "nll", number, "nats")])
    with pytest.raises(RecordError, match="not finite"):
        to_json(bad)


def test_settings_that_json_cannot_hold_are_refused(make_record):
    record = dataclasses.replace(make_record(seeds=(0,), num_epochs=1, num_dark=0), config={"data": object()})
    with pytest.raises(RecordError, match="JSON has no form") as caught:
        to_json(record)
    assert "object" in str(caught.value.received)


def test_values_are_chosen_by_network_name_split_and_weights(make_record):
    record = dataclasses.replace(
        make_record(seeds=(0,), num_epochs=1, num_dark=0),
        measurements=[
            Measurement("distilled", 1, "test", "selected", "errors", 3.0, "count"),
            Measurement("distilled", 0, "test", "selected", "errors", 4.0, "count"),
            Measurement("distilled", 0, "test", "last", "errors", 5.0, "count"),
            Measurement("distilled", 0, "validation", "selected", "errors", 6.0, "count"),
            Measurement("baseline", 0, "test", "selected", "errors", 7.0, "count"),
            Measurement("distilled", 0, "test", "selected", "nll", 8.0, "nats"),
        ],
    )
    assert list(record.values("distilled", "errors").items()) == [(1, 3.0), (0, 4.0)]
    assert record.values("distilled", "errors", weights="last") == {0: 5.0}
    assert record.values("distilled", "errors", split="validation") == {0: 6.0}
    assert record.values("teacher", "errors") == {}
    assert record.roles() == ["teacher", "baseline", "distilled"]


def test_write_text_replaces_a_file_as_a_whole(tmp_path):
    path = tmp_path / "record.json"
    write_text(path, "old")
    write_text(path, "new ± é")
    assert path.read_text(encoding="utf-8") == "new ± é"
    assert list(tmp_path.iterdir()) == [path]


@contextlib.contextmanager
def room_for(num_bytes):
    """Let files grow to this size only, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_target_keeps_the_old_file_and_leaves_nothing_half_written(tmp_path):
    path = tmp_path / "record.json"
    write_text(path, "old")
    with room_for(1000), pytest.raises(OutputError, match="Cannot write") as caught:
        write_bytes(path, b"x" * 5000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert "room" in caught.value.remedy


def test_a_read_only_folder_is_reported_and_left_as_it_was(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # a superuser may write where the mode says no
    with pytest.raises(OutputError, match=r"record\.json") as caught:
        write_text(tmp_path / "record.json", "new")
    assert caught.value.received == "Permission denied"
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_a_folder_leaves_nothing_beside_it(tmp_path):
    (tmp_path / "record.json").mkdir()
    with pytest.raises(OutputError):
        write_text(tmp_path / "record.json", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="Cannot write"):
        write_text(tmp_path / "nowhere" / "record.json", "new")


def test_records_module_states_its_format(content):
    assert (content["format"], content["version"]) == (records.FORMAT, records.VERSION)
