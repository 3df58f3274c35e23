"""Training specialists: from the generalist's weights, on balanced batches, found again, a committee as a teacher."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import shutil

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.calibration import dustbin_offset
from limbeck.data import Mixup, Samples, Views
from limbeck.distillation import cache as job
from limbeck.distillation import load_committee, save_committee, train_specialists
from limbeck.distillation import specialists as training
from limbeck.distillation.specialists import DUSTBIN
from limbeck.errors import InvalidValue, JobsFailed, ModelError, RecordError, TeacherError, UnknownName
from limbeck.jobs import run_jobs
from limbeck.models import SavedModel, build, fingerprint, specialist_network
from limbeck.objectives import HardSpecialSoftRest
from limbeck.pooling import combine_specialists
from limbeck.records import sealed_text
from limbeck.specialists import SpecialistPlan
from limbeck.teachers import LogitsTeacher, ModuleTeacher
from limbeck.training import Runtime, TrainConfig, fit

CPU = Runtime(torch.device("cpu"), "fp32")
NAMES = ("a", "b", "c", "d", "e", "f")
RECIPE = TrainConfig(num_epochs=4, batch_size=16, learning_rate=0.05)
SPEC = "mlp:widths=12"


def data(count: int = 240, *, seed: int = 0) -> Samples:
    """Return six classes in three pairs that are hard to tell apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 6
    centres = torch.randn(3, 8, generator=torch.Generator().manual_seed(9)).repeat_interleave(2, dim=0)
    centres = centres + 0.5 * torch.randn(6, 8, generator=torch.Generator().manual_seed(8))
    inputs = centres[labels] + 0.5 * torch.randn(count, 8, generator=generator)
    return Samples(f"toy-{seed}", torch.arange(count) + 1000 * seed, inputs, labels, NAMES)


def generalist() -> nn.Module:
    network = build(SPEC, input_shape=(8,), num_classes=6, seed=0)
    torch.manual_seed(1)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(data().inputs), data().labels).backward()
        optimiser.step()
    return network.eval()


def plan_of(network: nn.Module, sets=(("a", "b"), ("d", "c"), ("e", "f", "a"))) -> SpecialistPlan:
    return SpecialistPlan(list(NAMES), [list(names) for names in sets], generalist_fingerprint=fingerprint(network))


def trained(network, plan=None, **settings):
    defaults = {"recipe": RECIPE, "validation": data(90, seed=1), "runtime": CPU, "generalist_spec": SPEC}
    return train_specialists(network, plan or plan_of(network), data(), **defaults | settings)


def saved_model(network: nn.Module) -> SavedModel:
    return SavedModel(network, SPEC, (8,), list(NAMES), None, "student", fingerprint(network), {})


def test_a_specialist_starts_as_the_generalist_with_a_dustbin():
    network = generalist()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    special = specialist_network(network, [4, 1], num_classes=6)
    inputs = data().inputs
    with torch.no_grad():
        own, general = special(inputs), network(inputs)
    assert_close(own[:, :2], general[:, [4, 1]])
    assert_close(own[:, 2], general[:, [0, 2, 3, 5]].mean(dim=1) + math.log(4))
    assert all(parameter.requires_grad for parameter in special.parameters())
    with torch.no_grad():
        special.head.weight.zero_()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("members", [[], [0, 1, 2, 3, 4, 5], [0, 0], [6], [-1]])
def test_a_set_that_is_none_is_refused(members):
    with pytest.raises(InvalidValue, match="some of the classes"):
        specialist_network(generalist(), members, num_classes=6)
    with pytest.raises(ModelError, match="no linear layer"):
        specialist_network(nn.Sequential(nn.Linear(8, 5)), [0], num_classes=6)


