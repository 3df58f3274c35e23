"""A generalist and its specialists are one teacher: live, stored, and through the whole job."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import limbeck
from limbeck.calibration import dustbin_offset
from limbeck.data import Normalise, Samples, Views
from limbeck.errors import InvalidValue, LimbeckError, ShapeMismatch, TeacherError, UnknownName
from limbeck.pooling import active_specialists, combine_specialists
from limbeck.targets import DenseTargets, TargetStore
from limbeck.teachers import (
    EnsembleTeacher,
    ModuleTeacher,
    SpecialistsTeacher,
    collect,
    collect_logits,
    store_teacher,
    verify_store,
)
from limbeck.training import TrainConfig

CLASSES = ("ant", "bee", "cat", "dog", "elk")
SETS = [["bee", "ant"], ["cat", "dog", "ant"]]
NUMBERS = [[1, 0], [2, 3, 0]]
VIEWS = Views((), Normalise((0.5,), (0.25,)), seed=4)


def network(num_outputs: int, *, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, num_outputs)
    )


def committee(*, seed: int = 0, **changes: object) -> SpecialistsTeacher:
    parts = {
        "generalist": network(5, seed=seed),
        "specialists": [network(3, seed=1), network(4, seed=2)],
        "class_sets": SETS,
        "class_names": CLASSES,
        **changes,
    }
    return SpecialistsTeacher(parts.pop("generalist"), parts.pop("specialists"), **parts)


def images(count: int = 23, *, class_names: tuple[str, ...] = CLASSES) -> Samples:
    inputs = torch.randint(0, 256, (count, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Samples("toy", torch.arange(count), inputs, torch.arange(count) % 5, class_names)


INPUTS = VIEWS.batch(images(), torch.arange(23), view=None).inputs
IDS = torch.arange(23)


def test_outputs_are_the_combination_at_temperature_one() -> None:
    teacher = committee()
    with torch.no_grad():
        general, *special = (module.eval()(INPUTS) for module in teacher.modules)
    assert active_specialists(general, NUMBERS).sum(dim=1).unique().numel() > 1, "images concern different specialists"
    expected = combine_specialists(general, special, NUMBERS)
    output = teacher(IDS, INPUTS)
    assert isinstance(output, DenseTargets)
    for temperature in (1.0, 8.0):
        assert_close(output.logits_at(temperature), expected)
    assert_close(expected.exp().sum(dim=1), torch.ones(23))
    assert (expected - torch.log_softmax(general, dim=1)).abs().max() > 0.1, "specialists have a say"


def test_parts_are_frozen_and_asleep_and_watched() -> None:
    teacher = committee()
    assert len(teacher.modules) == 3
    assert not any(module.training for module in teacher.modules)
    assert not teacher(IDS, INPUTS).logits_at(1.0).requires_grad
    teacher.check_unchanged()
    with torch.no_grad():
        teacher.modules[2][1].weight.add_(1.0)
    with pytest.raises(TeacherError, match="changed while it taught"):
        teacher.check_unchanged()


def test_offsets_are_added_to_the_dustbins() -> None:
    offset = dustbin_offset(special_prior=0.1)
    moved = committee(dustbin_offsets=[0.0, offset])
    specialist = network(4, seed=2)
    with torch.no_grad():
        specialist[-1].bias[-1] += offset
    baked = committee(specialists=[network(3, seed=1), specialist])
    assert_close(moved(IDS, INPUTS).logits_at(1.0), baked(IDS, INPUTS).logits_at(1.0))
    assert (moved(IDS, INPUTS).logits_at(1.0) - committee()(IDS, INPUTS).logits_at(1.0)).abs().max() > 0.01


def test_the_fingerprint_is_of_everything_that_decides_the_answers() -> None:
    others = [
        committee(seed=5),
        committee(specialists=[network(3, seed=1), network(4, seed=3)]),
        committee(class_sets=[["ant", "bee"], SETS[1]]),
        committee(dustbin_offsets=[0.0, 1.0]),
        committee(num_top_classes=2),
        committee(method="gradient"),
    ]
    assert committee().fingerprint == committee().fingerprint == committee(class_sets=NUMBERS).fingerprint
    assert len({committee().fingerprint, *(other.fingerprint for other in others)}) == 7


def test_says_what_it_is() -> None:
    teacher = committee()
    assert teacher.name == "generalist and 2 specialists"
    assert (teacher.reads_inputs, teacher.num_views, teacher.num_classes) == (True, None, 5)
    assert committee(name="committee").name == "committee"


def test_settings_reach_the_combination() -> None:
    everyone = committee(num_top_classes=5)
    with torch.no_grad():
        general, *special = (module(INPUTS) for module in everyone.modules)
    expected = combine_specialists(general, special, NUMBERS, num_top_classes=5)
    assert_close(everyone(IDS, INPUTS).logits_at(1.0), expected)
    with pytest.raises(LimbeckError, match="did not converge in 1 iterations"):
        committee(num_top_classes=5, max_iterations=1)(IDS, INPUTS)


def test_collected_into_a_store_and_read_back(tmp_path) -> None:
    teacher = committee()
    store = collect(teacher, images(), VIEWS, tmp_path, codec="dense16", batch_size=5)
    assert store is not None
    stored = store_teacher(TargetStore.open(tmp_path, samples=images(), views=VIEWS))
    order = torch.tensor([20, 3, 11])
    for temperature in (1.0, 4.0):
        live = torch.softmax(teacher(order, INPUTS[order]).logits_at(temperature) / temperature, dim=1)
        kept = torch.softmax(stored(order, INPUTS[order]).logits_at(temperature) / temperature, dim=1)
        assert_close(kept, live, rtol=2e-3, atol=1e-4)
    assert verify_store(store, teacher, images(), VIEWS, batch_size=7) < 1e-3
    with pytest.raises(LimbeckError, match="other teacher"):
        verify_store(store, committee(num_top_classes=2), images(), VIEWS)


def test_collected_in_memory() -> None:
    teacher = committee()
    collected = collect_logits(teacher, images(), VIEWS, batch_size=4)
    assert (collected.fingerprint, collected.reads_inputs) == (teacher.fingerprint, False)
    order = torch.tensor([7, 0, 22])
    assert_close(collected(order, INPUTS[order]).logits_at(2.0), teacher(order, INPUTS[order]).logits_at(2.0))


def test_one_of_an_ensemble() -> None:
    teacher = EnsembleTeacher([committee(), ModuleTeacher(network(5, seed=9))])
    assert teacher(IDS, INPUTS).logits_at(2.0).shape == (23, 5)


def test_the_whole_job(tmp_path) -> None:
    splits = limbeck.load_data("digits")
    torch.manual_seed(0)
    general, special = (nn.Sequential(nn.Flatten(), nn.Linear(64, count)) for count in (10, 3))
    sets = [["3", "8"]]
    for folder in (None, tmp_path / "run"):
        teacher = SpecialistsTeacher(
            copy.deepcopy(general), [copy.deepcopy(special)], class_sets=sets, class_names=splits.train.class_names
        )
        result = limbeck.distill(
            "mlp:widths=8",
            [teacher],
            splits,
            temperature=2.0,
            recipe=TrainConfig(num_epochs=1, batch_size=128),
            seeds=[0],
            out=folder,
            progress="silent",
        )
        assert result.record.networks[0].name == "generalist and 1 specialist"
        assert {"teacher", "distilled"} <= set(result.record.roles())


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"specialists": [], "class_sets": []}, TeacherError, "0 specialists"),
        ({"class_sets": SETS[:1]}, TeacherError, "2 specialists, 1 class sets"),
        ({"dustbin_offsets": [0.0]}, TeacherError, "1 offsets"),
        ({"dustbin_offsets": [0.0, float("nan")]}, InvalidValue, "finite"),
        ({"class_sets": [["bee", "ant"], ["catt"]]}, UnknownName, "did you mean cat"),
        ({"class_sets": [["bee"], list(CLASSES)]}, InvalidValue, "every class"),
        ({"method": "fixed"}, UnknownName, "did you mean fixed_point"),
        ({"generalist": "mlp"}, TeacherError, "no teacher"),
    ],
)
def test_committees_that_cannot_be(changes: dict[str, object], kind: type[LimbeckError], words: str) -> None:
    with pytest.raises(kind) as caught:
        committee(**changes)
    assert words in str(caught.value)


def test_networks_of_other_classes_are_refused_on_the_first_batch() -> None:
    with pytest.raises(ShapeMismatch, match="specialist 0 do not fit its classes"):
        committee(specialists=[network(4, seed=1), network(4, seed=2)])(IDS, INPUTS)
    with pytest.raises(TeacherError, match="other classes than were named"):
        committee(generalist=network(6, seed=0))(IDS, INPUTS)
    with pytest.raises(InvalidValue, match="0 to 4"):
        committee(class_names=None, class_sets=[[1, 0], [2, 3, 5]])(IDS, INPUTS)


def test_data_of_other_class_names_are_refused(tmp_path) -> None:
    turned = images(class_names=tuple(reversed(CLASSES)))
    with pytest.raises(TeacherError, match="are not the data's"):
        collect(committee(), turned, VIEWS, tmp_path)
    nameless = Samples("toy", IDS, INPUTS, torch.full((23,), -1), ())
    committee().check_fits(nameless, VIEWS)
