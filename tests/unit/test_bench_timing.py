"""Benchmarks take turns, report medians and leave nothing behind."""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.bench import chunked, loss
from limbeck.bench.memory import peak_bytes
from limbeck.bench.timing import interleaved, machine_facts
from limbeck.commands.bench import as_text
from limbeck.errors import InvalidValue


def test_functions_take_turns_in_a_rotating_order() -> None:
    calls: list[str] = []
    interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, num_rounds=3, warmup=0)
    assert "".join(calls) == "abcbcacab"


def test_warmup_is_run_but_not_counted() -> None:
    calls: list[None] = []

    def slow_at_first() -> None:
        calls.append(None)
        if len(calls) <= 2:
            time.sleep(0.05)

    timing = interleaved({"f": slow_at_first}, num_rounds=4, warmup=2)["f"]
    assert len(calls) == 6
    assert timing.num_rounds == 4
    assert timing.high_seconds < 0.05


def test_median_and_quartiles_of_known_times(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 5.0, 10.0, 11.0, 20.0, 22.0, 30.0, 34.0, 40.0, 43.0])
    monkeypatch.setattr("limbeck.bench.timing.time.perf_counter", lambda: next(now))
    timing = interleaved({"f": lambda: None}, num_rounds=5, warmup=0)["f"]  # 5, 1, 2, 4, 3 seconds
    assert (timing.low_seconds, timing.median_seconds, timing.high_seconds) == (2.0, 3.0, 4.0)


def test_one_round_has_no_spread() -> None:
    timing = interleaved({"f": lambda: None}, num_rounds=1, warmup=0)["f"]
    assert timing.low_seconds == timing.median_seconds == timing.high_seconds > 0


@pytest.mark.parametrize(
    ("functions", "options"),
    [({}, {}), ({"f": int}, {"num_rounds": 0}), ({"f": int}, {"warmup": -1})],
)
def test_mistakes(functions: dict[str, type], options: dict[str, int]) -> None:
    with pytest.raises(InvalidValue):
        interleaved(functions, **options)


def test_machine_facts_are_json_and_name_what_matters() -> None:
    facts = json.loads(json.dumps(machine_facts()))
    assert facts["torch"] == torch.__version__
    assert facts["num_threads"] == torch.get_num_threads()
    assert facts["processor"]


def test_loss_benchmark_reports_ratios_to_the_floor() -> None:
    random_state = torch.get_rng_state()
    result = loss.run(batch_size=8, num_classes=20, num_rounds=3)
    assert json.loads(json.dumps(result)) == result
    medians = {name: timing["median"] for name, timing in result["seconds"].items()}
    for name in ("ready_probabilities", "from_logits"):
        assert result["ratios"][name] == pytest.approx(medians[name] / medians["conventional"])
        assert result["reached"][name] == (result["ratios"][name] <= result["targets"][name])
    assert torch.equal(torch.get_rng_state(), random_state)


def test_loss_benchmark_refuses_a_temperature_of_zero() -> None:
    with pytest.raises(InvalidValue, match="temperature"):
        loss.run(batch_size=2, num_classes=3, temperature=0.0, num_rounds=1)


def _fill(*, held: int, used: int) -> Callable[[], object]:
    kept = bytearray(os.urandom(1) * held)
    return lambda: (len(kept), len(bytearray(os.urandom(1) * used)))


def test_peak_memory_counts_what_the_call_takes_and_not_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    parents = bytearray(os.urandom(1) * 200_000_000)  # a child must not start with its parent's peak
    rise = peak_bytes(Path(__file__).stem, "_fill", {"held": 100_000_000, "used": 50_000_000})
    assert len(parents) == 200_000_000
    assert 50_000_000 <= rise < 120_000_000  # repeating a byte may make a copy


def test_memory_of_a_process_that_fails_says_why() -> None:
    with pytest.raises(InvalidValue, match="no_such_function"):
        peak_bytes("limbeck.bench.memory", "no_such_function", {})


def test_chunked_benchmark_reports_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(module: str, function: str, settings: dict[str, Any]) -> int:
        getattr(importlib.import_module(module), function)(**settings)()
        asked.append(settings["way"])
        return 1000 if settings["way"] == "plain" else 100

    monkeypatch.setattr(chunked, "peak_bytes", measured)
    result = chunked.run(num_rows=6, num_features=4, num_classes=70, num_rounds=2)
    assert json.loads(json.dumps(result)) == result
    assert set(asked) == set(chunked.WAYS) == set(result["seconds"])
    assert result["memory_ratios"]["one_pass"] == 0.1
    medians = {way: timing["median"] for way, timing in result["seconds"].items()}
    for way in chunked.CHUNKED:
        assert result["ratios"][way] == pytest.approx(medians[way] / medians["plain"])
        assert result["reached"][way] == (result["ratios"][way] <= result["targets"][way])
    text = as_text(result)
    assert "MB   ratio 0.100   target 0.15" in text


def test_all_ways_of_the_chunked_benchmark_with_dense_teachers_compute_the_same_gradient() -> None:
    problem = chunked._Problem(num_rows=6, num_features=4, num_classes=70, temperature=2.0, seed=0)
    gradients = []
    for way in ("plain", "all_logits", "one_pass", "per_example"):
        problem.step(way)
        gradients.append([problem.features.grad, problem.weight.grad, problem.bias.grad])
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0])