def test_specialists_learn_their_classes_on_balanced_batches_of_their_own_labels(monkeypatch):
    network = generalist()
    own = fingerprint(network)
    asked = []

    def watched(student, samples, objective, **settings):
        asked.append((samples, settings))
        return fit(student, samples, objective, **settings)

    monkeypatch.setattr(job, "fit", watched)
    specialists = trained(network)
    assert [one.class_set for one in specialists] == [["a", "b"], ["d", "c"], ["e", "f", "a"]]
    samples, settings = asked[1]
    assert samples.class_names == ("d", "c", DUSTBIN)
    original = data().labels
    for number, name in enumerate(("d", "c")):
        assert torch.equal(samples.labels == number, original == NAMES.index(name))
    positions = settings["order"].positions(samples, seed=0, epoch=0, batch_size=16)
    assert ((samples.labels[positions] < 2).view(-1, 16).sum(dim=1) == 8).all()
    validation = settings["validation"]
    assert (validation.labels < 2).sum() == (validation.labels == 2).sum() == 30
    for one, share in zip(specialists, (1 / 3, 1 / 3, 1 / 2), strict=True):
        assert one.dustbin_offset == pytest.approx(dustbin_offset(special_prior=share))
        accuracy = {record.epoch: record.validation["accuracy"] for record in one.history}
        assert accuracy[one.selected_epoch] == max(accuracy.values()) > 0.6
    assert fingerprint(network) == own


def test_full_softmax_specialists_learn_from_labels_and_the_generalist(monkeypatch):
    network = generalist()
    own = fingerprint(network)
    asked = []

    def watched(student, samples, objective, **settings):
        asked.append((samples, objective, settings))
        return fit(student, samples, objective, **settings)

    monkeypatch.setattr(job, "fit", watched)
    specialists = trained(network, variant="full_softmax", temperature=3.0, hard_weight=0.5, soft_weight=2.0)
    samples, objective, settings = asked[1]
    assert objective == HardSpecialSoftRest((3, 2), temperature=3.0, hard_weight=0.5, soft_weight=2.0)
    assert samples.class_names == ("d", "c", DUSTBIN)
    positions = settings["order"].positions(samples, seed=0, epoch=0, batch_size=16)
    assert ((samples.labels[positions] < 2).view(-1, 16).sum(dim=1) == 8).all()
    outputs = settings["teacher"]
    assert isinstance(outputs, LogitsTeacher)
    assert outputs.fingerprint == own
    with torch.no_grad():
        assert_close(outputs(samples.ids, samples.inputs).logits_at(1.0), network(data().inputs))
    for one, plain in zip(specialists, trained(network), strict=True):
        assert one.class_set == plain.class_set
        assert one.dustbin_offset == plain.dustbin_offset
        assert one.module(data().inputs).shape == plain.module(data().inputs).shape
        accuracy = {record.epoch: record.validation["accuracy"] for record in one.history}
        assert accuracy[one.selected_epoch] == max(accuracy.values()) > 0.6
        assert set(one.history[0].train) == {"total", "soft", "hard"}
    assert fingerprint(network) == own
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_generalist_is_asked_in_every_step_where_views_change_and_says_the_same(monkeypatch):
    network, teachers = generalist(), []

    def watched(*arguments, **settings):
        teachers.append(settings["teacher"])
        return fit(*arguments, **settings)

    monkeypatch.setattr(job, "fit", watched)
    settings = {"variant": "full_softmax", "recipe": dataclasses.replace(RECIPE, num_epochs=2)}
    beforehand = trained(network, **settings)
    with monkeypatch.context() as patched:
        patched.setattr(job, "run_jobs", sent)  # a module that is asked in every step is sent, and then a teacher
        trained(network, views=Views((Mixup(0.2),)), **settings)
    with monkeypatch.context() as patched:
        patched.setattr(training, "_with_soft_targets", lambda tasks, cache, labelled: tasks)
        in_steps = trained(network, **settings)
    assert [type(teacher) for teacher in teachers] == [LogitsTeacher] * 3 + [ModuleTeacher] * 6
    assert {teacher.fingerprint for teacher in teachers} == {fingerprint(network)}
    for one, other in zip(beforehand, in_steps, strict=True):
        assert_close(one.module(data().inputs), other.module(data().inputs), rtol=1e-4, atol=1e-4)


def sent(jobs, root, **settings):
    """Run jobs as they come out where they are sent to."""
    return run_jobs(pickle.loads(pickle.dumps(jobs)), root, **settings)


