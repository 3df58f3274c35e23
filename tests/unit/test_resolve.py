"""Specs read back what they write; factories are imported only when named, and fail with plain words."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from limbeck.errors import InvalidValue, ModelError, UnknownName
from limbeck.models import ZOO, ModelSpec, build, is_factory_path, load_factory
from limbeck.models.spec import settings_of

TASK = {"input_shape": (1, 8, 8), "num_classes": 10}

finite = st.floats(allow_nan=False, allow_infinity=False)
widths = st.lists(st.integers(-5, 10**9), max_size=5).map(tuple)
VALUES = {
    "widths": widths,
    "channels": widths,
    "input_dropout": finite,
    "hidden_dropout": finite,
    "dropout": finite,
    "width": finite,
    "max_norm": st.none() | finite,
    "depth": st.integers(-(10**9), 10**9),
    "num_pools": st.integers(-5, 10**9),
    "stem": st.none() | st.integers(-5, 10**9),
    "shortcut": st.sampled_from(["pad", "project"]),
}


@st.composite
def specs(draw):
    name = draw(st.sampled_from(sorted(ZOO)))
    settings = sorted(settings_of(name))
    keys = draw(st.lists(st.sampled_from(settings), unique=True)) if settings else []
    return ModelSpec(name, {key: draw(VALUES[key]) for key in keys})


def plain(value):
    return list(value) if isinstance(value, tuple) else value


@given(specs())
def test_text_reads_back_to_an_equal_spec(spec):
    again = ModelSpec.parse(str(spec))
    assert again == spec
    assert {key: type(value) for key, value in again.arguments.items()} == {
        key: type(value) for key, value in spec.arguments.items()
    }
    assert hash(again) == hash(spec)


@given(specs())
def test_mapping_reads_back_to_an_equal_spec(spec):
    mapping = {"name": spec.name, **{key: plain(value) for key, value in spec.arguments.items()}}
    assert ModelSpec.from_mapping(mapping) == spec


def test_text_and_mapping_give_the_same_spec():
    parsed = ModelSpec.parse(" mlp : widths=800x800 , hidden_dropout=0.5,max_norm=none ")
    mapped = ModelSpec.from_mapping({"name": "mlp", "widths": [800, 800], "hidden_dropout": 0.5, "max_norm": None})
    assert parsed == mapped
    assert str(parsed) == "mlp:widths=800x800,hidden_dropout=0.5,max_norm=none"


def test_values_take_the_settings_type():
    spec = ModelSpec.from_mapping({"name": "mlp", "widths": 30, "hidden_dropout": 0, "max_norm": "1e-3"})
    assert spec.arguments == {"widths": (30,), "hidden_dropout": 0.0, "max_norm": 0.001}
    assert isinstance(spec.arguments["hidden_dropout"], float)


def test_no_hidden_layer_is_written_none():
    spec = ModelSpec("mlp", {"widths": []})
    assert str(spec) == "mlp:widths=none"
    assert build(spec, **TASK).head.in_features == 64


def test_build_uses_the_settings():
    network = build(ModelSpec.parse("convnet:channels=16x24"), **TASK)
    assert [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)] == [16, 24]
    assert build("resnet:depth=8,width=2,shortcut=project", **TASK).layer3[0].conv1.out_channels == 128


def test_a_seed_decides_the_weights_and_leaves_the_global_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (build("mlp:widths=4", **TASK, seed=seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.rand(3), expected)


def test_unknown_network_lists_near_ones():
    with pytest.raises(UnknownName) as caught:
        ModelSpec.parse("resnet21")
    assert "resnet20" in caught.value.remedy
    assert "package.module:factory" in caught.value.remedy


def test_unknown_setting_lists_near_ones():
    with pytest.raises(UnknownName, match="hiden_dropout") as caught:
        ModelSpec.parse("mlp:hiden_dropout=0.5")
    assert "did you mean hidden_dropout" in caught.value.remedy
    with pytest.raises(UnknownName) as caught:
        ModelSpec.from_mapping({"name": "mlp", "num_classes": 3})
    assert "comes from the data" in caught.value.remedy


@pytest.mark.parametrize(
    "text", ["mlp:", "mlp:widths", "mlp:widths=", "mlp:=3", "mlp:widths=30,", "mlp:widths=30,widths=40", "mlp:,"]
)
def test_text_outside_the_grammar_is_refused(text):
    with pytest.raises(InvalidValue, match=r"model spec") as caught:
        ModelSpec.parse(text)
    assert caught.value.received == text


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"name": "mlp", "widths": "30y30"}, "whole numbers"),
        ({"name": "mlp", "widths": [30, 2.5]}, "whole numbers"),
        ({"name": "mlp", "widths": [True]}, "whole numbers"),
        ({"name": "mlp", "widths": {"a": 1}}, "whole numbers"),
        ({"name": "mlp", "hidden_dropout": "half"}, "a finite number"),
        ({"name": "mlp", "hidden_dropout": True}, "a finite number"),
        ({"name": "mlp", "hidden_dropout": None}, "a finite number"),
        ({"name": "mlp", "hidden_dropout": 10**400}, "a finite number"),
        ({"name": "mlp", "max_norm": "nan"}, "a finite number, or none"),
        ({"name": "resnet", "depth": 20.0}, "a whole number"),
        ({"name": "resnet", "depth": "9" * 5000}, "a whole number"),
        ({"name": "resnet", "shortcut": "conv"}, "one of pad, project"),
        ({"name": "resnet", "shortcut": ["pad"]}, "one of pad, project"),
        ({"widths": [30]}, "name"),
        ({"name": 3}, "name"),
    ],
)
def test_wrong_types_say_what_is_expected(mapping, expected):
    with pytest.raises(InvalidValue) as caught:
        ModelSpec.from_mapping(mapping)
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("nets:build", True),
        ("my.package.nets:Net.small", True),
        ("mlp", False),
        ("mlp:widths=3", False),
        ("a b:c", False),
        ("nets:", False),
        (":build", False),
        ("nets:build()", False),
        ("nets:build\n", False),
        ("../nets:build", False),
        ("C:/models", False),
    ],
)
def test_is_factory_path(text, is_path):
    assert is_factory_path(text) is is_path


MODULE = """
import torch
from torch import nn

