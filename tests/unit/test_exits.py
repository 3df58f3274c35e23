"""Exits on networks, taps, and self-distillation through them."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from limbeck.data import UNLABELLED, Batch, as_samples
from limbeck.errors import InvalidValue, ModelError, UnknownName
from limbeck.metrics import first_confident_exit
from limbeck.models import ExitOutputs, add_exits, build, fingerprint, tapped
from limbeck.objectives import HardLabels, SelfDistillation
from limbeck.training import Runtime, TrainConfig, fit

CPU = Runtime(torch.device("cpu"), "fp32")
SHAPE, CLASSES = (3, 32, 32), 10


def resnet() -> nn.Module:
    return build("resnet20", input_shape=SHAPE, num_classes=CLASSES, seed=0)


def stages(network: nn.Module) -> list[str]:
    """Return the paths of a residual network's stages: outputs of 32x32, 16x16 and 8x8."""
    with_blocks = [path for path, module in network.named_modules() if isinstance(module, nn.Sequential) and path]
    return [path for path in with_blocks if path.count(".") <= 1][-3:]


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def images(count: int = 5) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


# Taps


def test_taps_are_removed_again_even_after_an_error():
    network = small()
    with tapped(network, ["0", "3"]) as outputs:
        network(torch.zeros(2, 1, 8, 8))
    assert {path: tuple(z.shape) for path, z in outputs.items()} == {"0": (2, 4, 8, 8), "3": (2, 8, 4, 4)}
    with pytest.raises(RuntimeError), tapped(network, ["0"]):
        network(torch.zeros(2, 7, 8, 8))
    assert all(not module._forward_hooks for module in network.modules())


def test_a_path_that_does_not_exist_lists_near_ones():
    with pytest.raises(UnknownName, match="no module named") as caught, tapped(resnet(), [stages(resnet())[0] + "x"]):
        pass
    assert stages(resnet())[0] in str(caught.value.remedy)


def test_a_module_that_gives_no_tensor():
    network = nn.Sequential(nn.LSTM(4, 3, batch_first=True))
    with pytest.raises(ModelError, match="does not give a tensor"), tapped(network, ["0"]):
        network(torch.zeros(2, 5, 4))


# Networks with exits


def test_shapes_of_a_residual_network():
    network = resnet()
    first, second, third = stages(network)
    exits = add_exits(network, [second, first], input_shape=SHAPE, num_classes=CLASSES)
    assert exits.exit_names == (first, second, "head")
    assert exits.deepest == third
    outputs = exits(images())
    assert isinstance(outputs, ExitOutputs)
    assert [tuple(z.shape) for z in outputs.logits] == [(5, CLASSES)] * 3
    assert [tuple(f.shape) for f in outputs.features] == [(5, 64, 8, 8)] * 3
    assert exits.all_logits(images()).shape == (5, 3, CLASSES)


def test_in_eval_mode_it_is_the_network_and_stripping_it_costs_nothing():
    network, plain = resnet(), resnet()
    exits = add_exits(network, stages(network)[:2], input_shape=SHAPE, num_classes=CLASSES).eval()
    assert torch.equal(exits(images()), plain.eval()(images()))
    assert exits.network is network
    assert all(not module._forward_hooks for module in network.modules())
    assert_close(exits.all_logits(images())[:, -1], plain(images()))


def test_a_deep_copy_has_exits_of_its_own():
    exits = add_exits(small(), ["0"], input_shape=(1, 8, 8), num_classes=3)
    twin = copy.deepcopy(exits)
    inputs = torch.rand(4, 1, 8, 8)
    before = exits.eval().all_logits(inputs)
    with torch.no_grad():
        for parameter in exits.parameters():
            parameter.zero_()
    assert torch.equal(twin.eval().all_logits(inputs), before)


