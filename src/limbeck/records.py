"""What a run leaves behind: records that go to JSON and come back equal, without torch.

A :class:`RunRecord` holds everything that the report draws, so a report can be drawn again from ``record.json`` alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from limbeck.errors import OutputError, RecordError

FORMAT = "limbeck-run-record"
VERSION = 1
LARGEST = sys.float_info.max

T = TypeVar("T")


@dataclass(frozen=True)
class Measurement:
    """One number: which network, from which seed, on which split, at which epoch's weights."""

    network: str  # a NetworkRecord's role: "teacher", "baseline", "distilled", "member 1" ...
    seed: int | None  # None where the network was given ready-made
    split: str  # "test", "validation", "train"; "machine" for sizes and latencies
    weights: str  # "selected" (by validation) or "last" (epoch)
    name: str  # "errors", "accuracy", "top5_accuracy", "nll", "ece", "brier", "agreement", ...
    value: float
    unit: str  # "count", "fraction", "nats", "bytes", "seconds", ...


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training logged."""

    epoch: int  # from 1
    step: int  # optimiser steps done by its end
    learning_rate: float
    elapsed_seconds: float  # since training began, resumed parts added up
    samples_per_second: float
    data_wait_fraction: float  # of the epoch's time, spent waiting for data
    train: dict[str, float]  # "total" and the loss's parts, means over the epoch's valid examples
    validation: dict[str, float]  # "errors", "accuracy", "nll"; empty where there is no validation split


@dataclass(frozen=True)
class ReliabilityBin:
    """Test samples whose confidence lies in (low, high]."""

    low: float
    high: float
    count: int
    mean_confidence: float  # 0 where empty
    accuracy: float  # 0 where empty


@dataclass(frozen=True)
class NetworkRecord:
    """One trained or given network."""

    role: str  # "teacher", "baseline", "distilled"; an ensemble's members are "member 1", "member 2", ...
    name: str  # "mlp:widths=800x800", "ensemble of 3", a module's class name
    seed: int | None
    origin: str  # "trained", "loaded from PATH", "given", "pooled (arithmetic)"
    num_parameters: int
    selected_epoch: int | None = None  # None where nothing was trained
    elapsed_seconds: float = 0.0  # of training
    history: list[EpochRecord] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)  # [true class][predicted class], counts on test
    reliability: list[ReliabilityBin] = field(default_factory=list)  # on test
    most_confused: list[tuple[str, str, int]] = field(default_factory=list)  # (true, predicted, count), most first


@dataclass(frozen=True)
class DarkKnowledge:
    """One sample and what the teacher says of it at several temperatures."""

    sample_id: int
    label: int  # -1 where unknown
    image: list[Any]  # 8-bit pixels: [height][width] grey or [height][width][3]; empty where the input is no image
    temperatures: list[float]
    probabilities: list[list[float]]  # [temperature][class]


@dataclass(frozen=True)
class Comparison:
    """Two kinds of networks that a run holds against each other, seed by seed, in test errors."""

    reference: str  # role: "baseline"
    network: str  # role: "distilled"
    effect: str  # what the second has and the first has not: "the teacher", "its peers"


@dataclass(frozen=True)
class EarlyExitPoint:
    """What a network with exits gives where the first exit answers that is confident enough.

    Args:
        threshold: least confidence with which an exit answers.
        accuracy: fraction of samples that are answered rightly.
        cost: mean over samples, in the unit of the costs that were given.
        shares: fraction of samples that each exit answers, in order; of sum 1.
    """

    threshold: float
    accuracy: float
    cost: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class EarlyExitRecord:
    """One network's answers on the way, on the test set; costs in FLOP."""

    network: str  # a NetworkRecord's role
    seed: int
    exits: list[str]  # from the shallowest to the network's own head
    points: list[EarlyExitPoint]  # by rising threshold
    chosen: EarlyExitPoint | None  # at the threshold that validation chose; None without validation


@dataclass(frozen=True)
class DataRecord:
    """The data set and its splits."""

    name: str
    fingerprint: str  # of the training split
    class_names: list[str]
    input_shape: list[int]
    num_train: int
    num_labelled: int  # of num_train
    num_validation: int
    num_test: int


@dataclass(frozen=True)
class RunRecord:
    """One run of ``limbeck distill`` or ``limbeck train``: settings, networks, every measurement."""

    kind: str  # "distill", "mutual", "self" or "train"
    created: str  # ISO 8601, UTC
    command: str  # what was typed, or the Python call
    elapsed_seconds: float
    config: dict[str, Any]  # resolved: every setting with its value
    environment: dict[str, Any]  # versions, device, thread count, commit
    data: DataRecord
    seeds: list[int]
    networks: list[NetworkRecord]
    measurements: list[Measurement]
    dark_knowledge: list[DarkKnowledge] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # plain sentences that a reader must know
    comparisons: list[Comparison] = field(default_factory=list)  # the first ones make the verdict
    early_exits: list[EarlyExitRecord] = field(default_factory=list)

    def values(
        self, network: str, name: str, *, split: str = "test", weights: str = "selected"
    ) -> dict[int | None, float]:
        """Return the measured values by seed, in the order of measurement; empty where none was made."""
        return {
            m.seed: m.value
            for m in self.measurements
            if (m.network, m.name, m.split, m.weights) == (network, name, split, weights)
        }

    def roles(self) -> list[str]:
        """Return the roles of the networks, each once, in order."""
        return list(dict.fromkeys(network.role for network in self.networks))


