"""A teacher of other classes: names matched, probabilities added up, subsets renormalised, what is missing told."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import limbeck
from limbeck.data import Samples
from limbeck.errors import InvalidValue, StoreError, TeacherError
from limbeck.losses import soft_target_loss
from limbeck.teachers import (
    ClassMap,
    EnsembleTeacher,
    MappedTeacher,
    ModuleTeacher,
    StoreTeacher,
    collect,
    collect_logits,
    verify_store,
)

TEACHER = ("tabby", "tiger cat", "beagle", "pug", "zebra", "crane")
STUDENT = ("dog", "crane", "cat")
MAP = {"tabby": "cat", "tiger cat": "cat", "beagle": "dog", "pug": "dog"}


@pytest.mark.parametrize("temperature", [1.0, 2.5, 20.0])
def test_probabilities_add_up_at_the_temperature_and_are_renormalised(temperature):
    logits = torch.randn(7, 6, generator=torch.Generator().manual_seed(0)) * 3
    found = ClassMap.between(TEACHER, STUDENT, class_map=MAP)
    mapped = torch.softmax(found.logits(logits, temperature=temperature) / temperature, dim=1)
    probs = torch.softmax(logits / temperature, dim=1)
    sums = torch.stack([probs[:, [2, 3]].sum(dim=1), probs[:, 5], probs[:, [0, 1]].sum(dim=1)], dim=1)
    assert_close(mapped, sums / sums.sum(dim=1, keepdim=True))


def test_another_order_is_a_permutation_of_columns():
    found = ClassMap.between(["a", "b", "c"], ["c", "a", "b"])
    assert found.columns == ((2,), (0,), (1,))
    assert not found.merges
    assert_close(found.logits(torch.tensor([[1.0, 2.0, 3.0]]), temperature=4.0), torch.tensor([[3.0, 1.0, 2.0]]))


def test_the_note_counts_what_became_of_the_classes():
    note = ClassMap.between(TEACHER, (*STUDENT, "fish"), class_map=MAP, allow_missing=True).note
    for part in ("3 of the data's 4", "teacher's 6", "4 of these add up to 2", "1 are left out", "probability 0: fish"):
        assert part in note


@pytest.mark.parametrize(
    ("names", "change", "words"),
    [
        (STUDENT, {}, ["no class of the teacher for dog, cat"]),
        ((*STUDENT, "zebr"), {"class_map": MAP}, ["zebr", "'zebra': 'zebr'"]),
        (("fish",), {"allow_missing": True}, ["fish"]),
    ],
)
def test_a_missing_class_is_an_error_that_says_how_to_mend_it(names, change, words):
    with pytest.raises(TeacherError) as refused:
        ClassMap.between(TEACHER, names, **change)
    for word in words:
        assert word in str(refused.value)


def test_names_that_are_nobodys_are_refused():
    with pytest.raises(InvalidValue, match="teacher") as refused:
        ClassMap.between(TEACHER, STUDENT, class_map={"tabbi": "cat"})
    assert "did you mean tabby" in str(refused.value)
    with pytest.raises(InvalidValue, match="student"):
        ClassMap.between(TEACHER, STUDENT, class_map={"tabby": "kat"})
    with pytest.raises(InvalidValue, match="teacher are not told apart"):
        ClassMap.between(["a", "a"], ["a"])
    with pytest.raises(InvalidValue, match="student are not told apart"):
        ClassMap.between(["a"], ["a", "a"])


def test_a_missing_class_leaves_loss_and_gradient_finite():
    found = ClassMap.between(TEACHER, (*STUDENT, "fish"), class_map=MAP, allow_missing=True)
    student = torch.randn(5, 4, requires_grad=True)
    loss = soft_target_loss(student, found.logits(torch.randn(5, 6), temperature=2.0), temperature=2.0)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert student.grad.isfinite().all()
    assert found.logits(torch.zeros(1, 6), temperature=1.0)[0, 3] == -math.inf


def test_the_map_is_part_of_the_fingerprint_and_survives_collection():
    torch.manual_seed(0)
    module = nn.Linear(4, 6)
    found = ClassMap.between(TEACHER, STUDENT, class_map=MAP)
    teacher = MappedTeacher(ModuleTeacher(module), found)
    other = MappedTeacher(ModuleTeacher(module), ClassMap.between(TEACHER, ["crane", "zebra"]))
    assert len({teacher.fingerprint, other.fingerprint, ModuleTeacher(module).fingerprint}) == 3
    samples = Samples("x", torch.arange(5), torch.randn(5, 4), torch.arange(5) % 3, STUDENT)
    for one in (
        teacher,
        MappedTeacher(
            ModuleTeacher(module), ClassMap.between(TEACHER, STUDENT, class_map={"tabby": "cat", "pug": "dog"})
        ),
    ):
        kept = collect_logits(one, samples, limbeck.Views())
        for temperature in (1.0, 3.0):
            live = one(samples.ids, samples.inputs).logits_at(temperature)
            assert_close(kept(samples.ids, samples.inputs).logits_at(temperature), live)


@pytest.mark.parametrize("with_folder", [False, True])
def test_a_job_takes_a_teacher_of_more_classes(tmp_path, with_folder):
    torch.manual_seed(0)
    inputs = torch.randn(60, 4)
    teacher = nn.Linear(4, 6)
    samples = Samples("animals", torch.arange(60), inputs, torch.arange(60) % 3, STUDENT)
    result = limbeck.distill(
        "mlp:widths=6",
        [teacher],
        samples,
        teacher_class_names=TEACHER,
        class_map=MAP,
        seeds=1,
        recipe=limbeck.TrainConfig(num_epochs=1, batch_size=16),
        progress="silent",
        **({"out": tmp_path / "run"} if with_folder else {}),
    )
    assert any("add up to 2" in note for note in result.record.notes)
    assert any(("targets/" if with_folder else "in memory") in note for note in result.record.notes)
    with pytest.raises(TeacherError, match="class names"):
        limbeck.distill("mlp:widths=6", [teacher], samples, class_map=MAP)


def animals() -> Samples:
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    return Samples("animals", torch.arange(60), inputs, torch.arange(60) % 3, STUDENT)


def mapped(seed: int, **given) -> MappedTeacher:
    torch.manual_seed(seed)
    return MappedTeacher(ModuleTeacher(nn.Linear(4, 6)), ClassMap.between(TEACHER, STUDENT, class_map=MAP, **given))


def test_a_store_keeps_the_teachers_own_classes_where_they_add_up(tmp_path):
    samples, teacher = animals(), EnsembleTeacher([mapped(0), mapped(1)], weights=[1, 3])
    store = collect(teacher, samples, limbeck.Views(), tmp_path / "store", codec="dense16")
    assert tuple(store.manifest.plan.class_names) == TEACHER
    read = teacher.pooled([StoreTeacher(store, member=member) for member in range(2)])
    for temperature in (1.0, 5.0):
        live = teacher(samples.ids, samples.inputs).logits_at(temperature)
        assert_close(read(samples.ids, samples.inputs).logits_at(temperature), live, atol=5e-3, rtol=0)
    assert verify_store(store, teacher, samples, limbeck.Views()) < 1e-3


def test_teachers_of_different_classes_have_no_store_together(tmp_path):
    torch.manual_seed(0)
    teacher = EnsembleTeacher([mapped(0), ModuleTeacher(nn.Linear(4, 3))])
    with pytest.raises(StoreError, match="different classes"):
        collect(teacher, animals(), limbeck.Views(), tmp_path / "store")
    assert not (tmp_path / "store" / "plan.json").exists()


def test_a_store_of_more_classes_is_mapped_as_it_is_read(tmp_path):
    samples, teacher = animals(), mapped(0)
    collect(teacher, samples, limbeck.Views(), tmp_path / "store", codec="dense16")
    settings = {"seeds": 1, "recipe": limbeck.TrainConfig(num_epochs=1, batch_size=16), "progress": "silent"}
    settings |= {"validation": samples, "test": samples}
    with pytest.raises(StoreError, match="other classes"):
        limbeck.distill("mlp:widths=6", (), samples, store=tmp_path / "store", **settings)
    alone = limbeck.distill("mlp:widths=6", (), samples, store=tmp_path / "store", class_map=MAP, **settings)
    beside = limbeck.distill(
        "mlp:widths=6",
        [teacher.teacher],
        samples,
        store=tmp_path / "store",
        class_map=MAP,
        teacher_class_names=TEACHER,
        **settings,
    )
    assert_close(dict(alone.student.state_dict()), dict(beside.student.state_dict()))