def test_the_same_weights_with_exits_elsewhere_are_another_network():
    def with_exit_at(path):
        torch.manual_seed(0)
        return add_exits(resnet(), [path], input_shape=SHAPE, num_classes=CLASSES)

    assert fingerprint(with_exit_at("layer1.0")) == fingerprint(with_exit_at("layer1.0"))
    assert fingerprint(with_exit_at("layer1.0")) != fingerprint(with_exit_at("layer1.1"))


def test_exits_of_vectors():
    network = build("mlp:widths=20x16x12", input_shape=(1, 8, 8), num_classes=3, seed=0)
    hidden = [path for path, module in network.named_modules() if isinstance(module, nn.ReLU)]
    exits = add_exits(network, hidden[:1], input_shape=(1, 8, 8), num_classes=3)
    outputs = exits(torch.rand(4, 1, 8, 8))
    assert isinstance(outputs, ExitOutputs)
    assert [tuple(f.shape) for f in outputs.features] == [(4, 12), (4, 12)]


def test_odd_sizes_halve_upwards():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    exits = add_exits(network, ["0"], input_shape=(1, 7, 13), num_classes=3)
    outputs = exits(torch.rand(2, 1, 7, 13))
    assert isinstance(outputs, ExitOutputs)
    assert [tuple(f.shape) for f in outputs.features] == [(2, 8, 2, 4)] * 2


@pytest.mark.parametrize(
    ("paths", "settings", "kind", "fact"),
    [
        ([], {}, InvalidValue, "paths of their own"),
        (["0", "0"], {}, InvalidValue, "paths of their own"),
        (["1.conv"], {}, UnknownName, "no module named"),
        (["4"], {}, InvalidValue, "before the deepest"),
        (["6"], {}, InvalidValue, "before the deepest"),
        (["0"], {"deepest": "6"}, InvalidValue, "cannot be brought to the deepest"),
        (["0"], {"num_classes": 4}, ModelError, "other outputs than the data has classes"),
        (["0"], {"input_shape": (3, 8, 8)}, ModelError, "cannot run"),
    ],
)
def test_what_is_refused(paths, settings, kind, fact):
    with pytest.raises(kind, match=fact):
        add_exits(small(), paths, **{"input_shape": (1, 8, 8), "num_classes": 3, **settings})


def test_features_that_do_not_halve_to_the_deepest():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(5), nn.Conv2d(4, 8, 1), nn.Flatten(), nn.Linear(200, 3)
    )
    with pytest.raises(InvalidValue, match="cannot be brought") as caught:
        add_exits(network, ["0"], input_shape=(1, 8, 8), num_classes=3)
    assert "(4, 8, 8) and (8, 5, 5)" in str(caught.value.received)


# Early exit


def trained_exits() -> nn.Module:
    """Return a network with two exits in eval mode, sure of itself on some images and less so on others."""
    network = resnet()
    exits = add_exits(network, stages(network)[:2], input_shape=SHAPE, num_classes=CLASSES)
    exits(images(16))
    exits.eval()
    with torch.no_grad():
        for number, branch in enumerate(exits.branches):
            logits = exits.all_logits(images(40))[:, number]
            branch.head.weight.mul_(2 / logits.std(dim=0).mean())
            branch.head.bias.sub_(exits.all_logits(images(40))[:, number].mean(dim=0))
    return exits


def calls_of(network: nn.Module) -> list[str]:
    """Return a list that grows by the path of every module that is called."""
    calls: list[str] = []
    for path, module in network.named_modules():
        module.register_forward_pre_hook(lambda module, inputs, path=path: calls.append(path))
    return calls


def test_an_exit_answers_as_it_does_among_all():
    exits, inputs = trained_exits(), images()
    everything = exits.all_logits(inputs)
    for number, name in enumerate(exits.exit_names):
        assert_close(exits.logits_at(name, inputs), everything[:, number])
        assert_close(exits.all_logits(inputs, until=name), everything[:, : number + 1])
    assert all(not module._forward_hooks for module in exits.modules())