def to_json(record: RunRecord) -> str:
    """Return the record as JSON text with a format name and version; NaN and infinity are refused."""
    return encode_record(record, format_name=FORMAT, version=VERSION)


def from_json(text: str, *, source: str = "the record") -> RunRecord:
    """Return the record that :func:`to_json` wrote.

    Args:
        text: JSON text.
        source: named in errors, usually the file's path.
    Raises:
        RecordError: not JSON, another format or version, a number that is not finite, or a field missing, unknown or
            of the wrong type.
    """
    return decode_record(RunRecord, text, what="run record", format_name=FORMAT, version=VERSION, source=source)


def encode_record(record: Any, *, format_name: str, version: int) -> str:
    """Return a dataclass of plain values as JSON text, its format name and version first.

    Raises:
        RecordError: a number that is not finite, or a value that JSON has no form for.
    """
    content = {"format": format_name, "version": version, **dataclasses.asdict(record)}
    try:
        return json.dumps(content, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise RecordError(
            "The record holds a number that is not finite.", remedy="see the run's events.jsonl"
        ) from error
    except TypeError as error:
        raise RecordError(
            "The record holds a value that JSON has no form for.",
            received=str(error),
            expected="settings made of text, numbers, true, false, null, lists and objects",
        ) from error


def decode_record(kind: type[T], text: str, *, what: str, format_name: str, version: int, source: str) -> T:
    """Return the dataclass that :func:`encode_record` wrote under this format name and version.

    Raises:
        RecordError: see :func:`from_json`; ``what`` and ``source`` are named in it.
    """
    content = _parse(text, source)
    if not isinstance(content, dict) or content.get("format") != format_name:
        raise RecordError(f"{source} is not a {what}.", expected=f'a JSON object with "format": "{format_name}"')
    if content.get("version") != version:
        raise RecordError(
            f"{source} has another version.",
            received=content.get("version"),
            expected=version,
            remedy="read it with the release of limbeck that wrote it",
        )
    return _decode_dataclass(kind, {k: v for k, v in content.items() if k not in ("format", "version")}, source)


def format_of(text: str, *, source: str) -> str | None:
    """Return the format name of a record's text; None where it names none.

    Raises:
        RecordError: not JSON.
    """
    content = _parse(text, source)
    name = content.get("format") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


def _parse(text: str, source: str) -> Any:
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{source} is not JSON.", received=str(error)) from error


def make_folder(path: Path, *, remedy: str = "choose another --out folder") -> Path:
    """Make a folder and those above it where they are missing; return it.

    Raises:
        OutputError: it cannot be made, or not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(None, "no permission to write")
    except OSError as error:
        raise OutputError(
            f"Cannot write into the folder {path}.",
            received=error.strerror,
            expected="a writable place",
            remedy=remedy,
        ) from error
    return path


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: to a neighbour first, then renamed into place.

    Raises:
        OutputError: the folder cannot be written (read-only, full, missing).
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Like :func:`write_text`, for bytes."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OutputError(
            f"Cannot write {path}.",
            received=error.strerror or str(error),
            expected="a writable folder with free space",
            remedy="choose another --out folder or make room",
        ) from error


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


def decode_plain(kind: type[T], value: Any, source: str) -> T:
    """Return an instance of a dataclass from the plain values that ``dataclasses.asdict`` and JSON made of it.

    Raises:
        RecordError: a field missing, unknown or of the wrong type.
    """
    return _decode_dataclass(kind, value, source)


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Build ``kind`` (a dataclass, list, tuple, dict, union or plain type) from decoded JSON."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is list and isinstance(value, list):
        return [_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is tuple and isinstance(value, list) and arguments[1:] == (...,):
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is tuple and isinstance(value, list) and len(value) == len(arguments):
        return tuple(
            _decode(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(arguments, value, strict=True))
        )
    if origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is types.UnionType:
        if value is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), value, where)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    if (
        origin is None
        and isinstance(kind, type)
        and isinstance(value, kind)
        and not (kind is int and isinstance(value, bool))
    ):
        return value
    expected = getattr(kind, "__name__", str(kind))
    raise RecordError(f"{where} has a value of the wrong type.", received=f"{value!r:.80}", expected=expected)


@functools.cache
def _type_hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)  # compiles every annotation: most of the time of reading a small file


def _decode_dataclass(kind: type[T], value: Any, where: str) -> T:
    if not isinstance(value, dict):
        raise RecordError(f"{where} is not an object.", received=f"{value!r:.80}", expected=kind.__name__)
    hints = _type_hints(kind)  # type: ignore[arg-type]  # a class is hashable
    required = {
        f.name
        for f in dataclasses.fields(kind)  # type: ignore[arg-type]
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - value.keys()):
        raise RecordError(f"{where} misses {', '.join(missing)}.", expected=f"a whole {kind.__name__}")
    if unknown := sorted(value.keys() - hints.keys()):
        raise RecordError(
            f"{where} has unknown fields: {', '.join(unknown)}.", expected=f"the fields of {kind.__name__}"
        )
    return kind(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()})
