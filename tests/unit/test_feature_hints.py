"""Hints: taps by path that leave nothing behind, projections are trained, not saved; the objective's formula."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from limbeck.data import Batch, Samples
from limbeck.errors import InvalidValue, ModelError, TeacherError, UnknownName
from limbeck.losses import attention_transfer_loss, relational_angle_loss, relational_distance_loss
from limbeck.models import FeatureOutputs, add_taps, load_model, save_model
from limbeck.models.factory import ModelFactory
from limbeck.objectives import FeatureHints
from limbeck.teachers import FeatureTeacher, ModuleTeacher
from limbeck.training import Runtime, TrainConfig, fit

CPU = Runtime(torch.device("cpu"), "fp32")
SHAPE = (1, 8, 8)


def convnet(channels: int, *, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1),
        nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3),
    )  # fmt: skip


def images(count: int = 48, *, unlabelled: int = 0) -> Samples:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, *SHAPE, generator=generator)
    labels = (3 * pixels[:, 0, 0, 0]).long()
    labels[:unlabelled] = -1
    return Samples("images", torch.arange(count), pixels, labels, ("a", "b", "c"))


def batch_of(samples: Samples) -> Batch:
    return Batch(samples.ids, samples.inputs, samples.labels, None)


def tapped_pair(loss: str = "hint", paths=(("1", "1"), ("3", "3"))):
    student, teacher = convnet(4), convnet(6, seed=1)
    network = add_taps(student, paths, teacher, input_shape=SHAPE, num_classes=3, project=loss == "hint")
    return network, FeatureTeacher(teacher, [other for _, other in paths])


@pytest.mark.parametrize("loss", ["hint", "attention", "distance", "angle"])
def test_the_objective_is_its_formula(loss):
    network, teacher = tapped_pair(loss)
    samples = images(unlabelled=5)
    objective = FeatureHints(temperature=3.0, hard_weight=0.2, soft_weight=0.5, feature_weight=2.0, loss=loss)
    outputs, targets = network(samples.inputs), teacher(samples.ids, samples.inputs)
    parts = objective(outputs, targets, batch_of(samples))

    compare = {
        "hint": lambda f, g: ((f - g) ** 2).flatten(1).mean(1),
        "attention": attention_transfer_loss,
        "distance": relational_distance_loss,
        "angle": relational_angle_loss,
    }[loss]
    with torch.no_grad():
        body, other = network.network, teacher.modules[0]
        own = [body[:2](samples.inputs), body[:4](samples.inputs)]
        own = [projection(f) for projection, f in zip(network.projections, own, strict=True)]
        theirs = [other[:2](samples.inputs), other[:4](samples.inputs)]
        features = sum(compare(f, g).mean() for f, g in zip(own, theirs, strict=True))
        p, log_q = F.softmax(other(samples.inputs) / 3, 1), F.log_softmax(body(samples.inputs) / 3, 1)
        soft = 9 * (p * (p.log() - log_q)).sum(1).mean()
        hard = F.cross_entropy(body(samples.inputs), samples.labels, ignore_index=-1)
    assert_close(parts.means["features"], features, rtol=1e-4, atol=1e-6)
    assert_close(parts.total.detach(), 2.0 * features + 0.5 * soft + 0.2 * hard, rtol=1e-4, atol=1e-6)


def test_projections_are_trained_and_the_network_alone_is_saved(tmp_path):
    network, teacher = tapped_pair()
    before = [parameter.detach().clone() for parameter in network.projections.parameters()]
    plain_keys = set(convnet(4).state_dict())
    fit(
        network, images(), FeatureHints(), recipe=TrainConfig(num_epochs=2, batch_size=16, learning_rate=0.1),
        teacher=teacher, runtime=CPU, validation=images(30),
    )  # fmt: skip
    assert all(not torch.equal(a, b) for a, b in zip(before, network.projections.parameters(), strict=True))
    assert set(network.network.state_dict()) == plain_keys
    save_model(
        tmp_path, network.network, spec="mine", input_shape=SHAPE, class_names=["a", "b", "c"], normalise=None
    )  # fmt: skip
    loaded = load_model(tmp_path, factory=ModelFactory("mine", lambda: convnet(4))).module
    assert_close(loaded(images().inputs), network.eval()(images().inputs))


def test_hints_bring_the_features_nearer_than_labels_and_soft_targets_do():
    distances = {}
    for weight in (1e-6, 10.0):
        network, teacher = tapped_pair()
        recipe = TrainConfig(num_epochs=30, batch_size=16, learning_rate=0.1)
        fit(network, images(), FeatureHints(feature_weight=weight), recipe=recipe, teacher=teacher, runtime=CPU)
        network.train()
        samples = images()
        with torch.no_grad():
            outputs, targets = network(samples.inputs), teacher(samples.ids, samples.inputs)
        pairs = zip(outputs.features, targets.features, strict=True)
        distances[weight] = sum(float((f - g).square().mean()) for f, g in pairs)
    assert distances[10.0] < 0.5 * distances[1e-6]


def test_no_hook_is_left_and_eval_mode_is_the_plain_network():
    network, teacher = tapped_pair()
    samples = images()
    plain = copy.deepcopy(network.network)
    assert isinstance(network(samples.inputs), FeatureOutputs)
    teacher(samples.ids, samples.inputs)
    modules = [*network.modules(), *teacher.modules[0].modules()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    assert torch.equal(network.eval()(samples.inputs), plain.eval()(samples.inputs))
    network.train().network.append(_Failing())
    with pytest.raises(RuntimeError, match="boom"):  # nor after a failure on the way
        network(samples.inputs)
    assert not any(module._forward_hooks for module in network.modules())


class _Failing(nn.Module):
    def forward(self, inputs):
        raise RuntimeError("boom")


def test_no_gradient_reaches_the_teacher_and_its_features_are_those_of_eval_mode():
    network, teacher = tapped_pair()
    samples = images()
    targets = teacher(samples.ids, samples.inputs)
    assert not any(features.requires_grad for features in targets.features)
    parts = FeatureHints()(network(samples.inputs), targets, batch_of(samples))
    parts.total.backward()
    assert all(parameter.grad is None for parameter in teacher.modules[0].parameters())
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_vectors_are_projected_by_a_linear_layer():
    def mlp(width: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 3))

    network = add_taps(mlp(5), {"2": "2"}, mlp(9), input_shape=SHAPE, num_classes=3)
    assert network(torch.zeros(4, *SHAPE)).features[0].shape == (4, 9)


def test_mistakes_say_what_does_not_fit():
    student, teacher = convnet(4), convnet(6, seed=1)
    with pytest.raises(InvalidValue, match="cannot be brought"):
        add_taps(student, {"1": "4"}, teacher, input_shape=SHAPE, num_classes=3)
    with pytest.raises(UnknownName, match="named '9'"):
        add_taps(student, {"9": "1"}, teacher, input_shape=SHAPE, num_classes=3)
    with pytest.raises(UnknownName, match="named '9'"):
        FeatureTeacher(teacher, ["9"])
    with pytest.raises(InvalidValue, match="taps"):
        add_taps(student, {}, teacher, input_shape=SHAPE, num_classes=3)
    with pytest.raises(ModelError, match="other outputs"):
        add_taps(student, {"1": "1"}, teacher, input_shape=SHAPE, num_classes=4)
    with pytest.raises(UnknownName, match="feature loss"):
        FeatureHints(loss="hints")
    with pytest.raises(InvalidValue, match="feature_weight"):
        FeatureHints(feature_weight=0.0)
    network, _ = tapped_pair()
    samples = images()
    recipe = TrainConfig(num_epochs=1, batch_size=16)
    with pytest.raises(TeacherError, match="tapped as the student"):
        fit(network, samples, FeatureHints(), recipe=recipe, teacher=ModuleTeacher(teacher), runtime=CPU)
    with pytest.raises(TeacherError, match="1 features for 2 taps"):
        fit(network, samples, FeatureHints(), recipe=recipe, teacher=FeatureTeacher(teacher, ["1"]), runtime=CPU)
    with pytest.raises(ModelError, match="add_taps"):
        fit(student, samples, FeatureHints(), recipe=recipe, teacher=FeatureTeacher(teacher, ["1"]), runtime=CPU)
