"""Teachers keep their contract: eval, frozen, no gradient, unchanged; or they say so."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.data import Views, as_samples
from limbeck.errors import InvalidValue, ModelError, ShapeMismatch, TeacherError, UnknownName
from limbeck.targets import DenseTargets
from limbeck.teachers import (
    EnsembleTeacher,
    LogitsTeacher,
    ModuleTeacher,
    PooledTargets,
    ShiftAveragedTeacher,
    Teacher,
    as_teacher,
    collect_logits,
    gives_logits,
)


def network(*, seed: int = 0, num_classes: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, num_classes))


def inputs(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(1))


IDS = torch.arange(5)


def test_outputs_in_eval_mode_without_gradient():
    module = network()
    expected = module.eval()(inputs()).detach()
    module.train()
    logits = ModuleTeacher(module)(IDS, inputs()).logits_at(4.0)
    assert_close(logits, expected)
    assert not logits.requires_grad


def test_a_module_that_returns_something_else_is_named():
    class Other(nn.Module):
        def __init__(self, returned: object) -> None:
            super().__init__()
            self.returned = returned

        def forward(self, x: torch.Tensor) -> object:
            return self.returned

    with pytest.raises(ModelError, match="No logits were found"):
        ModuleTeacher(Other("cat"))(IDS, inputs())
    for shape in ((5,), (4, 3), (5, 3, 2, 2)):
        with pytest.raises(TeacherError, match="matrix of logits"):
            ModuleTeacher(Other(torch.zeros(shape)))(IDS, inputs())
    pair = (torch.zeros(5, 2), torch.ones(5, 3))
    assert_close(ModuleTeacher(Other(pair), logits=1)(IDS, inputs()).logits, pair[1])


def test_nan_weights_and_nan_outputs_are_refused():
    module = network()
    with torch.no_grad():
        module[0].weight[0, 0] = float("nan")
    with pytest.raises(TeacherError, match=r"0\.weight holds NaN"):
        ModuleTeacher(module)
    bad = inputs()
    bad[3] = float("nan")
    with pytest.raises(TeacherError, match="sample id 3"):
        ModuleTeacher(network())(IDS, bad)


def test_logits_whose_sum_overflows_are_still_finite():
    large = torch.full((len(IDS), 3), 3e38)
    assert torch.equal(ModuleTeacher(nn.Identity())(IDS, large).logits_at(1.0), large)
    large[2, 1] = -math.inf
    with pytest.raises(TeacherError, match="sample id 2"):
        ModuleTeacher(nn.Identity())(IDS, large)


def test_fingerprint_tells_teachers_apart():
    assert ModuleTeacher(network(seed=0)).fingerprint == ModuleTeacher(network(seed=0)).fingerprint
    assert ModuleTeacher(network(seed=0)).fingerprint != ModuleTeacher(network(seed=1)).fingerprint


def test_arithmetic_ensemble_is_the_weighted_mean_of_tempered_distributions():
    teachers = [ModuleTeacher(network(seed=seed)) for seed in range(3)]
    weights = [1.0, 2.0, 0.0]
    ensemble = EnsembleTeacher(teachers, weights=weights, pooling="arithmetic")
    for temperature in (1.0, 4.0):
        singles = [torch.softmax(t(IDS, inputs()).logits_at(temperature) / temperature, dim=1) for t in teachers]
        expected = (1.0 * singles[0] + 2.0 * singles[1]) / 3.0
        pooled = torch.softmax(ensemble(IDS, inputs()).logits_at(temperature) / temperature, dim=1)
        assert_close(pooled, expected)


def test_geometric_ensemble_is_the_mean_of_logits():
    teachers = [ModuleTeacher(network(seed=seed)) for seed in range(2)]
    ensemble = EnsembleTeacher(teachers, pooling="geometric")
    mean = sum(t(IDS, inputs()).logits_at(1.0) for t in teachers) / 2
    for temperature in (1.0, 4.0):
        pooled = torch.softmax(ensemble(IDS, inputs()).logits_at(temperature) / temperature, dim=1)
        assert_close(pooled, torch.softmax(mean / temperature, dim=1))


def test_ensembles_that_cannot_be_are_refused():
    teachers = [ModuleTeacher(network(seed=seed)) for seed in range(2)]
    with pytest.raises(TeacherError, match="needs teachers"):
        EnsembleTeacher([])
    with pytest.raises(TeacherError, match="3 weights for 2 teachers"):
        EnsembleTeacher(teachers, weights=[1, 1, 1])
    with pytest.raises(InvalidValue, match="negative"):
        EnsembleTeacher(teachers, weights=[1, -1])
    with pytest.raises(TeacherError, match="weights are 0"):
        EnsembleTeacher(teachers, weights=[0, 0])
    with pytest.raises(UnknownName, match="did you mean arithmetic"):
        EnsembleTeacher(teachers, pooling="arithmetik")
    other = EnsembleTeacher([teachers[0], ModuleTeacher(network(num_classes=4))])
    with pytest.raises(ShapeMismatch, match="3, 4"):
        other(IDS, inputs()).logits_at(1.0)


def test_stored_logits_are_found_by_id_in_any_order():
    logits = torch.arange(15.0).reshape(5, 3)
    ids = torch.tensor([40, 10, 30, 20, 50])
    teacher = LogitsTeacher(logits, ids=ids)
    asked = torch.tensor([10, 50, 40, 10])
    assert_close(teacher(asked, asked).logits_at(2.0), logits[[1, 4, 0, 1]])


def test_stored_logits_without_an_id_are_refused():
    teacher = LogitsTeacher(torch.zeros(2, 3), ids=torch.tensor([5, 7]))
    for missing in (4, 6, 8):
        with pytest.raises(TeacherError, match=f"first {missing}"):
            teacher(torch.tensor([5, missing]), torch.zeros(2))
    with pytest.raises(TeacherError, match="twice"):
        LogitsTeacher(torch.zeros(2, 3), ids=torch.tensor([5, 5]))
    with pytest.raises(TeacherError, match="sample id 1"):
        LogitsTeacher(torch.tensor([[0.0, 1.0], [0.0, float("nan")]]))
    with pytest.raises(ShapeMismatch):
        LogitsTeacher(torch.zeros(2, 3), ids=torch.tensor([1, 2, 3]))


def test_collected_outputs_are_the_live_ones_at_every_temperature():
    samples = as_samples((inputs(), torch.tensor([0, 1, 2, 0, 1])))
    ensemble = EnsembleTeacher([ModuleTeacher(network(seed=s)) for s in range(2)], weights=[1, 3])
    collected = collect_logits(ensemble, samples, Views(), batch_size=2)
    assert collected.fingerprint == ensemble.fingerprint
    assert not collected.reads_inputs
    order = torch.tensor([3, 0, 4])
    for temperature in (1.0, 8.0):
        live = ensemble(samples.ids[order], inputs()[order]).logits_at(temperature)
        assert_close(collected(samples.ids[order], inputs()[order]).logits_at(temperature), live)


def test_an_ensemble_of_ensembles_is_kept_by_member_and_pooled_as_before():
    samples = as_samples((inputs(), torch.tensor([0, 1, 2, 0, 1])))
    one, two, three = (ModuleTeacher(network(seed=seed)) for seed in range(3))
    nested = EnsembleTeacher([EnsembleTeacher([one, two], weights=[1, 3]), three], pooling="geometric")
    collected = collect_logits(nested, samples, Views())
    assert [member.name for member in collected.members] == [member.name for member in nested.members]
    assert (collected.fingerprint, collected.runs, collected.modules) == (nested.fingerprint, False, ())
    for temperature in (1.0, 8.0):
        live = nested(samples.ids, inputs()).logits_at(temperature)
        assert_close(collected(samples.ids, inputs()).logits_at(temperature), live)


def test_only_what_runs_is_collected():
    samples = as_samples((inputs(), torch.tensor([0, 1, 2, 0, 1])))
    ready = LogitsTeacher(torch.randn(5, 3))
    mixed = EnsembleTeacher([ModuleTeacher(network()), ready])
    assert mixed.runs
    assert not mixed.reads_inputs
    collected = collect_logits(mixed, samples, Views())
    assert collected.members[1] is ready
    assert not collected.runs
    assert collect_logits(ready, samples, Views()) is ready


def test_soft_targets_of_one_temperature_are_not_collected():
    class Sharpening(Teacher):
        name = fingerprint = "sharpening"

        def __call__(self, ids, inputs, *, view=None):
            return PooledTargets((DenseTargets(inputs), DenseTargets(2 * inputs)), None, "arithmetic")

    samples = as_samples((inputs(), torch.tensor([0, 1, 2, 0, 1])))
    assert gives_logits(ModuleTeacher(network()), samples, Views())
    assert not gives_logits(Sharpening(), samples, Views())
    with pytest.raises(TeacherError, match="cannot be stored"):
        collect_logits(Sharpening(), samples, Views())


def test_black_box_probabilities_become_logits():
    probs = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    assert_close(torch.softmax(DenseTargets.from_probs(probs).logits_at(1.0), dim=1), probs)
    with pytest.raises(InvalidValue, match="row sums"):
        DenseTargets.from_probs(2 * probs)
    with pytest.raises(ShapeMismatch):
        DenseTargets(torch.zeros(3))


def test_as_teacher_takes_modules_and_tensors_and_nothing_else():
    assert isinstance(as_teacher(network()), ModuleTeacher)
    assert isinstance(as_teacher(torch.zeros(2, 3)), LogitsTeacher)
    teacher = ModuleTeacher(network())
    assert as_teacher(teacher) is teacher
    with pytest.raises(TeacherError, match="str"):
        as_teacher("resnet20")


def images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 1, 4, 5, generator=torch.Generator().manual_seed(2))


def shift_sensitive(seed: int = 0) -> ModuleTeacher:
    torch.manual_seed(seed)
    return ModuleTeacher(nn.Sequential(nn.Flatten(), nn.Linear(20, 3)))


def moved(image: torch.Tensor, down: int, right: int, fill: float) -> torch.Tensor:
    """Return a (4, 5) image moved, pixel by pixel."""
    result = torch.full((4, 5), fill)
    for row in range(4):
        for column in range(5):
            if 0 <= row - down < 4 and 0 <= column - right < 5:
                result[row, column] = image[row - down, column - right]
    return result


@pytest.mark.parametrize("pooling", ["geometric", "arithmetic"])
@pytest.mark.parametrize("fill", [0.0, -0.4])
def test_outputs_averaged_over_shifts_are_the_mean_over_all_of_them(pooling, fill):
    teacher, temperature, pictures = shift_sensitive(), 2.0, images()
    averaged = ShiftAveragedTeacher(teacher, max_shift_pixels=1, pooling=pooling, fill=fill)
    collected_targets = averaged(torch.arange(3), pictures).logits_at(temperature)
    for picture, logits in zip(pictures, collected_targets, strict=True):
        one = [
            teacher(torch.arange(1), moved(picture[0], down, right, fill)[None, None]).logits_at(temperature)[0]
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
        ]
        if pooling == "geometric":
            expected = torch.stack(one).mean(dim=0).softmax(dim=0)
        else:
            expected = torch.stack([(z / temperature).softmax(dim=0) for z in one]).mean(dim=0)
            logits = logits / temperature
        assert_close(logits.softmax(dim=0), expected)


@pytest.mark.parametrize("pooling", ["geometric", "arithmetic"])
@pytest.mark.parametrize("num_members", [1, 2])
def test_averaging_over_shifts_is_collected_once_for_every_place(pooling, num_members):
    calls = []
    members = [shift_sensitive(seed) for seed in range(num_members)]
    for member in members:
        member.modules[0].register_forward_hook(lambda module, given, output: calls.append(len(given[0])))
    inner = members[0] if num_members == 1 else EnsembleTeacher(members)
    averaged = ShiftAveragedTeacher(inner, max_shift_pixels=1, pooling=pooling)
    samples = as_samples((images(), torch.tensor([0, 1, 2])))
    expected = {t: averaged(samples.ids, images()).logits_at(t) for t in (1.0, 4.0)}
    calls.clear()
    collected = collect_logits(averaged, samples, Views())
    assert calls == [3] * 9 * num_members
    for temperature, logits in expected.items():
        assert_close(collected(samples.ids, images()).logits_at(temperature), logits)
    assert len(calls) == 9 * num_members, "nothing runs any more"
    assert collected.fingerprint == averaged.fingerprint


def test_averaging_over_shifts_is_part_of_the_fingerprint_and_keeps_the_contract():
    teacher = shift_sensitive()
    kinds = [ShiftAveragedTeacher(teacher, max_shift_pixels=1), ShiftAveragedTeacher(teacher, max_shift_pixels=2)]
    kinds += [ShiftAveragedTeacher(teacher, max_shift_pixels=1, pooling="arithmetic")]
    assert len({teacher.fingerprint, *(kind.fingerprint for kind in kinds)}) == 4
    assert kinds[0].fingerprint == ShiftAveragedTeacher(shift_sensitive(), max_shift_pixels=1).fingerprint
    assert kinds[0].modules == teacher.modules
    with torch.no_grad():
        teacher.modules[0][1].weight.add_(1)
    with pytest.raises(TeacherError):
        kinds[0].check_unchanged()


def test_what_cannot_be_averaged_over_shifts_is_refused():
    with pytest.raises(TeacherError, match="moved"):
        ShiftAveragedTeacher(LogitsTeacher(torch.zeros(3, 2)), max_shift_pixels=1)
    with pytest.raises(InvalidValue, match="above 0"):
        ShiftAveragedTeacher(shift_sensitive(), max_shift_pixels=0)
    with pytest.raises(UnknownName):
        ShiftAveragedTeacher(shift_sensitive(), max_shift_pixels=1, pooling="median")
    with pytest.raises(ShapeMismatch, match="images"):
        ShiftAveragedTeacher(ModuleTeacher(network()), max_shift_pixels=1)(IDS, inputs())
