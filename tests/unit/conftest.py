"""Fixtures of the unit tests."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limbeck.records import (
    DarkKnowledge,
    DataRecord,
    EpochRecord,
    Measurement,
    NetworkRecord,
    ReliabilityBin,
    RunRecord,
)

SHARPNESS = {"teacher": 5.2, "baseline": 3.7, "distilled": 4.6, "student": 3.8}  # signal over unit noise
OVERCONFIDENCE = {"teacher": 1.3, "baseline": 1.7, "distilled": 1.05, "student": 1.6}
PARAMETERS = {"teacher": 1_238_730, "baseline": 79_510, "distilled": 79_510, "student": 79_510}
LATENCY = {"teacher": 412e-6, "baseline": 61e-6, "distilled": 61.4e-6, "student": 61e-6}


DRAWING_FILES = (  # whose tests look at figures, and one for each kind of run
    "test_distill_fuse.py",
    "test_distill_mutual.py",
    "test_distill_self.py",
    "test_notebook.py",
    "test_tasks.py",
)


@pytest.fixture(scope="module", autouse=True)
def without_figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave figures out of the reports of runs, where they take longer than the run and nobody looks at them."""
    name = request.path.name
    if name in DRAWING_FILES or name.startswith(("test_report", "test_results")):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.reports.html.draw_figures", lambda record, summary: {})
        yield


