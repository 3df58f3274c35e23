"""fit_stacked trains each network as fit alone would, and no network touches another."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.data import Views, as_samples, augmentations_from
from limbeck.errors import InvalidValue, ModelError, ShapeMismatch, TeacherError, TrainingDiverged
from limbeck.models import build
from limbeck.objectives import Distillation, HardLabels
from limbeck.teachers import EnsembleTeacher, ModuleTeacher
from limbeck.training import Progress, Runtime, TrainConfig, fit, fit_stacked
from limbeck.training.stacked_linear import stacked_layers, stacked_linear

CPU = Runtime(torch.device("cpu"), "fp32")
NUM_SAMPLES, NUM_CLASSES = 70, 3  # the last of five batches of 16 has 6
SETTINGS = {"num_epochs": 3, "batch_size": 16, "learning_rate": 0.2}
OBJECTIVES = [
    Distillation(temperature=2.0, hard_weight=0.5),
    Distillation(temperature=8.0, hard_weight=0.1, soft_weight=1.0),
    Distillation(temperature=2.0, hard_weight=0.0),
    Distillation(temperature=1.0, hard_weight=1.0),
]
SEEDS = [5, 6, 5, 6]


def images(*, seed: int = 0, count: int = NUM_SAMPLES):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)
    return as_samples((pixels, (pixels[:, 0, 0].float().mean(dim=1) / 256 * NUM_CLASSES).long()))


def mlp(seed: int, **settings) -> nn.Module:
    spec = "mlp:widths=12x8" + "".join(f",{name}={value}" for name, value in settings.items())
    return build(spec, input_shape=(1, 6, 6), num_classes=NUM_CLASSES, seed=seed)


def convnet(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.GroupNorm(1, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, NUM_CLASSES, bias=False)
    )


def teacher() -> ModuleTeacher:
    return ModuleTeacher(mlp(99))


def compare(objectives, *, seeds=SEEDS, recipe=None, make=mlp, train=None, views=None, **settings):
    """Train in one pass and one by one, and see that everything is equal; return the results of the one pass."""
    recipe = recipe or TrainConfig(**SETTINGS)
    train = train or images()
    settings = {"recipe": recipe, "runtime": CPU, "validation": images(seed=1, count=40), **settings}
    students = [make(k) for k in range(len(seeds))]
    start = copy.deepcopy(students)
    together = fit_stacked(students, train, objectives, seeds=seeds, views=views, **settings)
    each_objective = objectives if isinstance(objectives, list) else [objectives] * len(seeds)
    each_view = views if isinstance(views, list) else [views] * len(seeds)
    for k, result in enumerate(together):
        alone = fit(start[k], train, each_objective[k], seed=seeds[k], views=each_view[k], **settings)
        assert result.student is students[k]
        assert not result.student.training
        assert (result.num_steps, result.selected_epoch) == (alone.num_steps, alone.selected_epoch)
        for name in ("selected_weights", "last_weights"):
            ours, theirs = getattr(result, name), getattr(alone, name)
            assert ours.keys() == theirs.keys()
            for key, value in theirs.items():
                assert_close(ours[key], value, rtol=1e-4, atol=2e-5)
        for key, value in result.student.state_dict().items():
            assert torch.equal(value, result.selected_weights[key])
        for ours, theirs in zip(result.history, alone.history, strict=True):
            for name in ("epoch", "step", "learning_rate"):
                assert getattr(ours, name) == getattr(theirs, name)
            for name in ("train", "validation"):
                assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-4, abs=1e-6)
    return together


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"momentum": 0.0, "nesterov": False, "schedule": "constant", "weight_decay": 0.1},
        {"optimiser": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "schedule": "one_cycle"},
        {"momentum": 0.95, "momentum_start": 0.5, "schedule": "exponential"},
        {"clip_norm": 0.3, "schedule": "step", "warmup_fraction": 0.2},
        {"ema_decay": 0.8},
        {"accumulation_steps": 3},
    ],
    ids=lambda changes: ",".join(changes) or "sgd",
)
def test_each_network_equals_its_separate_run(changes):
    compare(OBJECTIVES, recipe=TrainConfig(**{**SETTINGS, **changes}), teacher=teacher())


@pytest.mark.parametrize("seeds", [[5, 6, 7, 8], [5, 5, 5, 5], [5, 6, 6, 6], [6, 5, 5, 6]], ids=str)
def test_seeds_may_be_shared_in_any_way(seeds):
    compare(OBJECTIVES, seeds=seeds, teacher=teacher())


def test_labels_alone_and_soft_targets_train_side_by_side():
    results = compare([HardLabels(), *OBJECTIVES[:3]], teacher=teacher())
    parts = [set(result.history[0].train) for result in results]
    assert parts == [{"total", "hard"}, {"total", "hard", "soft"}, {"total", "hard", "soft"}, {"total", "soft"}]


def test_one_objective_for_all_without_a_teacher():
    compare(HardLabels(), recipe=TrainConfig(**SETTINGS, label_smoothing=0.1))


def test_unlabelled_samples_have_a_soft_part_alone():
    few = images().without_labels(torch.arange(0, NUM_SAMPLES - 7))
    compare(OBJECTIVES, train=few, teacher=teacher())


def test_an_ensemble_is_pooled_at_each_networks_temperature():
    ensemble = EnsembleTeacher([ModuleTeacher(mlp(97)), ModuleTeacher(mlp(98))], weights=[1.0, 3.0])
    compare(OBJECTIVES, teacher=ensemble)


@pytest.mark.parametrize("own_seeds", [True, False])
def test_augmented_views_and_mixup_are_those_of_the_separate_run(own_seeds):
    views = Views(augmentations=augmentations_from(["jitter:1", "mixup:0.5"]), seed=3)
    each = [dataclasses.replace(views, seed=seed) for seed in SEEDS] if own_seeds else views
    members = EnsembleTeacher([ModuleTeacher(mlp(97)), ModuleTeacher(mlp(98))])
    compare(OBJECTIVES, views=each, teacher=members, train=images().without_labels(torch.arange(20)))


def test_units_stay_within_their_max_norm():
    results = compare(OBJECTIVES, make=lambda seed: mlp(seed, max_norm=0.6), teacher=teacher())
    norms = torch.stack([result.last_weights["features.linear1.weight"].norm(dim=1) for result in results])
    assert bool((norms > 0.599).any())
    assert bool((norms < 0.6001).all())


def test_any_module_without_randomness_can_be_stacked():
    recipe = TrainConfig(**{**SETTINGS, "learning_rate": 0.05}, ema_decay=0.9)
    compare(OBJECTIVES, make=convnet, teacher=teacher(), recipe=recipe)
    compare(OBJECTIVES[0], seeds=[1, 2, 3], make=convnet, teacher=teacher(), recipe=recipe)


def test_frozen_layers_stay():
    def frozen(seed):
        student = mlp(seed)
        student.features.linear1.requires_grad_(False)
        return student

    results = compare(HardLabels(), make=frozen)
    assert torch.equal(results[1].last_weights["features.linear1.weight"], mlp(1).features.linear1.weight)


def test_patience_stops_each_network_at_its_own_epoch():
    recipe = TrainConfig(num_epochs=12, batch_size=16, learning_rate=0.6, schedule="constant", patience_epochs=2)
    results = compare(OBJECTIVES, recipe=recipe, teacher=teacher())
    assert len({len(result.history) for result in results}) > 1


def test_steps_per_epoch_decides_when_networks_are_evaluated():
    results = compare(HardLabels(), steps_per_epoch=3)
    assert [record.step for record in results[0].history] == [3, 6, 9]


def test_without_validation_the_last_epoch_is_selected():
    results = compare(OBJECTIVES, teacher=teacher(), validation=None)
    assert [result.selected_epoch for result in results] == [3, 3, 3, 3]


@pytest.mark.parametrize("num_groups", [1, 2, 6])
def test_stacked_layers_equal_single_ones_and_so_do_their_gradients(num_groups):
    generator = torch.Generator().manual_seed(num_groups)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    inputs, weight, bias = drawn(num_groups, 5, 4), drawn(6, 3, 4), drawn(6, 3)
    outputs = stacked_linear(inputs, weight, bias)
    for k in range(6):
        alone = nn.functional.linear(inputs[k // (6 // num_groups)], weight[k], bias[k])
        assert_close(outputs[k], alone)
    assert torch.autograd.gradcheck(stacked_linear, (inputs, weight, bias))
    assert torch.autograd.gradcheck(lambda x, w: stacked_linear(x, w, None), (inputs, weight))


@pytest.mark.parametrize("num_groups", [1, 2, 6])
@pytest.mark.parametrize(
    "frozen", [[], ["x"], ["x", "W0", "b0"], ["x", "W0", "b0", "W1"], ["W2", "b2"], ["b0", "b1", "b2"]], ids=str
)
def test_layers_in_one_node_are_the_layers_one_by_one(num_groups, frozen):
    generator = torch.Generator().manual_seed(num_groups)
    shapes = {"x": (num_groups, 7, 4), "W0": (6, 5, 4), "W1": (6, 3, 5), "W2": (6, 2, 3)}
    shapes |= {"b0": (6, 5), "b1": (6, 3), "b2": (6, 2)}
    values = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}

    def plain(x, **weights):
        outputs = []
        for k in range(6):
            hidden = x[k // (6 // num_groups)]
            for layer in range(3):
                hidden = nn.functional.linear(hidden, weights[f"W{layer}"][k], weights[f"b{layer}"][k])
                hidden = hidden if layer == 1 else torch.relu(hidden)
            outputs.append(hidden)
        return torch.stack(outputs)

    def stacked(x, **weights):
        layers = [[weights[f"{kind}{layer}"] for layer in range(3)] for kind in "Wb"]
        return stacked_layers(x, *layers, has_relu=[True, False, True])

    found = []
    for function in (stacked, plain):
        leaves = {name: value.clone().requires_grad_(name not in frozen) for name, value in values.items()}
        outputs = function(**leaves)
        (outputs.sin().sum(dim=2) * torch.arange(6)[:, None]).sum().backward()
        found.append([outputs, *(leaf.grad for leaf in leaves.values())])
    for ours, theirs in zip(*found, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert_close(ours, theirs)


def test_no_network_depends_on_another():
    def trained(last):
        objectives = [*OBJECTIVES[:3], last]
        students = [mlp(k) for k in range(4)]
        recipe = TrainConfig(**SETTINGS, clip_norm=0.5)
        results = fit_stacked(
            students, images(), objectives, recipe=recipe, teacher=teacher(), seeds=SEEDS, runtime=CPU
        )
        return [result.last_weights for result in results]

    some, others = trained(OBJECTIVES[3]), trained(Distillation(temperature=20.0, soft_weight=30.0))
    for first, second in zip(some[:3], others[:3], strict=True):
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(some[3]["head.weight"], others[3]["head.weight"])


@pytest.mark.parametrize("make", [mlp, convnet])
def test_a_network_that_diverges_is_named(make):
    students = [make(k) for k in range(4)]
    next(students[2].parameters()).data.view(-1)[0] = float("nan")
    with pytest.raises(TrainingDiverged, match=r"student 2 \(seed 5.* at step 1 of 15") as raised:
        fit_stacked(
            students, images(), OBJECTIVES, recipe=TrainConfig(**SETTINGS), teacher=teacher(), seeds=SEEDS, runtime=CPU
        )
    assert all(f"student {k}" not in str(raised.value) for k in (0, 1, 3))


def test_networks_of_different_shapes_are_refused_with_the_first_difference():
    def refused(students, message):
        with pytest.raises(ModelError, match=message):
            fit_stacked(students, images(), HardLabels(), recipe=TrainConfig(**SETTINGS), seeds=range(3), runtime=CPU)

    wider = build("mlp:widths=12x9", input_shape=(1, 6, 6), num_classes=NUM_CLASSES, seed=0)
    refused([mlp(0), mlp(1), wider], r"student 0 has features.linear2 .*=8.*, student 2 has .*=9")
    refused([mlp(0), mlp(1, max_norm=2.0), mlp(2)], r"student 1 has features.linear1 .* with max_norm 2.0")
    refused([mlp(0), mlp(1), mlp(2).requires_grad_(False)], "frozen")
    same = mlp(0)
    refused([same, mlp(1), same], "share weights")
    refused([mlp(k, hidden_dropout=0.5) for k in range(3)], "dropout")
    refused([nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(36, 3)) for _ in range(3)], "batch norm")

    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(nn.functional.dropout(x.flatten(1), 0.5, training=True))

    refused([Noisy(36, 3) for _ in range(3)], "cannot be trained in a stack")


def test_counts_that_differ_are_refused():
    def refused(error, message, **changes):
        settings = {"objectives": OBJECTIVES[:2], "seeds": [0, 1], "teacher": teacher(), "runtime": CPU, **changes}
        with pytest.raises(error, match=message):
            fit_stacked([mlp(0), mlp(1)], images(), recipe=TrainConfig(**SETTINGS), **settings)

    refused(InvalidValue, "3 seeds for 2 students", seeds=[0, 1, 2])
    refused(InvalidValue, "3 objectives for 2 students", objectives=OBJECTIVES[:3])
    refused(InvalidValue, "1 views for 2 students", views=[Views()])
    refused(TeacherError, "needs a teacher", teacher=None)
    refused(InvalidValue, "more than the seed", views=[Views(), Views(augmentations_from(["flip"]))])
    refused(InvalidValue, "fp16", runtime=Runtime(torch.device("cpu"), "fp16"))


def test_the_loss_of_a_teacher_of_other_classes_is_refused():
    other = ModuleTeacher(nn.Sequential(nn.Flatten(), nn.Linear(36, 5)))
    with pytest.raises(ShapeMismatch, match="do not agree on the classes"):
        fit_stacked(
            [mlp(0), mlp(1)], images(), OBJECTIVES[1], recipe=TrainConfig(**SETTINGS), teacher=other, seeds=[0, 1],
            runtime=CPU,
        )  # fmt: skip


def test_bfloat16_networks_train_as_their_separate_runs():
    def errors(results):
        return [result.history[-1].train["hard"] for result in results]

    settings = {"recipe": TrainConfig(**SETTINGS), "runtime": Runtime(torch.device("cpu"), "bf16")}
    together = fit_stacked([mlp(0), mlp(1)], images(), HardLabels(), seeds=[0, 1], **settings)
    alone = [fit(mlp(k), images(), HardLabels(), seed=k, **settings) for k in range(2)]
    assert errors(together) == pytest.approx(errors(alone), rel=0.05)
    assert together[0].last_weights["head.weight"].dtype == torch.float32


def test_a_person_sees_means_over_the_networks():
    class Seen(Progress):
        def __init__(self):
            self.records, self.losses = [], []

        def begin(self, name, *, num_steps, done_steps):
            assert (num_steps, done_steps) == (15, 0)

        def advance(self, step, losses, *, samples_per_second, data_wait):
            self.losses.append(losses["hard"])

        def epoch(self, record):
            self.records.append(record)

        def end(self):
            pass

        def say(self, text):
            pass

    seen = Seen()
    students = [mlp(k) for k in range(2)]
    results = fit_stacked(
        students, images(), HardLabels(), recipe=TrainConfig(**SETTINGS), seeds=[0, 1], runtime=CPU, progress=seen
    )
    both = [sum(result.history[epoch].train["hard"] for result in results) / 2 for epoch in range(3)]
    assert [record.train["hard"] for record in seen.records] == pytest.approx(both)
    assert len(seen.losses) == 3
