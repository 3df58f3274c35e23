"""limbeck.distill_mutual: a cohort beside each of its networks alone, fair, resumable, saved singly."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.data import Samples
from limbeck.distillation import distill_mutual
from limbeck.distillation import mutual as job
from limbeck.errors import InvalidValue, ModelError, TeacherError, UnknownName
from limbeck.models import fingerprint, load_model
from limbeck.objectives import MutualLearning
from limbeck.records import from_json, to_json
from limbeck.reports import summary_text
from limbeck.training import TrainConfig, fit, fit_cohort

RECIPE = TrainConfig(num_epochs=2, batch_size=32, learning_rate=0.1)
PAIR = ["mlp:widths=6", "mlp:widths=9"]


def arrays(count: int = 150, *, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return torch.randn(count, 8, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 8), labels


def learn(students=PAIR, **settings):
    defaults = {
        "train": arrays(),
        "test": arrays(60, seed=1),
        "recipe": RECIPE,
        "seeds": 2,
        "progress": "silent",
        "device": "cpu",
    }
    return distill_mutual(students, **defaults | settings)


def test_every_network_is_measured_alone_and_in_the_cohort_and_so_are_the_ensembles():
    record = learn().record
    roles = ["alone 1", "alone 2", "mutual 1", "mutual 2", "ensemble, alone", "ensemble, mutual"]
    assert record.kind == "mutual"
    assert record.roles() == roles
    assert all(list(record.values(role, "errors")) == [0, 1] for role in roles)
    pairs = [(comparison.reference, comparison.network) for comparison in record.comparisons]
    assert pairs == [("alone 1", "mutual 1"), ("alone 2", "mutual 2"), ("ensemble, alone", "ensemble, mutual")]
    assert from_json(to_json(record)) == record


def test_the_cohort_is_that_of_fit_cohort_and_each_baseline_that_of_fit_from_the_same_weights(monkeypatch):
    begun: dict[str, list[str]] = {"alone": [], "mutual": []}

    def watched_fit(student, *arguments, **settings):
        begun["alone"].append(fingerprint(student))
        return fit(student, *arguments, **settings)

    def watched_cohort(students, *arguments, **settings):
        begun["mutual"] += [fingerprint(student) for student in students]
        assert isinstance(arguments[1], MutualLearning)
        return fit_cohort(students, *arguments, **settings)

    monkeypatch.setattr("limbeck.distillation.cache.fit", watched_fit)
    monkeypatch.setattr("limbeck.distillation.cache.fit_cohort", watched_cohort)
    record = learn(["mlp:widths=6", "mlp:widths=6"]).record
    assert begun["alone"] == begun["mutual"]
    assert len(set(begun["alone"])) == 4  # two seeds of two networks, none of which starts as another
    steps = {(n.role, n.seed): [epoch.step for epoch in n.history] for n in record.networks if n.history}
    assert len(set(map(tuple, steps.values()))) == 1


def test_the_ensemble_is_the_mean_of_its_members_distributions(tmp_path):
    record = learn(out=tmp_path / "run").record
    inputs, labels = arrays(60, seed=1)
    members = [load_model(tmp_path / "run" / "members" / f"{number}-seed1").module for number in (1, 2)]
    pooled = sum(torch.softmax(member(inputs), dim=1) for member in members) / 2
    assert int((pooled.argmax(dim=1) != labels).sum()) == record.values("ensemble, mutual", "errors")[1]
    for number, member in zip((1, 2), members, strict=True):
        errors = int((member(inputs).argmax(dim=1) != labels).sum())
        assert errors == record.values(f"mutual {number}", "errors")[1]


def test_the_member_to_deploy_is_the_one_that_validation_chose_and_can_be_trained_on(tmp_path):
    result = learn(out=tmp_path / "run", recipe=TrainConfig(num_epochs=6, batch_size=32, learning_rate=0.2))
    record = result.record
    errors = {
        (role, seed): value
        for role in ("mutual 1", "mutual 2")
        for seed, value in record.values(role, "errors", split="validation").items()
    }
    best = min(errors.values())
    names = {(n.role, n.seed): n.name for n in record.networks}
    assert any(
        value == best and seed == result.student_seed and names[role, seed] == result.student_name
        for (role, seed), value in errors.items()
    )
    assert all(parameter.requires_grad for parameter in result.student.parameters())
    assert_close(load_model(tmp_path / "run").module(arrays()[0]), result.student(arrays()[0]))


def test_a_job_that_was_stopped_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    whole = learn().record

    def stopped(*arguments, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("limbeck.distillation.cache.fit_cohort", stopped)
        with pytest.raises(KeyboardInterrupt):
            learn(out=tmp_path / "run")
    resumed = learn(out=tmp_path / "run").record
    for role in whole.roles():
        assert resumed.values(role, "nll") == whole.values(role, "nll"), role


def test_a_frozen_teacher_beside_the_peers_teaches_too_and_is_measured():
    torch.manual_seed(0)
    teacher = nn.Linear(8, 3)
    beside, without = learn(teachers=[teacher], teacher_weight=2.0).record, learn().record
    assert beside.roles()[0] == "teacher"
    assert beside.comparisons[0].effect == "its peers and the teacher"
    assert beside.values("mutual 1", "nll") != without.values("mutual 1", "nll")
    assert beside.values("alone 1", "nll") == without.values("alone 1", "nll")


def test_unlabelled_samples_count_through_the_peers_alone():
    inputs, labels = arrays()
    labels = labels.clone()
    labels[60:] = -1
    record = learn(train=Samples("part", torch.arange(150), inputs, labels, ("a", "b", "c"))).record
    assert record.data.num_labelled < record.data.num_train
    assert any("through its peers" in note for note in record.notes)


def test_both_updates_and_both_targets_are_passed_on():
    nll = {
        (update, targets): learn(update=update, targets=targets, seeds=1).record.values("mutual 2", "nll")[0]
        for update in ("alternating", "simultaneous")
        for targets in ("each", "mean")
    }
    assert nll["alternating", "each"] != nll["simultaneous", "each"]
    assert nll["alternating", "each"] == pytest.approx(nll["alternating", "mean"], rel=1e-4)  # of one peer, the same


def test_the_summary_says_how_many_networks_the_peers_helped():
    text = summary_text(learn().record)
    assert "peers" in text
    for number in (1, 2):
        assert f"mutual {number} " in text


def test_nothing_is_trained_before_a_mistake_is_told(monkeypatch):
    monkeypatch.setattr(job, "open_run", lambda *a, **k: pytest.fail("the job began"))
    with pytest.raises(InvalidValue, match="at least two"):
        learn(["mlp:widths=6"])
    module = nn.Linear(8, 3)
    with pytest.raises(InvalidValue, match="same weights"):
        learn([module, module])
    with pytest.raises(ModelError):
        learn(["mlp:widths=6", lambda: nn.Linear(8, 4)])
    with pytest.raises(UnknownName, match="update"):
        learn(update="alternate")
    with pytest.raises(UnknownName, match="targets"):
        learn(targets="all")
    with pytest.raises(TeacherError, match="go together"):
        learn(teacher_weight=1.0)
    with pytest.raises(TeacherError, match="go together"):
        learn(teachers=[nn.Linear(8, 3)], teacher_weight=0.0)