@pytest.fixture(scope="session")
def teacher_kinds() -> Any:
    """The module beside the contracts that makes teachers of every kind, and imports libraries as they are here."""
    path = Path(__file__).parents[1] / "contracts" / "teacher_kinds.py"
    if "teacher_kinds" not in sys.modules:
        spec = importlib.util.spec_from_file_location("teacher_kinds", path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules["teacher_kinds"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["teacher_kinds"])
    return sys.modules["teacher_kinds"]


@functools.cache
def _digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _logits(family: str, seed: int, labels: np.ndarray, num_classes: int, *, hot: float = 1.0) -> np.ndarray:
    """Logits with class likenesses that all networks share and noise of their own."""
    likeness = np.random.default_rng(7).normal(size=(num_classes, num_classes))
    likeness = 0.8 * (likeness + likeness.T)
    np.fill_diagonal(likeness, SHARPNESS.get(family, 4.4))
    hard = np.random.default_rng(11).normal(size=(len(labels), num_classes)) * 0.9  # samples hard for every network
    noise = np.random.default_rng([seed, *family.encode()]).normal(size=(len(labels), num_classes)) * 0.8
    return hot * OVERCONFIDENCE.get(family, 1.3) * (likeness[labels] + hard + noise)


def _bins(probs: np.ndarray, labels: np.ndarray) -> list[ReliabilityBin]:
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    bins = []
    for i in range(10):
        low, high = i / 10, (i + 1) / 10
        chosen = (confidence > low) & (confidence <= high)
        mean = (float(confidence[chosen].mean()), float(right[chosen].mean())) if chosen.any() else (0.0, 0.0)
        bins.append(ReliabilityBin(low, high, int(chosen.sum()), *mean))
    return bins


def _quality(probs: np.ndarray, labels: np.ndarray, teacher: np.ndarray | None) -> list[tuple[str, float, str]]:
    wrong = int((probs.argmax(axis=1) != labels).sum())
    bins = _bins(probs, labels)
    one_hot = np.eye(probs.shape[1])[labels]
    values = [
        ("errors", float(wrong), "count"),
        ("accuracy", 1 - wrong / len(labels), "fraction"),
        ("nll", float(-np.log(probs[np.arange(len(labels)), labels]).mean()), "nats"),
        ("ece", sum(b.count * abs(b.accuracy - b.mean_confidence) for b in bins) / len(labels), "fraction"),
        ("brier", float(((probs - one_hot) ** 2).sum(axis=1).mean()), "squared error"),
    ]
    if teacher is not None:
        kl = float((teacher * (np.log(teacher) - np.log(probs))).sum(axis=1).mean())
        values.append(("agreement", float((probs.argmax(axis=1) == teacher.argmax(axis=1)).mean()), "fraction"))
        values.append(("kl_to_teacher", kl, "nats"))
    return values


def _history(family: str, seed: int, num_epochs: int, *, final: float, num_validation: int) -> list[EpochRecord]:
    rng = np.random.default_rng([seed, 3, *family.encode()])
    start = 0.9 * max(num_validation, 100)
    height = 4.0 if family == "distilled" else 1.0
    history = []
    for epoch in range(1, num_epochs + 1):
        decay = np.exp(-epoch / 4)
        errors = max(round(final + start * decay * 0.6 + rng.normal() * 1.5), 0)
        loss = float(height * (2.3 * decay + 0.03 + 0.004 * abs(rng.normal())))
        accuracy = 1 - errors / max(num_validation, 1)
        validation = {"errors": float(errors), "accuracy": accuracy, "nll": 0.1 + float(decay)}
        history.append(
            EpochRecord(
                epoch=epoch,
                step=epoch * 9,
                learning_rate=1e-3,
                elapsed_seconds=0.31 * epoch,
                samples_per_second=3600.0,
                data_wait_fraction=0.02,
                train={"total": loss, "hard": loss / 4, "soft": 3 * loss / 4},
                validation=validation if num_validation else {},
            )
        )
    return history


def _network(role: str, seed: int | None, probs: np.ndarray, labels: np.ndarray, names: list[str], **more: Any) -> Any:
    confusion = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(confusion, (labels, probs.argmax(axis=1)), 1)
    pairs = [(i, j) for i, j in zip(*np.nonzero(confusion), strict=True) if i != j]
    pairs.sort(key=lambda pair: -confusion[pair])
    return NetworkRecord(
        role=role,
        name="mlp:widths=1200x1200" if role == "teacher" else "mlp:widths=64x64",
        seed=seed,
        origin="trained",
        num_parameters=PARAMETERS.get(role, 400_000),
        confusion=confusion.tolist(),
        reliability=_bins(probs, labels),
        most_confused=[(names[i], names[j], int(confusion[i, j])) for i, j in pairs[:10]],
        **more,
    )


def _dark_knowledge(num_classes: int, *, images: bool, count: int) -> list[DarkKnowledge]:
    pictures, targets = _digits() if images and count else (None, None)
    samples = []
    for i in range(count):
        label = int(targets[50 + 7 * i]) % num_classes if images else i % num_classes
        logits = _logits("teacher", i, np.array([label]), num_classes, hot=1.4)
        samples.append(
            DarkKnowledge(
                sample_id=50 + 7 * i,
                label=label,
                image=np.round(pictures[50 + 7 * i] / 16 * 255).astype(int).tolist() if images else [],
                temperatures=[1.0, 4.0, 20.0],
                probabilities=[_softmax(logits / t)[0].tolist() for t in (1.0, 4.0, 20.0)],
            )
        )
    return samples


def _make_record(
    *,
    kind: str = "distill",
    num_classes: int = 10,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    num_epochs: int = 30,
    num_members: int = 0,
    num_test: int = 360,
    num_validation: int = 180,
    images: bool = True,
    num_dark: int = 4,
    class_names: list[str] | None = None,
) -> RunRecord:
    names = class_names or [str(c) for c in range(num_classes)]
    labels = np.random.default_rng(5).integers(0, len(names), size=num_test)
    networks: list[NetworkRecord] = []
    measurements: list[Measurement] = []

    def measure(role: str, seed: int | None, logits: np.ndarray, teacher: np.ndarray | None) -> None:
        last = _softmax(logits + 0.3 * np.random.default_rng([1, *role.encode()]).normal(size=logits.shape))
        for weights, probs in (("selected", _softmax(logits)), ("last", last)):
            for name, value, unit in _quality(probs, labels, teacher):
                measurements.append(Measurement(role, seed, "test", weights, name, value, unit))
        costs = [
            ("parameters", PARAMETERS.get(role, 400_000), "count"),
            ("bytes", 4 * PARAMETERS.get(role, 400_000), "bytes"),
            ("flops", 2 * PARAMETERS.get(role, 400_000), "FLOP per sample"),
            ("latency_batch1", LATENCY.get(role, 140e-6) * (1 + 0.02 * (seed or 0)), "seconds per sample"),
            ("latency_batch256", LATENCY.get(role, 140e-6) / 30 * (1 + 0.02 * (seed or 0)), "seconds per sample"),
        ]
        measurements.extend(
            Measurement(role, seed, "machine", "selected", name, float(value), unit) for name, value, unit in costs
        )

    teacher = None
    if kind == "distill":
        logits = _logits("teacher", 0, labels, len(names))
        teacher = _softmax(logits)
        networks.append(_network("teacher", None, teacher, labels, names))
        measure("teacher", None, logits, None)
        measurements.append(Measurement("teacher", None, "validation", "selected", "errors", 5.0, "count"))
        for member in range(1, num_members + 1):
            logits = _logits("member", member, labels, len(names))
            networks.append(_network(f"member {member}", member, _softmax(logits), labels, names))
            measure(f"member {member}", member, logits, teacher)
    for role in ("baseline", "distilled") if kind == "distill" else ("student",):
        for seed in seeds:
            logits = _logits(role, seed, labels, len(names))
            final = 9.0 if role == "distilled" else 16.0
            history = _history(role, seed, num_epochs, final=final, num_validation=num_validation)
            best = min(history, key=lambda e: e.validation.get("errors", 0.0)).epoch if history else None
            more = {"history": history, "selected_epoch": best, "elapsed_seconds": 0.31 * num_epochs}
            networks.append(_network(role, seed, _softmax(logits), labels, names, **more))
            measure(role, seed, logits, teacher)
    return RunRecord(
        kind=kind,
        created="2025-06-01T12:00:00+00:00",
        command="limbeck distill --data digits --teacher mlp:widths=1200x1200 --student mlp:widths=64x64",
        elapsed_seconds=93.5,
        config={"data": "digits", "temperature": 4.0, "seeds": list(seeds), "optimizer": {"name": "adam", "lr": 1e-3}},
        environment={"python": "3.11.7", "torch": "2.13.0", "device": "cpu", "threads": 1},
        data=DataRecord(
            name="digits",
            fingerprint="5f3d5b8a",
            class_names=names,
            input_shape=[1, 8, 8],
            num_train=1257,
            num_labelled=1257,
            num_validation=num_validation,
            num_test=num_test,
        ),
        seeds=list(seeds),
        networks=networks,
        measurements=measurements,
        dark_knowledge=_dark_knowledge(len(names), images=images, count=num_dark),
        notes=["Latencies were measured with one thread."],
    )


@pytest.fixture(scope="session")
def make_record() -> Callable[..., RunRecord]:
    """Return a maker of run records that are consistent in themselves: simulated networks, measured truly."""
    return _make_record


@dataclass(frozen=True)
class Run:
    """What a command line gave back."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def limbeck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Run]]:
    """Run a command line in this process, in ``tmp_path``: starting Python and torch each time would take minutes."""
    import torch

    from limbeck.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    num_threads = torch.get_num_threads()

    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["limbeck", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        output = capsys.readouterr()
        return Run(int(exit_.value.code or 0), output.out, output.err)

    yield run
    torch.set_num_threads(num_threads)