def test_what_comes_after_an_exit_does_not_run():
    exits = trained_exits()
    _, second, third = stages(exits.network)
    calls = calls_of(exits)
    exits.logits_at(second, images())
    assert f"network.{second}" in calls
    assert "branches.1" in calls
    assert not [path for path in calls if path.startswith((f"network.{third}", "branches.0", "network.head"))]
    calls.clear()
    exits.all_logits(images(), until=second)
    assert {"branches.0", "branches.1"} <= set(calls)
    assert f"network.{third}" not in calls
    calls.clear()
    exits.early_exit(images(), threshold=0.0)
    assert "branches.0" in calls
    assert f"network.{second}" not in calls


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.6, 1.0])
def test_early_outputs_are_those_of_the_first_confident_exit(quantile):
    exits, inputs = trained_exits(), images(40)
    with torch.no_grad():
        everything = exits.all_logits(inputs)
        sure = everything.softmax(dim=2).amax(dim=2)[:, :2].quantile(quantile)
        threshold = {0.0: 0.0, 1.0: 1.0}.get(quantile, float(sure))
        teacher_outputs = exits.early_exit(inputs, threshold=threshold)
    expected = first_confident_exit(everything, threshold=threshold)
    assert len(expected.unique()) == {0.0: 1, 0.3: 3, 0.6: 3, 1.0: 1}[quantile]  # mixed between the ends
    assert teacher_outputs.exits.tolist() == expected.tolist()
    assert_close(teacher_outputs.logits, everything[torch.arange(40), expected])


def test_a_sample_that_left_is_not_computed_any_further():
    exits, inputs = trained_exits(), images(40)
    seen = []
    exits.network.layer3.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    with torch.no_grad():
        sure = exits.all_logits(inputs).softmax(dim=2).amax(dim=2)[:, :2].amax(dim=1).median()
        seen.clear()
        teacher_outputs = exits.early_exit(inputs, threshold=float(sure))
    assert seen == [int((teacher_outputs.exits == 2).sum())] == [19]


