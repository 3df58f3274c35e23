"""Several students that learn from the same teachers and are fused into one network; teachers with weights."""

from __future__ import annotations

import json

import pytest
import torch

import limbeck
from limbeck.data import Samples, Splits
from limbeck.distillation.sources import network_from
from limbeck.errors import InvalidValue, TeacherError
from limbeck.models import FusedNetwork, load_model
from limbeck.training import TrainConfig

RECIPE = TrainConfig(num_epochs=10, batch_size=32, learning_rate=0.1)


def parts(count=240, *, seed=0):
    """Samples of two named inputs: one tells the first bit of the class, the other the second."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    inputs = {
        name: (2.0 * bit[:, None] - 1) + 0.8 * torch.randn(count, 6, generator=generator)
        for name, bit in (("first", labels // 2), ("second", labels % 2))
    }
    return Samples("parts", torch.arange(count), inputs, labels, ("00", "01", "10", "11"))


STUDENTS = ["on:first:mlp:widths=8", "on:second:mlp:widths=8"]
TEACHERS = ["on:first:mlp:widths=16", "on:second:mlp:widths=16"]


def distilled(**settings):
    return limbeck.distill(
        STUDENTS, TEACHERS, parts(), fuse=True, recipe=RECIPE, seeds=2, progress="silent",
        **{"temperature": 2.0, **settings},
    )  # fmt: skip


def accuracy(record, role):
    values = [
        m.value
        for m in record.measurements
        if (m.network, m.split, m.weights, m.name) == (role, "test", "selected", "accuracy")
    ]
    return sum(values) / len(values)


def test_students_on_two_inputs_are_fused_into_one_network(tmp_path, monkeypatch):
    result = distilled(out=tmp_path / "run")
    roles = {network.role for network in result.record.networks}
    assert roles >= {"baseline 1", "baseline 2", "distilled 1", "distilled 2", "fused baseline", "fused distilled"}
    assert accuracy(result.record, "fused distilled") > 0.8 > 0.6 > accuracy(result.record, "distilled 1")
    assert isinstance(result.student, FusedNetwork)
    assert result.student.pooling == "geometric"
    assert (result.student.weights > 0.2).all()
    assert result.record.comparisons[0].network == "fused distilled"
    assert any(note.startswith("fused distilled, seed 0: weights") for note in result.record.notes)
    back = load_model(tmp_path / "run")
    inputs = parts(8, seed=5).inputs
    with torch.no_grad():
        assert torch.equal(back.module(**inputs), result.student(**inputs))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "fused distilled" in page
    assert json.loads((tmp_path / "run" / "record.json").read_text())["config"]["fuse"] is True

    (tmp_path / "run" / "record.json").unlink()  # stopped at the end: nothing is trained again
    monkeypatch.setattr("limbeck.distillation.cache.fit", lambda *given, **more: pytest.fail("trained again"))
    again = distilled(out=tmp_path / "run")
    assert accuracy(again.record, "fused distilled") == accuracy(result.record, "fused distilled")


def test_plain_students_of_different_architectures_start_apart_and_are_fused():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (150,), generator=generator)
    inputs = torch.randn(150, 5, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 5)
    specs = ["mlp:widths=8", "mlp:widths=8", "mlp:widths=4x4"]
    result = limbeck.distill(
        specs, "mlp:widths=16", (inputs, labels), fuse=True, fuse_weights="equal", recipe=RECIPE, seeds=1,
        progress="silent",
    )  # fmt: skip
    one, two, _ = result.student.networks
    assert not torch.equal(next(one.parameters()), next(two.parameters()))
    assert result.student.weights.tolist() == pytest.approx([1 / 3] * 3)
    assert result.student.specs == tuple(specs)


def test_one_network_that_adds_logits_learns_as_a_whole(tmp_path):
    whole = "fused:" + "+".join(STUDENTS)
    result = limbeck.distill(
        whole, TEACHERS, parts(), recipe=RECIPE, seeds=1, pooling="geometric", progress="silent", out=tmp_path / "run"
    )
    assert isinstance(result.student, FusedNetwork)
    assert accuracy(result.record, "distilled") > 0.8
    assert {network.role for network in result.record.networks} >= {"baseline", "distilled"}
    inputs = parts(8, seed=5).inputs
    with torch.no_grad():
        added = sum(network(**inputs) for network in result.student.networks)
        torch.testing.assert_close(result.student(**inputs), added.log_softmax(1))
        assert torch.equal(load_model(tmp_path / "run").module(**inputs), result.student(**inputs))
    for member in result.student.networks:  # each moved from where it started
        start = network_from(STUDENTS[0]).build_for(parts(), seed=0)
        assert not torch.equal(next(member.parameters()), next(start.parameters()))


@pytest.mark.parametrize("how", ["accuracy", "fitted"])
def test_teachers_are_weighed_on_validation(how):
    splits = parts(400)
    noise = dict(splits.inputs) | {"second": torch.randn(400, 6, generator=torch.Generator().manual_seed(1))}
    useless = Samples("parts", splits.ids, noise, splits.labels // 2, ("0", "1"))
    result = limbeck.distill(
        "on:first:mlp:widths=8", TEACHERS, useless, teacher_weighting=how, recipe=RECIPE, seeds=1, progress="silent"
    )
    (note,) = [note for note in result.record.notes if note.startswith("Teachers' weights")]
    first, second = (float(text.rstrip(".")) for text in note.partition(": ")[2].split(", "))
    assert first + second == pytest.approx(1, abs=2e-3)
    assert first > (0.6 if how == "accuracy" else 0.95)


def test_weights_that_cannot_be_chosen_are_refused():
    samples = parts(60)
    with pytest.raises(TeacherError, match="cannot be chosen"):
        distilled(teacher_weighting="fitted", teacher_weights=[1, 2])
    with pytest.raises(TeacherError, match="cannot be chosen"):
        limbeck.distill(STUDENTS[0], torch.zeros(60, 4), samples, teacher_weighting="accuracy", recipe=RECIPE)
    with pytest.raises(InvalidValue, match="Nothing tells the teachers' weights"):
        distilled(teacher_weighting="fitted", validation_fraction=0.0, fuse_weights="equal")
    with pytest.raises(InvalidValue, match="Nothing tells the weights of the fused students"):
        distilled(validation_fraction=0.0)


def test_fusing_needs_several_students_and_several_need_fusing():
    samples = Splits(parts(60))
    with pytest.raises(InvalidValue, match="Several students are fused"):
        limbeck.distill(STUDENTS, TEACHERS, samples, recipe=RECIPE)
    with pytest.raises(InvalidValue, match="Fusing needs several students"):
        limbeck.distill(STUDENTS[0], TEACHERS, samples, fuse=True, recipe=RECIPE)