def test_a_full_softmax_specialist_is_right_for_the_frequencies_of_its_data():
    # A linear network of one-hot signs is a table: after training it knows how often each class shows each sign.
    counts = torch.tensor([[6, 2, 3, 4, 3, 2], [2, 1, 8, 1, 5, 3], [7, 1, 1, 1, 6, 4]])  # (signs, classes)
    signs, labels = (counts.flatten().nonzero()[:, 0].repeat_interleave(counts.flatten()) // n % m
                     for n, m in ((6, 3), (1, 6)))  # fmt: skip
    samples = Samples("signs", torch.arange(60), nn.functional.one_hot(signs, 8).float(), labels, NAMES)
    network = nn.Sequential(nn.Linear(8, 6))
    plan = SpecialistPlan(list(NAMES), [["d", "b"]])
    (one,) = train_specialists(
        network,
        plan,
        samples,
        recipe=TrainConfig(num_epochs=1500, batch_size=2 * 10, learning_rate=0.5, schedule="cosine", weight_decay=0.0),
        variant="full_softmax",
        runtime=CPU,
    )
    with torch.no_grad():
        logits = one.module(torch.eye(8)[:3])
    logits[:, -1] += one.dustbin_offset
    truth = torch.cat([counts[:, [3, 1]], counts[:, [0, 2, 4, 5]].sum(dim=1, keepdim=True)], dim=1)
    assert_close(torch.softmax(logits, dim=1), truth / truth.sum(dim=1, keepdim=True), atol=0.02, rtol=0)


@pytest.mark.parametrize("variant", ["dustbin", "full_softmax"])
def test_what_is_there_is_not_trained_again_and_other_settings_are_other_specialists(tmp_path, monkeypatch, variant):
    network = generalist()
    first = trained(network, out=tmp_path, variant=variant)
    calls = []
    monkeypatch.setattr(job, "fit", lambda *a, **k: (calls.append(k["name"]), fit(*a, **k))[1])
    with monkeypatch.context() as patched:
        patched.setattr(training, "collect_logits", None)  # nobody is asked for what is there
        again = trained(network, out=tmp_path, variant=variant)
    assert not calls
    assert all(one.was_cached for one in again)
    inputs = data().inputs
    for one, other in zip(first, again, strict=True):
        assert_close(one.module(inputs), other.module(inputs))
        assert (one.dustbin_offset, one.selected_epoch) == (other.dustbin_offset, other.selected_epoch)
        assert one.history == other.history
    shutil.rmtree(first[1].folder)
    trained(network, out=tmp_path, variant=variant)
    assert calls == ["specialist-1"]
    trained(network, out=tmp_path, variant=variant, special_share=0.25)
    assert len(calls) == 4
    trained(network, out=tmp_path, variant=variant, temperature=3.0)
    assert len(calls) == (4 if variant == "dustbin" else 7)


