"""Every kind of teacher keeps the same contract."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from limbeck.data import Normalise, Views, augmentations_from
from limbeck.errors import TeacherError
from limbeck.models import buffers_fingerprint, evaluating
from limbeck.models.fixed import FixedNetwork
from limbeck.targets import TargetStore
from limbeck.teachers import StoreTeacher, Teacher, collect, collect_logits


def _kinds():
    path = Path(__file__).with_name("teacher_kinds.py")
    spec = importlib.util.spec_from_file_location("teacher_kinds", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


kinds = _kinds()
VIEWS = Views(normalise=Normalise((0.4,), (0.25,)))
AUGMENTED = Views(augmentations_from(["jitter:1"]), Normalise((0.4,), (0.25,)), seed=3)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("teachers")


@pytest.fixture(params=sorted(kinds.KINDS))
def kind(request):
    return kinds.KINDS[request.param]


def made(kind, folder: Path, *, seed: int = 0) -> Teacher:
    teacher = kind.make(seed, folder)
    teacher.check_fits(kinds.samples(), VIEWS)
    return teacher


def ask(teacher: Teacher, rows: slice = slice(None), *, views: Views = VIEWS, view: int | None = None):
    data = kinds.samples()
    batch = views.batch(data, torch.arange(len(data))[rows], view=view)
    return teacher(batch.ids, batch.inputs, view=view)


def probs(teacher: Teacher, *arguments, **settings) -> torch.Tensor:
    return ask(teacher, *arguments, **settings).logits_at(2.0).float().div(2.0).softmax(dim=1)


def test_it_is_awake_nowhere_frozen_and_gives_no_gradient(kind, folder):
    teacher = made(kind, folder)
    targets = ask(teacher)
    assert not targets.logits_at(1.0).requires_grad
    assert bool(teacher.modules) == kind.has_modules
    for module in teacher.modules:
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert not module.training
        if not isinstance(module, FixedNetwork):
            assert not any(child.training for child in module.modules())


def test_nothing_inside_changes_and_it_says_the_same_twice(kind, folder):
    teacher = made(kind, folder)
    plain = [module for module in teacher.modules if not isinstance(module, torch.jit.ScriptModule)]
    before = [buffers_fingerprint(module) for module in plain]
    first = probs(teacher)
    with torch.enable_grad():
        assert torch.equal(probs(teacher), first)
    assert [buffers_fingerprint(module) for module in plain] == before
    teacher.check_unchanged()


def test_its_fingerprint_is_stable_and_tells_weights_apart(kind, folder):
    one, same, other = made(kind, folder), made(kind, folder), made(kind, folder, seed=1)
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != other.fingerprint
    assert not torch.allclose(probs(one), probs(other))


def test_it_knows_the_data_s_classes(kind, folder):
    teacher = made(kind, folder)
    assert ask(teacher).logits_at(1.0).shape == (kinds.NUM_SAMPLES, kinds.NUM_CLASSES)
    assert teacher.num_classes == kinds.NUM_CLASSES


def test_it_says_the_same_in_any_batch_size(kind, folder):
    teacher = made(kind, folder)
    whole = probs(teacher)
    for size in (1, 5, 7):
        parts = [probs(teacher, slice(start, start + size)) for start in range(0, kinds.NUM_SAMPLES, size)]
        tolerance = 2e-2 if teacher.name == "half" else 1e-5
        assert_close(torch.cat(parts), whole, atol=tolerance, rtol=0)


def test_it_answers_the_view_it_is_shown_or_refuses_it(kind, folder):
    teacher = made(kind, folder)
    assert teacher.reads_inputs == kind.knows_other_views
    if not kind.knows_other_views:
        with pytest.raises(TeacherError, match="clean view only"):
            teacher.check_fits(kinds.samples(), AUGMENTED)
        return
    teacher.check_fits(kinds.samples(), AUGMENTED)
    clean, shown = probs(teacher), probs(teacher, views=AUGMENTED, view=1)
    assert not torch.allclose(clean, shown)
    assert torch.equal(probs(teacher, views=AUGMENTED, view=1), shown)


def test_what_puts_networks_in_eval_mode_may_touch_it(kind, folder):
    teacher = made(kind, folder)
    before = probs(teacher)
    for module in teacher.modules:
        with evaluating(module):
            module.eval()
        module.to("cpu")
    assert torch.equal(probs(teacher), before)


@pytest.mark.parametrize("where", ["memory", "store"])
def test_what_is_collected_is_what_it_says(kind, folder, tmp_path, where):
    teacher, data = made(kind, folder), kinds.samples()
    live = probs(teacher)
    if where == "memory":
        collected = collect_logits(teacher, data, VIEWS, batch_size=5)
        assert collected.fingerprint == teacher.fingerprint
    else:
        assert collect(teacher, data, VIEWS, tmp_path / "store", codec="dense16", batch_size=5) is not None
        store = TargetStore.open(tmp_path / "store", samples=data, views=VIEWS)
        collected = teacher.pooled([StoreTeacher(store, member=member) for member in range(store.num_members)])
    assert teacher.runs == kind.runs
    assert not collected.runs
    assert collected.modules == ()
    tolerance = 2e-2 if teacher.name == "half" else 5e-3 if where == "store" else 1e-5
    assert_close(probs(collected), live, atol=tolerance, rtol=0)
    order = slice(None, None, 3)
    assert_close(probs(collected, order), live[order], atol=tolerance, rtol=0)


def test_a_weight_that_is_written_is_found_out(kind, folder):
    teacher = made(kind, folder)
    ask(teacher)
    tensors = [parameter for module in teacher.modules for parameter in module.parameters()]
    if not tensors:
        pytest.skip("no weight that can be reached")
    with torch.no_grad():
        tensors[-1].add_(1.0)
    with pytest.raises(TeacherError, match="changed"):
        teacher.check_unchanged()
    with pytest.raises(TeacherError, match="changed"):
        ask(teacher)


def test_the_package_of_teachers_has_no_circle():
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("limbeck", cache_dir=None)
    modules = [module for module in graph.modules if module.startswith("limbeck.teachers.")]
    for importer in modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            if imported in modules:
                assert not graph.chain_exists(importer=imported, imported=importer), f"{importer} and {imported}"
    contract = graph.find_modules_directly_imported_by("limbeck.teachers.teacher")
    assert not any(module.startswith("limbeck.teachers") for module in contract)
