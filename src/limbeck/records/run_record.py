"""The record of a run, in dataclasses of plain values, and its way to JSON and back.

A :class:`RunRecord` holds everything that the report draws, so a report can be drawn again from ``record.json`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from limbeck.records.codec import decode_record, encode_record
from limbeck.records.notebook import html_table, mean_text

FORMAT = "limbeck-run-record"
VERSION = 1


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
    confusion_cells: list[int] = field(default_factory=list)  # of many classes: true, predicted, count; and so on
    num_cells_left_out: int = 0  # cells of the matrix, less frequent ones, that are not kept

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"NetworkRecord({self.role}: {self.name}{seed}, {self.origin}, {len(self.history)} epochs)"


@dataclass(frozen=True)
class DarkKnowledge:
    """One sample and what the teacher says of it at several temperatures."""

    sample_id: int
    label: int  # -1 where unknown
    image: list[Any]  # 8-bit pixels: [height][width] grey or [height][width][3]; empty where the input is no image
    temperatures: list[float]
    probabilities: list[list[float]]  # [temperature][class]
    classes: list[int] = field(default_factory=list)  # of many classes the numbers of those kept; empty for all


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
        threshold: least confidence with which a sample leaves at an exit.
        accuracy: fraction of samples that are classified correctly.
        cost: mean over samples, in the unit of the costs that were given.
        shares: fraction of samples that leave at each exit, in order; of sum 1.
    """

    threshold: float
    accuracy: float
    cost: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class EarlyExitRecord:
    """One network's early exit, on the test set; costs in FLOP."""

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

    def __repr__(self) -> str:
        return f"RunRecord({self.kind} on {self.data.name!r}, {len(self.seeds)} seeds: {', '.join(self.roles())})"

    def _repr_html_(self) -> str:
        """Return networks and their means on the test set, for a notebook."""
        rows = []
        for role in self.roles():
            networks = [network for network in self.networks if network.role == role]
            errors, accuracy, nll = (list(self.values(role, name).values()) for name in ("errors", "accuracy", "nll"))
            told = [mean_text(errors), mean_text(accuracy, factor=100, decimals=2), mean_text(nll, decimals=4)]
            rows.append([role, networks[0].name, str(len(networks)), *told, f"{networks[0].num_parameters:,}"])
        headings = ["network", "is", "n", "test errors", "accuracy (%)", "NLL (nats)", "parameters"]
        return html_table(headings, rows, caption=f"{self.kind} on {self.data.name}, means over seeds")

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
