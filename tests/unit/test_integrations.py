"""DistillationLoss, alone and in the loops of Accelerate, Lightning and transformers, gives the numbers of fit."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import limbeck
from limbeck.data import as_samples
from limbeck.errors import DataError, InvalidValue, ShapeMismatch, StoreError, TeacherError
from limbeck.integrations import DistillationLoss, trainer_compute_loss
from limbeck.objectives import Distillation, HardLabels, LogitMatching
from limbeck.teachers import as_teacher
from limbeck.training import Runtime

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "own-loop.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
LOOPS = {"accelerate": 2, "lightning": 3, "transformers": 4}  # place of each one's block
CPU = Runtime(torch.device("cpu"), "fp32")
DISTILLATION = Distillation(temperature=4.0)


def toy(count=12, classes=3):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.rand(count, 5, generator=draw)
    return as_samples((inputs, torch.arange(count) % classes))


class ReplayedOrder:
    """The order of another loop, for ``fit``: positions by pass."""

    def __init__(self, passes):
        self._passes = passes

    def num_batches(self, samples, batch_size):
        return -(-len(samples) // batch_size)

    def positions(self, samples, *, seed, epoch, batch_size):
        return self._passes[epoch]


class Watched:
    """A loss that remembers the ids of every batch."""

    def __init__(self, loss):
        self.loss, self.objective, self.batches = loss, loss.objective, []

    def __call__(self, outputs, *, ids, **given):
        self.batches.append(ids.clone())
        return self.loss(outputs, ids=ids, **given)


def student():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def accumulating(block):
    """Return the Trainer's block with steps in two parts, and a student that takes what the Trainer counts."""
    block = block.replace("train_batch_size=64,", "train_batch_size=32,\n    gradient_accumulation_steps=2,")
    return block.replace("forward(self, pixel_values)", "forward(self, pixel_values, **given)")


@pytest.mark.slow
@pytest.mark.parametrize(("library", "change"), [*((name, str) for name in LOOPS), ("transformers", accumulating)])
def test_each_loop_of_the_guide_ends_in_the_parameters_of_fit(library, change, teacher_kinds, tmp_path, monkeypatch):
    teacher_kinds.declare_torchvision()
    pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "guide"}
    for block in BLOCKS[:2]:
        exec(compile(block, str(GUIDE), "exec"), names)
    loss = names["loss"] = Watched(names["loss"])
    torch.manual_seed(1)  # as student() does: each block builds that network first
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about themselves
        exec(compile(change(BLOCKS[LOOPS[library]]), str(GUIDE), "exec"), names)
    number = len(loss.batches) // 2
    passes = [torch.cat(loss.batches[:number]), torch.cat(loss.batches[number:])]
    assert not torch.equal(*passes)
    ours = student()
    limbeck.fit(
        ours,
        names["samples"],
        DISTILLATION,
        recipe=limbeck.TrainConfig(num_epochs=2, batch_size=64, learning_rate=0.1, weight_decay=0, schedule="constant"),
        teacher=loss.loss.teacher,
        order=ReplayedOrder(passes),
        runtime=CPU,
    )
    theirs = dict(enumerate(names["student"].parameters()))
    for place, (parameter, initial) in enumerate(zip(ours.parameters(), student().parameters(), strict=True)):
        assert_close(theirs[place].detach(), parameter.detach(), rtol=0, atol=1e-6)
        assert float((parameter - initial).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("library", LOOPS)
def test_what_the_guide_adds_is_at_most_15_lines(library):
    setting_up = [line for line in BLOCKS[1].splitlines() if line]
    own = [line for line in BLOCKS[LOOPS[library]].splitlines() if "loss" in line or "ids" in line or "limbeck" in line]
    assert len(setting_up) + len(own) <= 15


def test_a_store_needs_no_inputs_and_says_the_same_as_its_teacher(tmp_path):
    samples, network, outputs = toy(), nn.Linear(5, 3), torch.randn(4, 3)
    store = limbeck.collect(as_teacher(network), samples, limbeck.Views(), tmp_path / "targets", codec="dense16")
    ids = torch.tensor([7, 0, 11, 3])
    stored = DistillationLoss(DISTILLATION, store, samples=samples)(outputs, ids=ids, labels=samples.labels[ids])
    live = DistillationLoss(DISTILLATION, network)
    run = live(outputs, ids=ids, labels=samples.labels[ids], inputs=samples.inputs[ids])
    assert_close(stored.total, run.total, rtol=1e-3, atol=1e-5)  # kept in float16
    with pytest.raises(TeacherError, match="runs on inputs"):
        live(outputs, ids=ids, labels=samples.labels[ids])
    with pytest.raises(StoreError, match="no targets for some samples"):
        DistillationLoss(DISTILLATION, store)(outputs[:1], ids=torch.tensor([99]))
    with pytest.raises(StoreError):
        DistillationLoss(DISTILLATION, store, samples=toy(10))
    live.check_unchanged()


def test_without_labels_the_soft_targets_alone_count():
    logits, outputs = torch.randn(6, 3), torch.randn(2, 3)
    parts = DistillationLoss(DISTILLATION, logits)(outputs, ids=torch.tensor([1, 4]))
    expected = limbeck.soft_target_loss(outputs, logits[[1, 4]], temperature=4.0).mean()
    assert_close(parts.means["soft"], expected)
    assert float(parts.means["hard"]) == 0


def test_smoothing_and_class_weights_are_those_of_fit():
    outputs, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    weights = torch.tensor([1.0, 2.0, 0.5])
    loss = DistillationLoss(HardLabels(), label_smoothing=0.1, class_weights=weights.tolist())
    smooth = 0.9 * nn.functional.one_hot(labels, 3) + 0.1 / 3
    values = -(smooth * outputs.log_softmax(1)).sum(1) * weights[labels]
    assert_close(loss(outputs, ids=torch.arange(4), labels=labels).total, values.sum() / weights[labels].sum())


def test_what_does_not_fit_is_told():
    with pytest.raises(TeacherError, match="LogitMatching needs a teacher"):
        DistillationLoss(LogitMatching())
    with pytest.raises(ShapeMismatch, match="one id and one label for each row"):
        DistillationLoss(HardLabels())(torch.zeros(3, 2), ids=torch.arange(2), labels=torch.zeros(3).long())


def test_a_teacher_inside_the_module_is_refused_when_it_is_woken():
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.teacher = nn.Linear(5, 3)

    module = Module()
    loss = DistillationLoss(DISTILLATION, module.teacher)
    module.train()
    with pytest.raises(TeacherError, match="put in train mode"):
        loss(torch.zeros(1, 3), ids=torch.arange(1), inputs=torch.zeros(1, 5))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, values):
        return self.linear(values)