def test_a_stopped_specialist_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    network = generalist()
    whole = trained(network)
    from limbeck.training import run

    taken = []
    original = run.TrainingRun.take_step

    def stopping(self, *arguments, **keywords):
        taken.append(1)
        if len(taken) == 20:
            raise KeyboardInterrupt
        return original(self, *arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(run.TrainingRun, "take_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            trained(network, out=tmp_path)
    resumed = trained(network, out=tmp_path)
    for one, other in zip(whole, resumed, strict=True):
        for name, value in one.module.state_dict().items():
            assert torch.equal(value, other.module.state_dict()[name])


def test_processes_train_the_same_specialists_to_the_bit(tmp_path):
    network = generalist()
    settings = {
        "recipe": dataclasses.replace(RECIPE, num_epochs=1),
        "plan": plan_of(network, sets=(("a", "b"), ("d", "c"))),
        "variant": "full_softmax",  # which sends the generalist, too
    }
    serial = trained(network, out=tmp_path / "serial", threads_per_job=1, **settings)
    spawned = trained(network, out=tmp_path / "spawned", jobs="processes:2", threads_per_job=1, **settings)
    for one, other in zip(serial, spawned, strict=True):
        assert one.folder.name == other.folder.name
        weights = [(folder / "specialist.safetensors").read_bytes() for folder in (one.folder, other.folder)]
        assert weights[0] == weights[1]


def test_a_specialist_that_diverges_is_named_and_the_others_are_kept(tmp_path):
    network = generalist()
    with pytest.raises(JobsFailed) as failed:
        trained(network, out=tmp_path, retries=0, recipe=dataclasses.replace(RECIPE, learning_rate=1e30))
    assert [failure.job for failure in failed.value.failures] == ["specialist-0", "specialist-1", "specialist-2"]
    assert "NaN or infinite" in failed.value.failures[0].message
    assert {path.suffix for path in tmp_path.iterdir() if path.is_dir()} == {".partial"}
    with pytest.raises(UnknownName, match="runner"):
        trained(network, jobs="threads")


@pytest.mark.parametrize("variant", ["dustbin", "full_softmax"])
def test_the_committee_is_the_combination_of_its_parts_and_better_than_the_generalist(tmp_path, variant):
    network = generalist()
    plan = plan_of(network)
    recipe = dataclasses.replace(RECIPE, num_epochs=12)
    specialists = trained(network, plan, out=tmp_path, recipe=recipe, variant=variant)
    save_committee(tmp_path, saved_model(network), specialists, normalise=None)
    teacher = load_committee(tmp_path)
    test = data(300, seed=2)
    with torch.no_grad():
        parts = []
        for one in specialists:
            logits = one.module(test.inputs)
            logits[:, -1] += one.dustbin_offset
            parts.append(logits)
        expected = combine_specialists(network(test.inputs), parts, plan.class_numbers())
    collected_targets = teacher(test.ids, test.inputs).logits_at(1.0)
    assert_close(collected_targets, expected, rtol=1e-4, atol=1e-4)
    alone = int((network(test.inputs).argmax(dim=1) != test.labels).sum())
    together = int((collected_targets.argmax(dim=1) != test.labels).sum())
    assert together < alone


def test_what_does_not_belong_together_is_refused(tmp_path):
    network, other = generalist(), build(SPEC, input_shape=(8,), num_classes=6, seed=5)
    with pytest.raises(TeacherError, match="another generalist"):
        trained(other, plan_of(network))
    with pytest.raises(TeacherError, match="other classes"):
        trained(network, SpecialistPlan(["a", "b", "x"], [["a", "b"]]))
    with pytest.raises(UnknownName, match="variant of specialists"):
        trained(network, variant="full_softmx")
    with pytest.raises(InvalidValue, match="temperature"):
        trained(network, variant="full_softmax", temperature=0.0)
    with pytest.raises(ModelError, match="6 classes"):
        trained(fewer := nn.Linear(8, 4), plan_of(fewer), variant="full_softmax")
    with pytest.raises(RecordError, match=r"committee\.json"):
        load_committee(tmp_path)
    specialists = trained(network, out=tmp_path / "one")
    save_committee(tmp_path / "one", saved_model(network), specialists, normalise=None)
    others = trained(other, plan_of(other), out=tmp_path / "two")
    save_committee(tmp_path / "two", saved_model(other), others, normalise=None)

    mixed = json.loads((tmp_path / "one" / "committee.json").read_text())
    del mixed["sha256"]
    shutil.copytree(others[0].folder, tmp_path / "one" / "stranger")
    mixed["members"][0]["folder"] = "stranger"
    (tmp_path / "one" / "committee.json").write_text(sealed_text(mixed))
    with pytest.raises(ModelError, match="stranger was trained for another generalist"):
        load_committee(tmp_path / "one")
    mixed["members"][0]["folder"] = "generalist"
    (tmp_path / "one" / "committee.json").write_text(sealed_text(mixed))
    with pytest.raises(ModelError, match="holds no specialist"):
        load_committee(tmp_path / "one")
    shutil.rmtree(tmp_path / "two" / "generalist")
    shutil.copytree(tmp_path / "one" / "generalist", tmp_path / "two" / "generalist")
    with pytest.raises(ModelError, match="another generalist than"):
        load_committee(tmp_path / "two")


def test_a_specialist_of_a_variant_that_is_not_known_is_refused_and_one_without_has_a_dustbin(tmp_path):
    network = generalist()
    specialists = trained(network, out=tmp_path)
    save_committee(tmp_path, saved_model(network), specialists, normalise=None)
    inputs, before = data().inputs, load_committee(tmp_path)
    path = specialists[0].folder / "model.json"
    described = json.loads(path.read_text())
    del described["extra"]["variant"]
    path.write_text(sealed_text(described))
    ids = torch.arange(len(inputs))
    assert torch.equal(load_committee(tmp_path)(ids, inputs).logits_at(1.0), before(ids, inputs).logits_at(1.0))
    described["extra"]["variant"] = "half_softmax"
    path.write_text(sealed_text(described))
    with pytest.raises(ModelError, match="unknown variant"):
        load_committee(tmp_path)
