"""What a experiment trains is found again by everything that decides its weights, and by nothing else."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from limbeck.data import Samples, Splits, Views, augmentations_from
from limbeck.distillation import cache as cache_module
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.distillation.sources import network_from
from limbeck.distillation.target_source import collect_visibly
from limbeck.distillation.trained import pooled_teacher
from limbeck.errors import DataError, InvalidValue, LimbeckError, ModelError, TeacherError, UnknownName
from limbeck.models import exit_network, fingerprint, load_model
from limbeck.objectives import Distillation, HardLabels, MutualLearning, SelfDistillation
from limbeck.recipes import data as data_module
from limbeck.recipes.data import load_samples, open_data
from limbeck.recipes.evaluation import evaluate, evaluate_exits, predict_exits
from limbeck.recipes.soft_targets import collect_targets
from limbeck.training import Runtime, SilentProgress, TrainConfig, TrainingInterrupted, fit, fit_cohort, predict
from limbeck.training import cohort as cohort_module
from limbeck.training import loop as loop_module
from limbeck.training.saving import checkpoints_of

RECIPE = TrainConfig(num_epochs=2, batch_size=20, weight_decay=0.0)
CPU = Runtime.resolve("cpu", "fp32")


def samples_of(count=60, *, offset=0.0):
    generator = torch.Generator().manual_seed(3)
    inputs = torch.rand(count, 6, generator=generator) + offset
    labels = (inputs[:, :3].sum(dim=1) > inputs[:, 3:].sum(dim=1)).long()
    return Samples("toy", torch.arange(count), inputs, labels, ("less", "more"))


@pytest.fixture
def samples():
    return samples_of()


@pytest.fixture
def make(tmp_path):
    """Return a maker of experiments that share the folder of networks, each as a new process would have it."""
    return lambda **changes: Experiment.of_recipe(tmp_path / "networks", CPU, SilentProgress(), **changes)


def trained(experiment, samples, **changes):
    asked = {"samples": samples, "objective": HardLabels(), "recipe": RECIPE, "seed": 0}
    asked |= changes
    return experiment.train(asked.pop("name", "net"), asked.pop("source", "mlp:widths=5"), **asked)


def folders(experiment):
    return sorted(path.name for path in experiment.cache.folder.iterdir())


def weights(network):
    return torch.cat([value.flatten() for value in network.module.state_dict().values()])


def refuse_to_train(monkeypatch):
    def fail(*arguments, **more):
        raise AssertionError("this network is there and needs no training")

    monkeypatch.setattr("limbeck.distillation.cache.fit", fail)
    monkeypatch.setattr("limbeck.distillation.cache.fit_stacked", fail)
    monkeypatch.setattr("limbeck.distillation.cache.fit_cohort", fail)


def test_a_network_is_trained_as_fit_trains_it(make, samples):
    network = trained(make(), samples)
    module = network_from("mlp:widths=5").build(input_shape=(6,), num_classes=2, seed=0)
    alone = fit(module, samples, HardLabels(), recipe=RECIPE, seed=0, runtime=CPU)
    assert torch.equal(weights(network), torch.cat([v.flatten() for v in alone.student.state_dict().values()]))
    assert not network.module.training
    assert [epoch.epoch for epoch in network.history] == [1, 2]


def test_weights_can_start_from_another_seed_than_order_and_dropout(make, samples):
    network = trained(make(), samples, seed=1, weights_seed=7)
    module = network_from("mlp:widths=5").build(input_shape=(6,), num_classes=2, seed=7)
    alone = fit(module, samples, HardLabels(), recipe=RECIPE, seed=1, runtime=CPU)
    assert torch.equal(weights(network), torch.cat([v.flatten() for v in alone.student.state_dict().values()]))
    assert network.seed == 1


def test_what_is_there_is_taken_and_not_trained_again(make, samples, monkeypatch):
    first, experiment = trained(make(), samples), make()
    refuse_to_train(monkeypatch)
    again = trained(experiment, samples_of())
    assert torch.equal(weights(first), weights(again))
    assert first.history == again.history
    (facts,) = experiment.facts.values()
    assert facts.was_cached
    assert (facts.spec, facts.num_epochs, facts.num_parameters) == ("mlp:widths=5", 2, 47)
    assert facts.environment["device"] == "cpu"


VIEWS = Views(augmentations_from(["mixup:0.2"]), seed=0)
TEACHER = nn.Linear(6, 2)
OTHERS = {
    "name": {"name": "other"},
    "seed": {"seed": 1},
    "spec": {"source": "mlp:widths=6"},
    "dropout, which no shape shows": {"source": "mlp:widths=5,hidden_dropout=0.5"},
    "a limit on norms": {"source": "mlp:widths=5,max_norm=3.0"},
    "objective": {"objective": Distillation(temperature=2.0, hard_weight=1.0, soft_weight=0.0)},
    "recipe": {"recipe": dataclasses.replace(RECIPE, learning_rate=0.01)},
    "length": {"recipe": dataclasses.replace(RECIPE, num_epochs=3)},
    "steps": {"steps_per_epoch": 2},
    "samples": {"samples": samples_of(offset=0.01)},
    "labels": {"samples": samples_of().without_labels(torch.tensor([0]))},
    "validation": {"validation": samples_of(offset=0.5)},
    "views": {"views": VIEWS},
    "the views' seed": {"views": dataclasses.replace(VIEWS, seed=1)},
    "their number": {"views": VIEWS, "num_views": 2},
}


def test_two_different_trainings_never_share_a_folder(make, samples):
    experiment = make()
    trained(experiment, samples)
    for number, changes in enumerate(OTHERS.values(), start=2):
        trained(experiment, **({"samples": samples} | changes))
        assert len(folders(experiment)) == number, changes


def test_teacher_and_temperature_are_part_of_what_is_trained(make, samples):
    experiment = make()
    guides = [trained(experiment, samples, name="guide", seed=seed) for seed in (0, 1)]
    before = len(folders(experiment))
    for guide in guides:
        for objective in (Distillation(temperature=2.0), Distillation(temperature=3.0)):
            outputs = collect_targets(experiment, guide, samples)
            trained(experiment, samples, name="student", objective=objective, teacher=outputs)
    assert len(folders(experiment)) == before + 4


def test_a_teacher_that_the_objective_does_not_ask_changes_nothing(make, samples, monkeypatch):
    experiment = make()
    guide = trained(experiment, samples, name="guide")
    trained(experiment, samples)
    refuse_to_train(monkeypatch)
    trained(experiment, samples, teacher=collect_targets(experiment, guide, samples))


def test_a_module_to_start_from_is_known_by_its_weights(make, samples):
    experiment = make()
    starts = [nn.Linear(6, 2), nn.Linear(6, 2)]
    first, second, again = (trained(experiment, samples, source=start) for start in (*starts, starts[0]))
    assert len(folders(experiment)) == 2
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(second))


def test_an_objective_that_hides_its_settings_is_refused(make, samples):
    class Hidden(HardLabels):
        __repr__ = object.__repr__

    with pytest.raises(InvalidValue, match="does not tell its settings"):
        trained(make(), samples, objective=Hidden())


def test_a_name_that_cannot_name_a_folder_is_refused(make, samples):
    with pytest.raises(InvalidValue, match="cannot name a folder"):
        trained(make(), samples, name="../net")


def test_a_training_that_is_killed_goes_on_and_ends_in_the_same_bits(make, samples, tmp_path, monkeypatch):
    whole = trained(Experiment.of_recipe(tmp_path / "whole", CPU, SilentProgress()), samples)
    steps = []
    real = loop_module._do_step

    def killed_at_the_fourth(run, batch):
        steps.append(run.state.step)
        if len(steps) == 4:
            raise MemoryError("killed")
        real(run, batch)
        run.read_losses()
        checkpoints_of(run).save()

    monkeypatch.setattr(loop_module, "_do_step", killed_at_the_fourth)
    with pytest.raises(MemoryError):
        trained(make(), samples)
    assert [name.endswith(".partial") for name in folders(make())] == [True]
    monkeypatch.setattr(loop_module, "_do_step", lambda run, batch: (steps.append(run.state.step), real(run, batch)))
    network = trained(make(), samples)
    assert steps == [0, 1, 2, 3, 3, 4, 5]  # of two passes of three steps; the fourth was not done
    assert torch.equal(weights(network), weights(whole))
    assert [name.endswith(".partial") for name in folders(make())] == [False]
    assert not list((tmp_path / "networks").rglob("checkpoint.pt"))


def test_ctrl_c_keeps_a_checkpoint_and_the_same_call_goes_on(make, samples):
    long = dataclasses.replace(RECIPE, num_epochs=4000)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(TrainingInterrupted) as stopped:
        trained(make(), samples, recipe=long)
    timer.join()
    assert stopped.value.checkpoint is not None
    assert stopped.value.checkpoint.exists()
    assert folders(make())[0].endswith(".partial")


def test_a_damaged_network_says_which_folder_to_delete(make, samples):
    experiment = make()
    trained(experiment, samples)
    (file,) = experiment.cache.folder.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError) as error:
        trained(make(), samples)
    assert str(file.parent) in str(error.value.remedy)


def test_a_network_of_another_identity_is_not_taken_for_this_one(make, samples):
    experiment = make()
    trained(experiment, samples)
    trained(experiment, samples, recipe=dataclasses.replace(RECIPE, learning_rate=0.01))
    asked, other = (experiment.cache.folder / name for name in experiment.facts)
    asked.rename(asked.with_name("aside"))
    other.rename(asked)  # as a hash that two trainings share would do
    with pytest.raises(ModelError, match="another task"):
        trained(make(), samples)


def test_a_folder_of_the_cache_is_a_saved_model(make, samples):
    experiment = make()
    network = trained(experiment, samples)
    saved = load_model(experiment.cache.folder / folders(experiment)[0])
    assert torch.equal(weights(network), torch.cat([v.flatten() for v in saved.module.state_dict().values()]))
    assert saved.extra["identity"]["seed"] == "0"


def test_networks_trained_together_are_each_found_alone(make, samples, monkeypatch):
    experiment = make()
    guide = trained(experiment, samples, name="guide")
    outputs = collect_targets(experiment, guide, samples)
    objectives = [HardLabels(), Distillation(temperature=2.0), Distillation(temperature=8.0)]
    asked = {"samples": samples, "recipe": RECIPE, "teacher": outputs}
    networks = experiment.train_stacked("net", "mlp:widths=5", objectives=objectives, seeds=[0, 0, 1], **asked)
    for network, objective in zip(networks, objectives, strict=True):
        alone = trained(experiment, samples, objective=objective, teacher=outputs, seed=network.seed)
        torch.testing.assert_close(weights(network), weights(alone), rtol=1e-4, atol=1e-5)
    refuse_to_train(monkeypatch)
    (last,) = make().train_stacked("net", "mlp:widths=5", objectives=objectives[2:], seeds=[1], **asked)
    assert torch.equal(weights(last), weights(networks[2]))


def test_networks_trained_together_take_the_steps_that_are_asked_for(make, samples):
    asked = {"samples": samples, "recipe": RECIPE, "steps_per_epoch": 1}
    (together,) = make().train_stacked("net", "mlp:widths=5", objectives=[HardLabels()], seeds=[0], **asked)
    alone = make().train("net", "mlp:widths=5", objective=HardLabels(), seed=0, **asked)
    for network in (together, alone):
        assert [record.step for record in network.history] == list(range(1, RECIPE.num_epochs + 1))
    torch.testing.assert_close(weights(together), weights(alone), rtol=1e-4, atol=1e-5)


def test_networks_trained_together_see_no_views_again(make, samples):
    asked = {"samples": samples, "recipe": RECIPE, "views": VIEWS, "num_views": 2}
    with pytest.raises(InvalidValue, match="new views in every pass"):
        make().train_stacked("net", "mlp:widths=5", objectives=[HardLabels()], seeds=[0], **asked)


def test_a_wider_sweep_trains_only_what_it_adds(make, samples, monkeypatch):
    asked = {"samples": samples, "recipe": RECIPE}
    make().train_stacked("net", "mlp:widths=5", objectives=[HardLabels()] * 2, seeds=[0, 1], **asked)
    counts = []
    real = cache_module.fit_stacked

    def counted(students, *arguments, **settings):
        counts.append(len(students))
        return real(students, *arguments, **settings)

    monkeypatch.setattr(cache_module, "fit_stacked", counted)
    networks = make().train_stacked("net", "mlp:widths=5", objectives=[HardLabels()] * 3, seeds=[0, 1, 2], **asked)
    assert counts == [1]
    assert [network.seed for network in networks] == [0, 1, 2]


def test_a_pass_that_was_stopped_between_its_networks_ends_in_the_same_bytes(make, samples):
    asked = {"samples": samples, "recipe": RECIPE, "objectives": [HardLabels()] * 4, "seeds": [0, 1, 2, 3]}
    whole = make().train_stacked("net", "mlp:widths=5", **asked)
    for kept in (1, 3):
        for network in whole[kept:]:
            shutil.rmtree(network.folder)  # as if it was stopped before it saved them
        again = make().train_stacked("net", "mlp:widths=5", **asked)
        for before, after in zip(whole, again, strict=True):
            assert torch.equal(weights(before), weights(after))


PEERS = {"sources": ["mlp:widths=5", "mlp:widths=4"], "weights_seeds": [0, 1]}


def trained_cohort(experiment, samples, **changes):
    asked = {"samples": samples, "objective": MutualLearning(), "recipe": RECIPE, "seed": 0} | PEERS | changes
    return experiment.train_cohort(asked.pop("name", "peers"), asked.pop("sources"), **asked)


def test_a_cohort_is_trained_as_fit_cohort_trains_it(make, samples):
    experiment = make()
    members = trained_cohort(experiment, samples, seed=3)
    shape = {"input_shape": (6,), "num_classes": 2}
    modules = [network_from(source).build(**shape, seed=k) for k, source in enumerate(PEERS["sources"])]
    alone = fit_cohort(modules, samples, MutualLearning(), recipe=RECIPE, seed=3, runtime=CPU)
    for member, result in zip(members, alone.members, strict=True):
        assert torch.equal(weights(member), torch.cat([v.flatten() for v in result.student.state_dict().values()]))
    assert [member.role for member in members] == ["peers-1", "peers-2"]
    assert [name.rpartition("-")[0] for name in folders(experiment)] == ["peers-1-seed3", "peers-2-seed3"]
    assert all((experiment.cache.folder / name / "events.jsonl").exists() for name in folders(experiment))
    assert [facts.spec for facts in experiment.facts.values()] == PEERS["sources"]


def test_members_of_a_cohort_are_found_again(make, samples, monkeypatch):
    first = trained_cohort(make(), samples)
    refuse_to_train(monkeypatch)
    experiment = make()
    again = trained_cohort(experiment, samples_of())
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(first, again, strict=True))
    assert all(facts.was_cached for facts in experiment.facts.values())


COHORTS = {
    "the order of updates": {"sources": PEERS["sources"][::-1], "weights_seeds": [1, 0]},
    "their kind": {"update": "simultaneous"},
    "a peer's shape": {"sources": ["mlp:widths=5", "mlp:widths=3"]},
    "a peer's weights": {"weights_seeds": [0, 2]},
    "a peer's recipe": {"recipes": [RECIPE, dataclasses.replace(RECIPE, learning_rate=0.01)]},
    "one peer more": {"sources": [*PEERS["sources"], "mlp:widths=4"], "weights_seeds": [0, 1, 2]},
    "objective": {"objective": MutualLearning(temperature=2.0)},
}


def test_a_member_is_not_taken_for_one_of_another_cohort(make, samples):
    experiment = make()
    count = len(trained_cohort(experiment, samples))
    for what, changes in COHORTS.items():
        count += len(trained_cohort(experiment, samples, **changes))
        assert len(folders(experiment)) == count, what


def test_a_cohort_that_is_killed_goes_on_as_one_and_ends_in_the_same_bits(make, samples, tmp_path, monkeypatch):
    whole = trained_cohort(Experiment.of_recipe(tmp_path / "whole", CPU, SilentProgress()), samples)
    steps = []
    real = cohort_module._Cohort._do_step

    def killed_at_the_fourth(cohort, batch):
        steps.append(cohort.runs[0].state.step)
        if len(steps) == 4:
            raise MemoryError("killed")
        real(cohort, batch)
        for run in cohort.runs:
            run.read_losses()
        cohort._save()

    monkeypatch.setattr(cohort_module._Cohort, "_do_step", killed_at_the_fourth)
    with pytest.raises(MemoryError):
        trained_cohort(make(), samples)
    assert [name.endswith(".partial") for name in folders(make())] == [True]
    trained_cohort_again = trained_cohort(make(), samples)
    assert steps == [0, 1, 2, 3, 3, 4, 5]  # of two passes of three steps; the fourth was not done
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(whole, trained_cohort_again, strict=True))
    assert [name.endswith(".partial") for name in folders(make())] == [False, False]
    assert not list((tmp_path / "networks").rglob("checkpoint.pt"))


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked there")
def test_two_runs_over_one_folder_train_a_network_once(make, samples, monkeypatch):
    begun, found = threading.Event(), []

    def slowly(*arguments, **more):
        assert not begun.is_set(), "a second training of the same network"
        begun.set()
        second.start()
        second.join(timeout=0.5)  # it waits for this one
        assert second.is_alive()
        return fit(*arguments, **more)

    monkeypatch.setattr("limbeck.distillation.cache.fit", slowly)
    second = threading.Thread(target=lambda: found.append(trained(make(), samples)))
    first = trained(make(), samples)
    second.join(timeout=60)
    assert torch.equal(weights(first), weights(found[0]))
    assert not [name for name in folders(make()) if name.endswith(".partial")]


def test_a_cohort_that_is_killed_between_two_members_is_completed_without_a_step(make, samples, monkeypatch):
    real = cache_module.NetworkCache._put

    def killed_at_the_second(cache, task, fitted, **more):
        if task.name == "peers-2":
            raise MemoryError("killed")
        return real(cache, task, fitted, **more)

    monkeypatch.setattr(cache_module.NetworkCache, "_put", killed_at_the_second)
    with pytest.raises(MemoryError):
        trained_cohort(make(), samples)
    monkeypatch.setattr(cache_module.NetworkCache, "_put", real)
    monkeypatch.setattr(cohort_module._Cohort, "_do_step", lambda *arguments: pytest.fail("nothing is left to train"))
    assert len(trained_cohort(make(), samples)) == 2
    assert not [name for name in folders(make()) if name.endswith(".partial")]


def test_a_cohort_that_is_killed_after_its_last_member_leaves_nothing_behind(make, samples, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cache_module.shutil, "rmtree", lambda *arguments, **more: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            trained_cohort(make(), samples)
    assert len([name for name in folders(make()) if name.endswith(".partial")]) == 1
    assert all(network.was_cached for network in trained_cohort(make(), samples))
    assert not [name for name in folders(make()) if name.endswith(".partial")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights_seeds": [0]}, "2 networks, 1 seeds"),
        ({"recipes": [RECIPE] * 3}, "3 recipes"),
        ({"sources": ["mlp:widths=5"], "weights_seeds": [0]}, "2 or more"),
    ],
)
def test_what_is_no_cohort_is_refused(make, samples, changes, words):
    with pytest.raises(InvalidValue) as refused:
        trained_cohort(make(), samples, **changes)
    assert words in f"{refused.value.received} {refused.value.expected}"


EXITS = exit_network("mlp:widths=8x8x8", ["features.relu1"])


def test_exits_are_saved_and_found_with_their_branches(make, monkeypatch):
    samples = samples_of()
    first = trained(make(), samples, source=EXITS, objective=SelfDistillation())
    refuse_to_train(monkeypatch)
    again = trained(make(), samples, source=EXITS, objective=SelfDistillation())
    assert torch.equal(first.module.all_logits(samples.inputs), again.module.all_logits(samples.inputs))
    assert again.module.exit_names == ("features.relu1", "head")
    (folder,) = folders(make())
    saved = load_model(make().cache.folder / folder)  # without the factory
    assert torch.equal(first.module.all_logits(samples.inputs), saved.module.all_logits(samples.inputs))


def test_networks_with_exits_elsewhere_are_not_taken_for_each_other(make, samples):
    experiment = make()
    for count, paths in enumerate((["features.relu1"], ["features.relu2"], ["features.relu1", "features.relu2"]), 1):
        source = exit_network("mlp:widths=8x8x8", paths)
        trained(experiment, samples, source=source, objective=SelfDistillation())
        assert len(folders(experiment)) == count


def test_the_trunk_of_a_network_with_exits_starts_as_the_plain_network():
    plain = network_from("mlp:widths=8x8x8").build(input_shape=(6,), num_classes=2, seed=3)
    exits = network_from(EXITS).build(input_shape=(6,), num_classes=2, seed=3)
    assert fingerprint(exits.network) == fingerprint(plain)


def test_every_exit_is_evaluated_and_nothing_is_trained_after(make):
    experiment = make()
    train = open_data(experiment, "digits")
    network = trained(experiment, train, source=EXITS, objective=SelfDistillation())
    found = evaluate_exits(experiment, network, condition="self", seed=0)
    test = experiment.data.test
    expected = network.module.all_logits(test.inputs.float() / 255)
    torch.testing.assert_close(found.logits, expected.detach())
    by_condition = {o.condition: o.value for o in experiment.results.observations if o.quantity == "test_errors"}
    assert by_condition["self_exit_1"] == int((expected[:, 0].argmax(dim=1) != test.labels).sum())
    assert by_condition["self_head"] == evaluate(experiment, network, condition="plain", seed=0).errors
    mean = expected.softmax(dim=2).mean(dim=1)
    assert by_condition["self_ensemble"] == int((mean.argmax(dim=1) != test.labels).sum())
    with pytest.raises(AssertionError, match="before the test set is read"):
        trained(experiment, train, seed=1)


def test_a_network_without_exits_is_not_asked_for_them(make, samples):
    experiment = make()
    with pytest.raises(ModelError, match="has no exits"):
        predict_exits(experiment, trained(experiment, samples), samples)


def test_training_samples_can_be_fewer_and_others_kept_apart_to_choose_by(make):
    whole = open_data(make(), "digits")
    experiment = make()
    train = open_data(experiment, "digits", num_train=300, num_validation=100)
    validation = experiment.validation
    assert (len(train), len(validation), len(experiment.data.test)) == (300, 100, 359)
    assert not set(train.ids.tolist()) & set(validation.ids.tolist())
    assert set(train.ids.tolist()) | set(validation.ids.tolist()) <= set(whole.ids.tolist())
    for part in (train, validation):
        shares = part.labels.bincount() / len(part)
        torch.testing.assert_close(shares, whole.labels.bincount() / len(whole), rtol=0.0, atol=0.01)
    assert (experiment.data_record().num_train, experiment.data_record().num_validation) == (300, 100)
    assert "300 of 1,338" in experiment.results.notes[-1]
    searching = make()
    held = open_data(searching, "digits", held_out=200, num_train=300, num_validation=100)
    parts = [set(part.ids.tolist()) for part in (held, searching.validation, searching.data.test)]
    assert len(set.union(*parts)) == 600


def test_a_data_set_without_a_test_split_gives_some_of_its_samples(make, samples, monkeypatch):
    asked = []
    splits = Splits(samples, None, None, name="all")
    monkeypatch.setattr("limbeck.recipes.data.load_data", lambda name, **how: asked.append(how) or splits)
    with pytest.raises(DataError, match="has no test split"):
        open_data(make(), "all")
    experiment = make()
    train = open_data(experiment, "all", num_test=10, image_size=16)
    assert asked[-1]["image_size"] == 16
    assert len(experiment.data.test) == 10
    assert sorted([*train.ids.tolist(), *experiment.data.test.ids.tolist()]) == sorted(samples.ids.tolist())
    again = make()
    open_data(again, "all", num_test=10)
    assert torch.equal(again.data.test.ids, experiment.data.test.ids)


@pytest.mark.parametrize(("asked", "words"), [({"num_train": 9999}, "9,999"), ({"num_validation": -1}, "-1")])
def test_more_samples_than_there_are_is_told(make, asked, words):
    with pytest.raises(LimbeckError) as refused:
        open_data(make(), "digits", **asked)
    assert words in str(refused.value)


def test_outputs_are_those_of_the_teacher(make, samples):
    experiment = make()
    guide = trained(experiment, samples, name="guide")
    outputs = collect_targets(experiment, guide, samples)
    expected = predict(guide.module, samples, Views(), runtime=CPU)
    assert torch.equal(outputs(samples.ids[3:5], samples.inputs[3:5]).logits_at(1.0), expected[3:5])
    assert outputs.modules == ()  # nothing runs any more


def test_several_networks_answer_as_their_pooled_mean(make, samples):
    experiment = make()
    guides = [trained(experiment, samples, name="guide", seed=seed) for seed in (0, 1)]
    each = torch.stack([predict(guide.module, samples, Views(), runtime=CPU).softmax(dim=1) for guide in guides])
    arithmetic = collect_targets(experiment, guides, samples)(samples.ids, samples.inputs).logits_at(1.0).softmax(dim=1)
    torch.testing.assert_close(arithmetic, each.mean(dim=0))
    pooled = collect_targets(experiment, guides, samples, pooling="geometric")(samples.ids, samples.inputs).logits_at(
        1.0
    )
    torch.testing.assert_close(pooled.softmax(dim=1), each.log().mean(dim=0).softmax(dim=1))


def test_numbered_views_are_answered_into_a_store_that_is_found_again(make, samples):
    experiment = make()
    guide = trained(experiment, samples, name="guide")
    outputs = collect_targets(experiment, guide, samples, views=VIEWS, num_views=2)
    assert outputs.num_views == 2
    (store,) = (name for name in folders(experiment) if name.startswith("targets-"))
    written = {path: path.stat().st_mtime_ns for path in (experiment.cache.folder / store).glob("[!.]*")}
    collect_targets(make(), guide, samples, views=VIEWS, num_views=2)
    assert {path: path.stat().st_mtime_ns for path in (experiment.cache.folder / store).glob("[!.]*")} == written
    with pytest.raises(InvalidValue, match="cannot be collected beforehand"):
        collect_targets(experiment, guide, samples, views=VIEWS)


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked there")
def test_two_runs_over_one_folder_collect_targets_once(make, samples, monkeypatch):
    guide = trained(make(), samples, name="guide")
    begun, found = threading.Event(), []

    def ask():
        return collect_targets(make(), guide, samples, views=VIEWS, num_views=2)(samples.ids, samples.inputs, view=1)

    def slowly(*arguments, folder, **more):
        if folder.suffix == ".partial":
            assert not begun.is_set(), "a second collection of the same answers"
            begun.set()
            second.start()
            second.join(timeout=0.5)  # it waits for this one
            assert second.is_alive()
        return collect_visibly(*arguments, folder=folder, **more)

    monkeypatch.setattr("limbeck.recipes.soft_targets.collect_visibly", slowly)
    second = threading.Thread(target=lambda: found.append(ask()))
    first = ask()
    second.join(timeout=60)
    assert torch.equal(first.logits_at(1.0), found[0].logits_at(1.0))
    assert not [name for name in folders(make()) if name.endswith(".partial")]


def test_the_test_set_is_read_at_the_end(make, monkeypatch):
    experiment = make()
    train = open_data(experiment, "digits")
    network = trained(experiment, train)
    found = evaluate(experiment, network, condition="net", seed=0, classes=("3",))
    assert len(found.labels) == 359
    wrong = found.logits.argmax(dim=1) != found.labels
    by_quantity = {o.quantity: (o.value, o.unit) for o in experiment.results.observations}
    assert by_quantity["test_errors"] == (int(wrong.sum()), "count")
    assert by_quantity["test_errors_on_3"] == (int((wrong & (found.labels == 3)).sum()), "count")
    assert by_quantity["test_accuracy"][0] == pytest.approx(1 - int(wrong.sum()) / 359)
    assert experiment.data_record().num_test == 359
    with pytest.raises(AssertionError, match="before the test set is read"):
        trained(experiment, train, seed=1)


def test_held_out_images_are_measured_in_the_test_sets_place(make):
    whole = open_data(make(), "digits")
    experiment = make()
    train = open_data(experiment, "digits", held_out=100)
    assert len(train) == len(whole) - 100
    found = evaluate(experiment, trained(experiment, train), condition="net", seed=0)
    assert len(found.labels) == 100
    assert {o.quantity for o in experiment.results.observations} == {
        "held_out_errors",
        "held_out_accuracy",
        "held_out_nll",
    }
    assert experiment.data_record().num_test == 0
    assert "was not read" in experiment.results.notes[-1]


def test_a_smoke_run_is_cut_evenly_over_classes_and_says_so(make, monkeypatch):
    monkeypatch.setattr(data_module, "SMOKE_TRAIN", 200)
    monkeypatch.setattr(data_module, "SMOKE_TEST", 50)
    experiment = make(smoke=True)
    train = open_data(experiment, "digits")
    counts = train.labels.bincount()
    assert len(train) == 200
    assert int(counts.min()) >= 18
    assert experiment.data_record().num_test == 50
    assert "200 of 1,438 training samples, 50 of 359 samples" in experiment.results.notes[-1]
    assert len(load_samples(experiment, "digits")) == 200


def test_a_run_is_observed_once_and_in_one_unit(make):
    experiment = make()
    experiment.results.observe("net", 0, "errors", 3, "count")
    experiment.results.observe("net", 1, "errors", 4, "count")
    with pytest.raises(InvalidValue, match="observed once"):
        experiment.results.observe("net", 0, "errors", 5, "count")
    with pytest.raises(InvalidValue, match="two units"):
        experiment.results.observe("other", 0, "errors", 0.5, "fraction")


def test_a_teacher_stays_frozen_while_students_learn(make, samples):
    experiment = make()
    guide = trained(experiment, samples, name="guide")
    live = pooled_teacher(guide)
    trained(experiment, samples, name="student", objective=Distillation(temperature=2.0), teacher=live)
    live.check_unchanged()
    with pytest.raises(TeacherError):
        trained(experiment, samples, objective=Distillation(temperature=2.0))  # no teacher at all


def test_predictions_count_errors_of_a_class_and_of_shifted_logits():
    found = Predictions(torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 1, 1]), ("a", "b"))
    assert (found.errors, found.errors_on("a"), found.errors_on("b")) == (1, 0, 1)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.shifted(torch.tensor([0.0, 1.5])).errors_on("a") == 1
    assert found.shifted(torch.tensor([0.0, 1.5])).errors == 1
    with pytest.raises(UnknownName):
        found.errors_on("c")


def test_the_folder_of_networks_must_be_writable(samples):
    from limbeck.errors import OutputError

    with pytest.raises(OutputError, match="/proc/limbeck"):
        trained(Experiment.of_recipe(Path("/proc/limbeck"), CPU, SilentProgress()), samples)