def both(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], num_classes))

def classes_only(*, num_classes=3):
    return nn.Linear(4, num_classes)

def anything(**settings):
    return nn.Linear(len(settings["input_shape"]), settings["num_classes"])

def nothing():
    return nn.Linear(1, 1)

def needs_more(num_classes, secret):
    return nn.Linear(1, 1)

def raises():
    raise RuntimeError("no such weights")

def gives_text():
    return "a model"

class Net(nn.Linear):
    def __init__(self, num_classes):
        super().__init__(2, num_classes)

    @classmethod
    def wide(cls, num_classes):
        return nn.Linear(99, num_classes)

built = nn.Linear(1, 1)
number = 3
"""


@pytest.fixture
def own_modules(tmp_path, monkeypatch):
    """A working folder with modules of the user's; what is imported from it is forgotten afterwards."""
    (tmp_path / "my_nets.py").write_text(MODULE)
    (tmp_path / "my_broken.py").write_text("import math\nmath.nonsense\n")
    (tmp_path / "my_needy.py").write_text("import a_package_that_is_missing\n")
    (tmp_path / "my_quitter.py").write_text("raise SystemExit('not today')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    for name in ("my_nets", "my_broken", "my_needy", "my_quitter"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("both", (10, 64)),
        ("classes_only", (10, 4)),
        ("anything", (10, 3)),
        ("nothing", (1, 1)),
        ("Net", (10, 2)),
        ("Net.wide", (10, 99)),
    ],
)
def test_a_factory_gets_what_it_accepts(own_modules, name, shape):
    network = load_factory(f"my_nets:{name}")(**TASK)
    linear = network if isinstance(network, nn.Linear) else network[1]
    assert linear.weight.shape == shape


def test_a_factory_draws_its_weights_from_the_seed(own_modules):
    factory = load_factory("my_nets:both")
    first, second = (factory(**TASK, seed=1)[1].weight for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("path", "fact", "detail"),
    [
        ("my_nest:both", "no module named my_nest", "python"),
        ("my_nets.deeper:both", "no module named my_nets.deeper", "python"),
        ("my_nets:bothh", "has no attribute 'bothh'", "did you mean both"),
        ("my_nets:built", "not a factory", "built already"),
        ("my_nets:number", "not a factory", "int"),
        ("my_broken:net", "Importing my_broken failed", "AttributeError: module 'math' has no attribute 'nonsense'"),
        ("my_broken:net", "Importing my_broken failed", "my_broken.py, line 2"),
        ("my_needy:net", "Importing my_needy failed", "No module named 'a_package_that_is_missing'"),
        ("my_quitter:net", "Importing my_quitter failed", "not today"),
        ("mlp:widths=3", "no factory's path", "package.module:factory"),
    ],
)
def test_what_cannot_be_imported_says_why(own_modules, path, fact, detail):
    with pytest.raises(ModelError, match=fact) as caught:
        load_factory(path)
    assert detail.lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("name", "fact", "received"),
    [
        ("needs_more", "needs arguments", "secret"),
        ("raises", "failed", "RuntimeError: no such weights (my_nets.py"),
        ("gives_text", "did not build a model", "str"),
    ],
)
def test_what_does_not_build_a_model_says_why(own_modules, name, fact, received):
    with pytest.raises(ModelError, match=fact) as caught:
        load_factory(f"my_nets:{name}")(**TASK)
    assert received in caught.value.received


def test_the_working_folder_is_searched_first_as_python_m_does(own_modules):
    load_factory("my_nets:both")
    assert sys.path[0] == str(own_modules)
    load_factory("my_nets:both")
    assert sys.path.count(str(own_modules)) == 1


def test_a_folder_that_is_not_there_is_no_misspelt_model():
    with pytest.raises(UnknownName, match="There is no folder runs/nothing") as caught:
        settings_of("runs/nothing")
    assert "see that the path is right" in caught.value.remedy
