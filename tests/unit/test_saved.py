"""A saved model comes back the same to the byte, or not at all."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from limbeck.errors import InvalidValue, ModelError, OutputError
from limbeck.models import build, fingerprint, load_model, save_model
from limbeck.records import sealed_text

SHAPE = (1, 8, 8)
CLASSES = [f"digit {number}" for number in range(10)]
NORMALISE = {"mean": [0.3], "std": [0.4]}


def trained(spec="convnet:channels=4x6"):
    network = build(spec, input_shape=SHAPE, num_classes=10, seed=0)
    network(torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1)))  # moves the running statistics
    return network


def save(folder, network=None, *, spec="convnet:channels=4x6", **others):
    arguments = {"input_shape": SHAPE, "class_names": CLASSES, "normalise": NORMALISE, **others}
    return save_model(folder, trained(spec) if network is None else network, spec=spec, **arguments)


def edit(folder, **changes):
    manifest = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(sealed_text({**manifest, **changes}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_model_comes_back_the_same(tmp_path, dtype):
    network = trained().to(dtype)
    printed = save(tmp_path / "deep" / "run", network, extra={"note": "kept"})
    back = load_model(tmp_path / "deep" / "run")
    assert back.fingerprint == printed == fingerprint(network) == fingerprint(back.module)
    assert (back.spec, back.input_shape, back.class_names) == ("convnet:channels=4x6", SHAPE, CLASSES)
    assert (back.normalise, back.role, back.extra) == (NORMALISE, "student", {"note": "kept"})
    assert not back.module.training
    inputs = torch.zeros(2, *SHAPE, dtype=dtype)
    with torch.no_grad():
        assert torch.equal(back.module(inputs), network.eval()(inputs))


def test_mixed_dtypes_come_back(tmp_path):
    network = trained()
    network.head.bfloat16()
    save(tmp_path, network)
    back = load_model(tmp_path).module
    assert back.head.weight.dtype == torch.bfloat16
    assert back.features[0].weight.dtype == torch.float32
    assert json.loads((tmp_path / "model.json").read_text())["dtype"] == "bfloat16, float32"


def test_the_manifest_explains_itself(tmp_path):
    save(tmp_path)
    manifest = json.loads((tmp_path / "model.json").read_text())
    assert (manifest["format"], manifest["version"]) == ("limbeck-model", 1)
    assert manifest["weights"]["num_bytes"] == (tmp_path / "student.safetensors").stat().st_size
    assert manifest["num_parameters"] == sum(p.numel() for p in trained().parameters())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "student.safetensors"]


def test_the_manifest_is_written_last(tmp_path, monkeypatch):
    save(tmp_path)

    def full_disk(path, content):
        raise OutputError("full")

    monkeypatch.setattr("limbeck.models.saved.write_bytes", full_disk)
    with pytest.raises(OutputError):
        save(tmp_path)
    assert not (tmp_path / "model.json").exists()
    with pytest.raises(ModelError, match="no saved model"):
        load_model(tmp_path)


def test_equal_models_give_equal_files(tmp_path):
    save(tmp_path / "one")
    save(tmp_path / "two")
    for name in ("student.safetensors", "model.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_role_names_the_file(tmp_path):
    save(tmp_path, role="member 1")
    assert (tmp_path / "member 1.safetensors").is_file()
    assert load_model(tmp_path).role == "member 1"
    with pytest.raises(InvalidValue, match="role"):
        save(tmp_path, role="../student")


class Tied(nn.Module):
    """Two names for one tensor."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 64, bias=False)
        self.second = nn.Linear(64, 64, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, 10)

    def forward(self, inputs):
        return self.head(self.second(self.first(inputs.flatten(1))))


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A working folder with tied_nets.py, which leaves a mark when it is imported."""
    folder = tmp_path / "work"
    folder.mkdir()
    source = "import pathlib\npathlib.Path('imported').touch()\n"
    source += "from torch import nn\n\ndef build(num_classes):\n    return nn.Sequential(nn.Flatten(), "
    source += "nn.Linear(64, num_classes))\n"
    (folder / "own_nets.py").write_text(source)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    sys.modules.pop("own_nets", None)


def test_tied_tensors_are_written_once_and_stay_tied(tmp_path):
    from limbeck.models import ModelFactory

    network = Tied().bfloat16()
    save(tmp_path, network, spec="Tied")
    assert sorted(load_file(tmp_path / "student.safetensors")) == ["first.weight", "head.bias", "head.weight"]
    back = load_model(tmp_path, factory=ModelFactory("here:Tied", Tied)).module
    assert back.first.weight is back.second.weight
    assert torch.equal(back.first.weight, network.first.weight)
    assert back.first.weight.dtype == torch.bfloat16


def test_views_of_one_tensor_are_written_whole(tmp_path):
    network = trained("mlp:widths=4")
    shared = torch.randn(20)
    network.features.linear1.bias.data, network.head.bias.data = shared[:4], shared[2:12]
    save(tmp_path, network, spec="mlp:widths=4")
    back = load_model(tmp_path).module
    assert torch.equal(back.features.linear1.bias, shared[:4])
    assert torch.equal(back.head.bias, shared[2:12])


def test_a_factory_in_the_file_is_not_imported(tmp_path, own_module):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    save(tmp_path / "run", network, spec="own_nets:build")
    with pytest.raises(ModelError, match="never run") as caught:
        load_model(tmp_path / "run")
    assert "--student own_nets:build" in caught.value.remedy
    assert "own_nets" not in sys.modules
    assert not (own_module / "imported").exists()
    back = load_model(tmp_path / "run", factory="own_nets:build")
    assert torch.equal(back.module[1].weight, network[1].weight)
    assert (own_module / "imported").exists()


def test_a_model_that_is_given_needs_its_factory(tmp_path):
    save(tmp_path, nn.Linear(3, 10), spec="MyNet")
    with pytest.raises(ModelError, match="not of the zoo"):
        load_model(tmp_path)


def test_other_layers_with_the_same_weights_are_noticed(tmp_path):
    from limbeck.models import ModelFactory

    save(tmp_path, nn.Sequential(nn.Linear(3, 10), nn.ReLU()), spec="MyNet")
    with pytest.raises(ModelError, match="not the one that was saved"):
        load_model(tmp_path, factory=ModelFactory("x:y", lambda: nn.Sequential(nn.Linear(3, 10), nn.Tanh())))


def test_a_changed_byte_is_noticed(tmp_path):
    save(tmp_path)
    path = tmp_path / "student.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"student\.safetensors is damaged") as caught:
        load_model(tmp_path)
    assert "SHA-256" in caught.value.received


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ModelError, match="no saved model"):
        load_model(tmp_path / "nowhere")
    save(tmp_path)
    (tmp_path / "student.safetensors").unlink()
    with pytest.raises(ModelError, match="Cannot read the weights"):
        load_model(tmp_path)


def test_a_manifest_that_is_no_json_is_damaged(tmp_path):
    save(tmp_path)
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text[: len(text) // 2])
    with pytest.raises(ModelError, match=r"model\.json is damaged"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ModelError, match=r"model\.json is damaged"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "another"}, "describes no saved model"),
        ({"version": 2}, "another version"),
        ({"spec": None}, "damaged"),
        ({"input_shape": ["1"]}, "damaged"),
        ({"class_names": [1, 2]}, "damaged"),
        ({"weights": {"file": "student.safetensors"}}, "damaged"),
        ({"weights": {"file": "../student.safetensors", "sha256": "0"}}, "damaged"),
        ({"class_names": CLASSES[:9]}, "do not fit the model"),
        ({"spec": "convnet:channels=4x7"}, "do not fit the model"),
        ({"fingerprint": "0" * 64}, "not the one that was saved"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(tmp_path, changes, said):
    save(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(ModelError, match=said):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "normalise",
    [{"mean": [0.1]}, {"mean": [0.1], "std": [0.0]}, {"mean": [0.1, 0.2], "std": [1.0]}, {"mean": [], "std": []}],
)
def test_means_and_deviations_must_go_together(tmp_path, normalise):
    with pytest.raises(InvalidValue, match="normalise"):
        save(tmp_path, normalise=normalise)
    assert not (tmp_path / "model.json").exists()


def test_no_normalisation_comes_back_as_none(tmp_path):
    save(tmp_path, normalise=None)
    assert load_model(tmp_path).normalise is None


def test_extra_must_fit_json(tmp_path):
    with pytest.raises(InvalidValue, match="extra"):
        save(tmp_path, extra={"tensor": torch.zeros(1)})


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        save(tmp_path / "file" / "run")


def test_a_digit_that_changed_is_refused_and_a_manifest_of_an_earlier_release_is_read(tmp_path):
    save(tmp_path)
    path = tmp_path / "model.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "normalise": {"mean": [0.25], "std": [0.5]}}))
    with pytest.raises(ModelError, match="damaged") as refused:
        load_model(tmp_path)
    assert "changed after it was written" in str(refused.value)
    seal = content.pop("sha256")
    path.write_text(json.dumps(content))
    assert load_model(tmp_path).fingerprint == content["fingerprint"]
    path.write_text(json.dumps({**content, "sha257": seal}))
    with pytest.raises(ModelError, match="damaged"):
        load_model(tmp_path)