def trainer(**arguments):
    settings = {"n_gpu": 1, "average_tokens_across_devices": True, **arguments}
    return SimpleNamespace(args=SimpleNamespace(**settings), accelerator=SimpleNamespace(num_processes=1))


def columns(samples, positions):
    return {"ids": positions, "values": samples.inputs[positions], "labels": samples.labels[positions]}


def test_accumulated_parts_add_up_to_the_mean_of_the_step():
    samples, network, logits = toy(), Network(), torch.randn(12, 3)
    loss = DistillationLoss(DISTILLATION, logits)
    compute = trainer_compute_loss(loss)
    parts = [columns(samples, positions) for positions in (torch.arange(5), torch.arange(5, 12))]
    total = sum(compute(trainer(), network, part, num_items_in_batch=torch.tensor(12)) for part in parts)
    whole = loss(network(samples.inputs), ids=samples.ids, labels=samples.labels)
    assert_close(total, whole.total)


def test_evaluation_measures_labels_and_returns_the_outputs():
    samples, network = toy(), Network().eval()
    compute = trainer_compute_loss(DistillationLoss(DISTILLATION, torch.randn(2, 3)))
    given = columns(samples, torch.arange(4, 9))  # the teacher has no row for them
    measured, outputs = compute(trainer(), network, given, return_outputs=True)
    logits = network(samples.inputs[4:9])
    assert_close(outputs["logits"], logits)
    assert_close(measured, nn.functional.cross_entropy(logits, samples.labels[4:9]))


def test_a_trainer_that_drops_the_ids_or_splits_batches_is_told():
    samples, network = toy(), Network()
    compute = trainer_compute_loss(DistillationLoss(DISTILLATION, torch.randn(12, 3)))
    given = columns(samples, torch.arange(4))
    with pytest.raises(InvalidValue, match="several GPUs"):
        compute(trainer(n_gpu=2), network, given)
    del given["ids"]
    with pytest.raises(DataError, match="no sample ids") as caught:
        compute(trainer(), network, given)
    assert "remove_unused_columns=False" in str(caught.value)