class Bypassed(nn.Module):
    """A shortcut leads around the exit."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 6)
        self.hidden, self.head = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, inputs):
        features = self.first(inputs)
        return self.head(self.hidden(features + self.second(features)))


@pytest.mark.parametrize("num_left", [1, 2])
def test_a_shortcut_around_an_exit_is_told(num_left):
    torch.manual_seed(0)
    exits = add_exits(Bypassed(), ["second"], input_shape=(4,), num_classes=3, deepest="hidden")
    exits(torch.randn(64, 4))
    inputs = torch.randn(5, 4)
    exits.eval()
    with torch.no_grad():
        sure = exits.logits_at("second", inputs).softmax(dim=1).amax(dim=1).sort().values
        with pytest.raises(ModelError, match="cannot leave there"):
            exits.early_exit(inputs, threshold=float(sure[num_left]))  # one left would be broadcast


def test_what_early_exit_refuses():
    exits = trained_exits()
    with pytest.raises(UnknownName, match="no exit named"):
        exits.logits_at("layer9", images())
    with pytest.raises(UnknownName, match="no exit named"):
        exits.all_logits(images(), until="layer9")
    with pytest.raises(InvalidValue, match="threshold"):
        exits.early_exit(images(), threshold=1.5)
    with pytest.raises(ModelError, match="eval mode"):
        exits.train().early_exit(images(), threshold=0.5)


def test_an_output_that_is_changed_in_place_cannot_be_an_exit():
    # all_logits would see it changed, a pass that ends there would not.
    network = build("three_block:width=0.25", input_shape=SHAPE, num_classes=CLASSES, seed=0)
    with pytest.raises(InvalidValue, match="changed in place"):
        add_exits(network, ["features.1"], input_shape=SHAPE, num_classes=CLASSES)  # batch norm, ReLU behind it
    add_exits(network, ["features.2"], input_shape=SHAPE, num_classes=CLASSES)


# Self-distillation


def outputs_and_batch():
    generator = torch.Generator().manual_seed(0)
    logits = tuple(torch.randn(4, 3, generator=generator).requires_grad_() for _ in range(3))
    features = tuple(torch.randn(4, 2, 2, 2, generator=generator).requires_grad_() for _ in range(3))
    labels = torch.tensor([0, 2, UNLABELLED, 1])
    return ExitOutputs(logits, features), Batch(torch.arange(4), torch.zeros(4, 1), labels)


def test_the_loss_written_out():
    outputs, batch = outputs_and_batch()
    objective = SelfDistillation(temperature=3.0, hard_weight=0.7, soft_weight=0.3, hint_weight=0.05)
    (z1, z2, z3), (f1, f2, f3) = outputs.logits, outputs.features

    def hard(z):
        return F.cross_entropy(z, batch.labels, ignore_index=UNLABELLED)

    def soft(z):
        p, q = F.log_softmax(z3.detach() / 3, dim=1), F.log_softmax(z / 3, dim=1)
        return 9 * F.kl_div(q, p, log_target=True, reduction="batchmean")

    def hint(f):
        return ((f - f3.detach()) ** 2).sum() / (4 * 8)

    expected = hard(z3) + sum(0.7 * hard(z) + 0.3 * soft(z) + 0.05 * hint(f) for z, f in ((z1, f1), (z2, f2)))
    loss = objective(outputs, None, batch)
    assert_close(loss.total, expected)
    leaves = [*outputs.logits, *outputs.features]
    ours, theirs = (torch.autograd.grad(total, leaves, allow_unused=True) for total in (loss.total, expected))
    assert ours[-1] is None  # the deepest features are a constant to the others
    for own, other in zip(ours[:-1], theirs[:-1], strict=True):
        assert_close(own, other)


def test_the_deepest_exit_learns_from_the_labels_alone():
    outputs, batch = outputs_and_batch()
    total = SelfDistillation()(outputs, None, batch).total
    own = F.cross_entropy(outputs.logits[-1], batch.labels, ignore_index=UNLABELLED)
    last = outputs.logits[-1]
    assert_close(torch.autograd.grad(total, last)[0], torch.autograd.grad(own, last)[0])


def test_deep_supervision_is_the_case_without_a_teacher():
    outputs, batch = outputs_and_batch()
    ablation = SelfDistillation(hard_weight=1.0, soft_weight=0.0, hint_weight=0.0)
    assert ablation.part_names == ("hard", "exits_hard")
    expected = sum(F.cross_entropy(z, batch.labels, ignore_index=UNLABELLED) for z in outputs.logits)
    assert_close(ablation(outputs, None, batch).total, expected)


def test_a_network_without_exits_is_refused():
    with pytest.raises(ModelError, match="with exits"):
        SelfDistillation()(torch.zeros(4, 3), None, outputs_and_batch()[1])


def test_fit_trains_every_exit_and_keeps_the_network():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (96, 1, 8, 8), generator=generator, dtype=torch.uint8)
    brightness = pixels[:, 0, :4].float().mean(dim=(1, 2))
    samples = as_samples((pixels, brightness.argsort().argsort() * 3 // 96))
    exits = add_exits(small(), ["0"], input_shape=(1, 8, 8), num_classes=samples.num_classes)
    recipe = TrainConfig(num_epochs=3, batch_size=16, learning_rate=0.05)
    result = fit(exits, samples, SelfDistillation(), recipe=recipe, validation=samples, runtime=CPU)
    first, last = result.history[0].train, result.history[-1].train
    assert set(first) == {"total", "hard", "exits_hard", "exits_soft", "exits_hint"}
    assert last["total"] < first["total"]
    assert exits(torch.zeros(2, 1, 8, 8)).shape == (2, samples.num_classes)  # in eval mode: the network itself
    assert result.history[-1].validation["accuracy"] > 0
    fit(exits.network, samples, HardLabels(), recipe=recipe, runtime=CPU)  # stripped, it trains on
