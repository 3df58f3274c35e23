"""Steps through torch.compile are the steps without it, are compiled once, and resume to the bit."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from test_fit import CPU, RECIPE, run
from torch._dynamo.utils import counters
from torch.testing import assert_close

import limbeck
from limbeck.data import Batch
from limbeck.errors import CheckpointError, InvalidValue, ModelError
from limbeck.objectives import Distillation
from limbeck.objectives.objective import Counts, as_it_is
from limbeck.targets import DenseTargets, SoftTargets
from limbeck.training import Runtime, SilentProgress, TrainingInterrupted
from limbeck.training.compiled import CompiledStep, check_near

COMPILED = dataclasses.replace(CPU, compiles=True)


class Graphs(SilentProgress):
    """Notes how many graphs have been compiled by the end of each epoch."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def epoch(self, record) -> None:
        self.counts.append(counters["stats"]["unique_graphs"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning", "ignore:Skipping serialization")
def test_a_compiled_run_is_the_plain_one_compiles_once_and_resumes_to_the_bit(tmp_path):
    torch._dynamo.reset()
    counters.clear()
    graphs, recipe = Graphs(), dataclasses.replace(RECIPE, learning_rate=0.02)
    whole = run(recipe=recipe, runtime=COMPILED, progress=graphs)
    assert graphs.counts == 3 * [2]  # forward pass and loss
    assert not counters["graph_break"]
    plain = run(recipe=recipe)
    for found, expected in zip(whole.history, plain.history, strict=True):
        assert found.train == pytest.approx(expected.train, rel=1e-4)
        assert found.validation["errors"] == expected.validation["errors"]
    with pytest.raises(TrainingInterrupted):
        run(recipe=recipe, runtime=COMPILED, checkpoint=tmp_path / "student.pt", cut_at=8)
    with pytest.raises(CheckpointError, match="compiled differ"):
        run(recipe=recipe, checkpoint=tmp_path / "student.pt")
    torch._dynamo.reset()
    resumed = run(recipe=recipe, runtime=COMPILED, checkpoint=tmp_path / "student.pt")
    assert all(torch.equal(value, whole.last_weights[key]) for key, value in resumed.last_weights.items())
    assert resumed.history[-1].train == whole.history[-1].train


def test_nothing_is_compiled_without_a_compiler(monkeypatch):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    with pytest.raises(InvalidValue, match="nothing to compile with") as caught:
        Runtime.resolve("cpu", compiles=True)
    assert "leave --compile out" in str(caught.value)


def test_networks_that_learn_from_each_other_are_not_compiled(tmp_path):
    rows = torch.rand(8, 4), torch.arange(8) % 2
    with pytest.raises(InvalidValue, match="trained together do not go through"):
        limbeck.distill_mutual(["mlp", "mlp"], rows, compile=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def step(monkeypatch):
    """Compiled steps of a linear student, but for the compiler."""
    monkeypatch.setattr(torch, "compile", lambda function, **how: function)
    return CompiledStep(torch.nn.Linear(4, 3), Distillation(temperature=2.0))


def test_samples_of_another_length_are_refused(step):
    step.outputs(torch.rand(8, 5, 4), None)
    step.outputs(torch.rand(6, 5, 4), None)  # a smaller part
    with pytest.raises(InvalidValue, match="different shapes are not compiled"):
        step.outputs(torch.rand(8, 7, 4), None)


def test_ranks_refuse_a_network_that_is_compiled_to_another_one():
    logits = torch.randn(8, 3)
    check_near(logits + 1e-6, logits)
    with pytest.raises(ModelError, match="do not hold the numbers of one process"):
        check_near(logits * (torch.rand(8, 3) < 0.8), logits)


def test_soft_targets_are_looked_up_before_the_compiled_loss(step, monkeypatch):
    logits, asked = torch.randn(8, 3), []

    class Stored(SoftTargets):
        def logits_at(self, temperature):
            asked.append(is_inside)
            return logits * temperature

    original = step._loss
    is_inside = False

    def loss(*arguments):
        nonlocal is_inside
        is_inside = True
        try:
            return original(*arguments)
        finally:
            is_inside = False

    monkeypatch.setattr(step, "_loss", loss)
    inputs = torch.randn(8, 4)
    batch = Batch(torch.arange(8), inputs, torch.zeros(8, dtype=torch.int64), view=3)
    outputs = step.outputs(inputs, None)
    values = step.backward(outputs, Stored(), batch, counts=Counts(8.0, 8.0), scale=as_it_is)
    assert asked
    assert not any(asked)
    expected = Distillation(temperature=2.0)(outputs.detach(), DenseTargets(2.0 * logits), batch)
    assert_close(values, torch.stack([expected.total, *expected.means.values()]))
