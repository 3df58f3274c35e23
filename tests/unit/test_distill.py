"""limbeck.distill: the whole job, fair to its baseline, on whatever data and networks it is given."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import limbeck
import limbeck.data
import limbeck.models
from limbeck.errors import DataError, InvalidValue, LimbeckError, ModelError, OutputError, TeacherError, UnknownName
from limbeck.models import fingerprint, load_model
from limbeck.records import from_json, to_json
from limbeck.reports import render_report
from limbeck.targets import TargetStore
from limbeck.training import TrainConfig

NUM_CLASSES = 3
RECIPE = TrainConfig(num_epochs=2, batch_size=32, learning_rate=0.1)


def arrays(count: int = 150, *, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % NUM_CLASSES
    inputs = torch.randn(count, 8, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 8)
    return inputs, labels


def trained_teacher() -> nn.Module:
    torch.manual_seed(0)
    teacher = nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, NUM_CLASSES)
    )
    inputs, labels = arrays(seed=7)
    optimiser = torch.optim.AdamW(teacher.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(teacher(inputs), labels).backward()
        optimiser.step()
    return teacher


def distil(student="mlp:widths=6", teachers=None, **settings):
    defaults = {
        "train": arrays(),
        "test": arrays(60, seed=1),
        "recipe": RECIPE,
        "seeds": 2,
        "progress": "silent",
        "device": "cpu",
    }
    return limbeck.distill(
        student, teachers=[trained_teacher()] if teachers is None else teachers, **defaults | settings
    )


def test_the_record_holds_every_measurement_for_every_network_and_seed():
    record = distil(temperature=4).record
    assert record.roles() == ["teacher", "baseline", "distilled"]
    test_names = {"errors", "accuracy", "nll", "ece", "brier"}
    machine_names = {"parameters", "bytes", "flops", "latency_batch1", "latency_batch256"}
    for role, seeds in (("teacher", [None]), ("baseline", [0, 1]), ("distilled", [0, 1])):
        for name in test_names:
            assert list(record.values(role, name)) == seeds, (role, name)
        for name in machine_names:
            values = record.values(role, name, split="machine")
            assert list(values) == seeds
            assert all(value > 0 for value in values.values())
    for role in ("baseline", "distilled"):
        for name in (*test_names, "agreement", "kl_to_teacher"):
            assert list(record.values(role, name, weights="last")) == [0, 1]
        assert list(record.values(role, "errors", split="validation")) == [0, 1]
    assert from_json(to_json(record)) == record


def test_baseline_and_student_share_start_order_and_number_of_steps():
    record = distil(num_labelled=30).record
    networks = {(network.role, network.seed): network for network in record.networks}
    for seed in (0, 1):
        baseline, distilled = networks["baseline", seed], networks["distilled", seed]
        assert [epoch.step for epoch in baseline.history] == [epoch.step for epoch in distilled.history]
        assert baseline.num_parameters == distilled.num_parameters
    assert record.data.num_labelled == 30
    assert record.data.num_train == 150 - 15


def test_with_the_labels_alone_as_soft_weight_0_both_are_the_same_network():
    result = distil(hard_weight=1.0, soft_weight=0.0)
    for name in ("errors", "nll"):
        assert result.record.values("baseline", name) == result.record.values("distilled", name)


def test_the_test_set_is_read_once_after_all_training(monkeypatch):
    order = []
    from limbeck.distillation import cache, runs

    fit, evaluate = cache.fit, runs.evaluate_network
    monkeypatch.setattr(cache, "fit", lambda *a, **k: (order.append("fit"), fit(*a, **k))[1])
    monkeypatch.setattr(runs, "evaluate_network", lambda *a, **k: (order.append("test"), evaluate(*a, **k))[1])
    distil()
    assert order == ["fit"] * 4 + ["test"] * 5  # two seeds of two networks; and the teacher


def test_the_teacher_comes_back_frozen_and_unchanged():
    teacher = trained_teacher().eval()
    before = fingerprint(teacher)
    distil(teachers=[teacher])
    assert fingerprint(teacher) == before
    assert not any(module.training for module in teacher.modules())


def test_the_students_beat_chance_and_the_chosen_one_is_saved(tmp_path):
    result = distil(recipe=TrainConfig(num_epochs=8, batch_size=32, learning_rate=0.2))
    assert max(result.record.values("distilled", "accuracy").values()) > 0.8
    errors = result.record.values("distilled", "errors", split="validation")
    assert errors[result.student_seed] == min(errors.values())
    path = result.save(tmp_path / "mine")
    assert {file.name for file in path.iterdir()} >= {"student.safetensors", "model.json", "record.json", "report.html"}
    inputs, labels = arrays(60, seed=1)
    loaded = load_model(path).module
    assert_close(loaded(inputs), result.student(inputs))
    measured = (loaded(inputs).argmax(dim=1) != labels).sum().item()
    assert measured == result.record.values("distilled", "errors")[result.student_seed]


def test_summary_names_the_networks_and_the_verdict():
    summary = distil().summary()
    for word in ("teacher", "baseline", "distilled", "errors", "±"):
        assert word in summary.lower()
    assert "The teacher" in summary


def test_an_ensemble_is_shown_with_its_members():
    record = distil(teachers=[trained_teacher(), "mlp:widths=16"], teacher_weights=[2, 1], pooling="geometric").record
    assert record.roles() == ["teacher", "member 1", "member 2", "baseline", "distilled"]
    origins = {network.role: network.origin for network in record.networks}
    assert origins["teacher"] == "pooled (geometric mean)"
    assert (origins["member 1"], origins["member 2"]) == ("given", "trained")


def test_stored_logits_teach_by_row_and_are_not_tested():
    inputs, _ = arrays()
    logits = trained_teacher().eval()(inputs).detach()
    stored = distil(teachers=logits)
    live = distil()
    assert stored.record.values("distilled", "nll") == pytest.approx(live.record.values("distilled", "nll"), rel=1e-4)
    assert stored.record.roles() == ["baseline", "distilled"]
    assert any("not tested" in note for note in stored.record.notes)


def test_a_module_as_student_starts_every_seed_and_is_not_touched():
    student = nn.Linear(8, NUM_CLASSES)
    before = fingerprint(student)
    result = distil(student)
    assert fingerprint(student) == before
    assert any("starts from its weights" in note for note in result.record.notes)


def test_a_callable_is_called_once_for_each_network_under_its_seed():
    seen = []

    def build(num_classes):
        seen.append(torch.initial_seed())
        return nn.Linear(8, num_classes)

    distil(build)
    assert seen.count(1) == 2  # baseline and distilled student of seed 1
    assert set(seen) == {0, 1}


def test_a_stopped_job_goes_on_and_ends_as_if_it_had_not_stopped(tmp_path, monkeypatch):
    from limbeck.distillation import cache

    whole = distil(out=tmp_path / "whole")
    fit, calls = cache.fit, []

    def stop_at_third(*arguments, **settings):
        calls.append(settings["name"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(*arguments, **settings)

    monkeypatch.setattr(cache, "fit", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        distil(out=tmp_path / "run")
    assert not (tmp_path / "run" / "record.json").exists()
    monkeypatch.setattr(cache, "fit", fit)
    resumed = distil(out=tmp_path / "run")
    for role in ("baseline", "distilled"):
        assert resumed.record.values(role, "nll") == whole.record.values(role, "nll")
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert [event["network"] for event in events if event["event"] == "begin"].count("baseline-seed0") == 1
    assert from_json((tmp_path / "run" / "record.json").read_text()) == resumed.record


def test_augmented_students_get_targets_of_what_they_see():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (90, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(90) % NUM_CLASSES
    record = distil(
        teachers=["convnet:channels=4x4"],
        train=(images, labels),
        test=(images[:30], labels[:30]),
        augmentations=["jitter:1", "flip", "mixup:0.5"],
        seeds=1,
    ).record
    assert record.config["augmentations"] == ["jitter:1", "flip", "mixup:0.5"]
    assert not any("ran once" in note for note in record.notes)


def test_dark_knowledge_is_tempered_and_not_from_the_test_set():
    record = distil(temperature=3.0).record
    assert record.dark_knowledge
    for sample in record.dark_knowledge:
        assert sample.temperatures == [1.0, 2.0, 3.0, 4.0, 8.0, 20.0]
        entropies = []
        for row in sample.probabilities:
            assert sum(row) == pytest.approx(1.0, abs=1e-4)
            entropies.append(-sum(p * torch.tensor(max(p, 1e-12)).log().item() for p in row))
        assert entropies == sorted(entropies)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"temperature": 0.0}, InvalidValue, "temperature"),
        ({"hard_weight": -1.0}, InvalidValue, "hard_weight"),
        ({"hard_weight": 0.0, "soft_weight": 0.0}, InvalidValue, "both 0"),
        ({"seeds": []}, InvalidValue, "seeds"),
        ({"seeds": [1, 1]}, InvalidValue, "seeds"),
        ({"teachers": []}, TeacherError, "needs a teacher"),
        ({"teachers": nn.Linear(8, 4)}, LimbeckError, "4 classes"),
        ({"teachers": torch.zeros(150, 5)}, TeacherError, "5 classes"),
        ({"teachers": ["mlp", "mlp"], "teacher_weights": [0, 0]}, TeacherError, "weights are 0"),
        ({"teachers": ["mlp", "mlp"], "teacher_weights": [1]}, TeacherError, "1 weights for 2"),
        ({"pooling": "mean"}, UnknownName, "pooling"),
        ({"student": "mpl"}, UnknownName, "did you mean mlp"),
        ({"student": nn.Linear(8, 4)}, ModelError, "4 classes"),
        ({"student": nn.Linear(9, 3)}, ModelError, "cannot run"),
        ({"augmentations": ["jiter:2"]}, UnknownName, "did you mean jitter"),
        ({"train": (arrays()[0], torch.zeros(150, dtype=torch.int64))}, LimbeckError, "class"),
        ({"train": (torch.full((150, 8), float("nan")), arrays()[1])}, DataError, "NaN"),
        ({"test": (torch.zeros(9, 5), torch.arange(9) % 3)}, DataError, "shapes"),
        ({"test": (torch.zeros(9, 8), torch.arange(9))}, DataError, "class"),
        ({"train": (torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64))}, DataError, "(?i)no samples|empty"),
        ({"device": "gpu"}, InvalidValue, "gpu"),
        ({"precision": "fp8"}, UnknownName, "precision"),
        ({"validation_fraction": 1.0}, InvalidValue, "validation_fraction"),
        ({"num_labelled": 2}, LimbeckError, "2"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, settings, error, words):
    with pytest.raises(error, match=words):
        distil(out=tmp_path / "run", **settings)
    assert not (tmp_path / "run" / "events.jsonl").exists()


def test_stored_logits_do_not_teach_augmented_views():
    with pytest.raises(TeacherError, match="clean view only"):
        distil(teachers=torch.zeros(150, NUM_CLASSES), augmentations=["flip"])


def test_a_finished_folder_is_not_overwritten(tmp_path):
    distil(out=tmp_path / "run", seeds=1)
    with pytest.raises(OutputError, match="finished run"):
        distil(out=tmp_path / "run", seeds=1)


def test_train_gives_a_network_and_a_record_of_its_own(tmp_path):
    result = limbeck.train(
        "mlp:widths=6", arrays(), test=arrays(60, seed=1), recipe=RECIPE, out=tmp_path / "run", progress="silent"
    )
    assert result.record.kind == "train"
    assert result.record.roles() == ["student"]
    assert (tmp_path / "run" / "report.html").exists()
    assert "student" in result.summary()


def image_data(count: int = 90):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return images, torch.arange(count) % NUM_CLASSES


def test_a_job_with_a_folder_keeps_the_teachers_answers_in_a_store(tmp_path):
    result = distil(out=tmp_path / "run")
    store = TargetStore.open(tmp_path / "run" / "targets")
    assert len(store.ids) == result.record.data.num_train
    (note,) = [note for note in result.record.notes if "ran once" in note]
    assert "4 passes over the data instead of 1" in note  # two seeds of two epochs
    in_memory = distil().record
    for seed, nll in in_memory.values("distilled", "nll").items():
        assert result.record.values("distilled", "nll")[seed] == pytest.approx(nll, rel=1e-3)


def test_replayed_views_are_stored_and_teach_as_the_live_teacher_does(tmp_path):
    settings = {
        "teachers": [limbeck.models.build("convnet:channels=4x4", input_shape=(1, 8, 8), num_classes=3, seed=0)],
        "train": image_data(),
        "test": image_data(30),
        "augmentations": ["jitter:1", "flip", "mixup:0.5"],
        "num_views": 2,
        "recipe": TrainConfig(num_epochs=3, batch_size=32, learning_rate=0.1),
    }
    stored = distil(out=tmp_path / "run", **settings)
    live = distil(**settings)
    assert any("each of 2 views" in note for note in stored.record.notes)
    assert any("runs in every step" in note for note in live.record.notes)
    for role, tolerance in (("baseline", 1e-6), ("distilled", 5e-3)):
        for seed, nll in live.record.values(role, "nll").items():
            assert stored.record.values(role, "nll")[seed] == pytest.approx(nll, rel=tolerance)


def test_a_ready_store_teaches_alone_and_refuses_another_job(tmp_path):
    teacher = trained_teacher()
    whole = distil(teachers=[teacher], out=tmp_path / "run")
    store = tmp_path / "run" / "targets"
    alone = distil(teachers=[], store=store)
    assert alone.record.roles() == ["baseline", "distilled"]
    assert alone.record.values("distilled", "nll") == whole.record.values("distilled", "nll")
    both = distil(teachers=[teacher], store=store)
    assert both.record.roles() == ["teacher", "baseline", "distilled"]
    for settings, words in (
        ({"train": arrays(seed=5)}, "data|samples|inputs"),
        ({"teachers": [nn.Linear(8, NUM_CLASSES)]}, "teacher"),
        ({"normalise": limbeck.data.Normalise((0.0,), (2.0,))}, "view|transform"),
        ({"teachers": ["mlp:widths=5"]}, "trained already"),
    ):
        with pytest.raises(LimbeckError, match=words):
            distil(**{"teachers": [], "store": store, **settings})


def test_without_labels_the_student_learns_and_is_measured_by_its_teacher():
    teacher, (inputs, _) = trained_teacher().eval(), arrays()
    result = distil(
        teachers=[teacher], train=inputs, test=arrays(60, seed=1)[0], recipe=TrainConfig(num_epochs=8, batch_size=32)
    )
    record = result.record
    assert record.roles() == ["teacher", "distilled"]
    assert (record.data.num_labelled, record.data.class_names) == (0, ["0", "1", "2"])
    test = arrays(60, seed=1)[0]
    same = (result.student(test).argmax(dim=1) == teacher(test).argmax(dim=1)).double().mean().item()
    assert record.values("distilled", "agreement")[result.student_seed] == pytest.approx(same)
    log_p, log_q = (network(test).double().log_softmax(dim=1) for network in (teacher, result.student))
    kl = (log_p.exp() * (log_p - log_q)).sum(dim=1).mean().item()
    assert record.values("distilled", "kl_to_teacher")[result.student_seed] == pytest.approx(kl)
    assert record.values("distilled", "errors") == {}
    assert any("no baseline" in note for note in record.notes)
    assert "Agreement with the teacher" in result.summary()
    assert "agreement" in render_report(record)
    assert from_json(to_json(record)) == record


def test_a_matrix_of_logits_teaches_unlabelled_samples_and_measures_those_held_out_by_their_ids():
    inputs, _ = arrays()
    logits = trained_teacher().eval()(inputs).detach()
    record = distil(teachers=logits, train=inputs, test=None).record
    live = distil(teachers=[trained_teacher()], train=inputs, test=None).record
    assert record.data.num_test == 30
    assert list(record.values("distilled", "agreement")) == [0, 1]
    for seed, kl in live.values("distilled", "kl_to_teacher").items():
        assert record.values("distilled", "kl_to_teacher")[seed] == pytest.approx(kl, rel=1e-3)


def test_labels_of_the_test_set_are_measured_where_training_had_none():
    record = distil(train=arrays()[0], class_names=["a", "b", "c"]).record
    assert list(record.values("distilled", "errors")) == [0, 1]
    assert record.data.class_names == ["a", "b", "c"]


def test_without_labels_a_teacher_must_be_trained_already():
    inputs, _ = arrays()
    with pytest.raises(DataError, match="which classes"):
        distil(teachers=["mlp:widths=6"], train=inputs, test=None)
    with pytest.raises(TeacherError, match="needs labels"):
        distil(teachers=["mlp:widths=6"], train=inputs, test=None, class_names=["a", "b", "c"])
    with pytest.raises(DataError, match="no labels"):
        limbeck.train("mlp:widths=6", inputs, recipe=RECIPE, progress="silent")


class Fails(nn.Module):
    """A network that fails on a batch of one sample, on zeros, or on noise."""

    def __init__(self, *, one=False, zeros=False, noise=False):
        super().__init__()
        self.linear = nn.Linear(8, NUM_CLASSES)
        self.one, self.zeros, self.noise = one, zeros, noise

    def forward(self, inputs):
        if self.one and len(inputs) == 1:
            raise ValueError("one sample is too few")
        if (self.zeros and bool((inputs == 0).all())) or (self.noise and not bool((inputs[:, 0] >= 900).all())):
            raise IndexError("this is no sample")
        return self.linear(inputs)


class HasMoreState(nn.Linear):
    """A network that cannot be saved as tensors."""

    def get_extra_state(self):
        return {"more": 1}

    def set_extra_state(self, state):
        pass


@pytest.mark.parametrize(
    ("network", "words"),
    [(Fails(one=True), "student cannot be costed"), (HasMoreState(8, NUM_CLASSES), "more than tensors")],
)
def test_a_network_that_would_die_at_the_end_dies_before_training(tmp_path, monkeypatch, network, words):
    from limbeck.distillation import cache

    monkeypatch.setattr(cache, "fit", lambda *a, **k: pytest.fail("training began"))
    with pytest.raises(ModelError, match=words):
        distil(network, out=tmp_path / "run")
    teacher = Fails(one=True)
    with pytest.raises(ModelError, match="one sample is too few"):
        distil(teachers=[teacher])


def test_costs_are_measured_on_samples_of_the_data_set():
    def moved(count, *, seed):
        inputs, labels = arrays(count, seed=seed)
        inputs[:, 0] += 1000
        return inputs, labels

    record = distil(Fails(noise=True), train=moved(150, seed=0), test=moved(60, seed=1)).record
    assert all(value > 0 for value in record.values("distilled", "latency_batch256", split="machine").values())


def test_a_network_is_tried_on_samples_of_the_data_set():
    result = distil(Fails(zeros=True))  # zeros, which are no sample, are refused by it
    assert result.record.roles() == ["teacher", "baseline", "distilled"]


def test_a_trained_student_is_saved_before_it_is_measured(tmp_path, monkeypatch):
    from limbeck.distillation import cache, runs

    def dies(*arguments, **settings):
        raise MemoryError("killed while measuring")

    with monkeypatch.context() as patched:
        patched.setattr(runs, "evaluate_network", dies)
        with pytest.raises(MemoryError):
            distil(out=tmp_path / "run")
    saved = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert [path.name.rpartition("-")[0] for path in saved] == [
        "baseline-seed0", "baseline-seed1", "distilled-seed0", "distilled-seed1"
    ]  # fmt: skip
    assert all(load_model(path).class_names == ["0", "1", "2"] for path in saved)
    monkeypatch.setattr(cache, "fit", lambda *a, **k: pytest.fail("a network was trained again"))
    assert distil(out=tmp_path / "run").record.roles() == ["teacher", "baseline", "distilled"]


def test_a_stopped_run_does_not_go_on_with_other_data(tmp_path, monkeypatch):
    from limbeck.distillation import runs

    job = {"test": arrays(60, seed=1), "recipe": RECIPE, "out": tmp_path / "run", "progress": "silent"}
    with monkeypatch.context() as patched:
        patched.setattr(runs, "evaluate_network", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            limbeck.train("mlp:widths=6", arrays(), **job)
    with pytest.raises(OutputError, match="what decides its weights has changed"):
        limbeck.train("mlp:widths=6", arrays(seed=9), **job)
    assert limbeck.train("mlp:widths=6", arrays(), **job).record.kind == "train"
