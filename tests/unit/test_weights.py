"""Fingerprints tell models apart and nothing else; weights load whole or not at all."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from limbeck.errors import ModelError
from limbeck.models import buffers_fingerprint, build, fingerprint, load_weights, unwrap

TASK = {"input_shape": (1, 8, 8), "num_classes": 10}


def small(seed=0):
    return build("convnet:channels=4x6", **TASK, seed=seed)


def same_state(first, second):
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class Tied(nn.Module):
    """Two names for one tensor."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight


def test_equal_models_have_equal_fingerprints():
    assert fingerprint(small()) == fingerprint(small())
    assert fingerprint(small()) == fingerprint(copy.deepcopy(small()))


def test_what_does_not_change_the_function_does_not_change_the_fingerprint():
    network = small()
    before = fingerprint(network)
    network.eval().requires_grad_(False)
    assert fingerprint(network) == before
    network.to(memory_format=torch.channels_last)
    assert not network.features[4].weight.is_contiguous()
    assert fingerprint(network) == before
    assert fingerprint(nn.DataParallel(network)) == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_is_the_model():
    network = small()
    compiled = torch.compile(network, backend="eager")
    assert unwrap(compiled) is network
    assert fingerprint(compiled) == fingerprint(network)
    assert buffers_fingerprint(compiled) == buffers_fingerprint(network)


@pytest.mark.parametrize(
    "change",
    [
        lambda network: network.head.bias.data.view(-1)[3].add_(1e-6),
        lambda network: network.features[1].running_mean[0].add_(1e-6),
        lambda network: network.bfloat16(),
        lambda network: network.features.__setitem__(2, nn.GELU()),
        lambda network: network.features.__setitem__(3, nn.MaxPool2d(2, ceil_mode=True)),
    ],
    ids=["a weight", "a buffer", "dtype", "class of a layer without weights", "setting of a layer without weights"],
)
def test_every_change_of_the_function_changes_the_fingerprint(change):
    network = small()
    before = fingerprint(network)
    with torch.no_grad():
        change(network)
    assert fingerprint(network) != before


def test_shape_and_dtype_are_part_of_the_fingerprint_even_where_bytes_agree():
    def holding(tensor):
        module = nn.Module()
        module.register_buffer("values", tensor)
        return fingerprint(module)

    zeros = torch.zeros(4)
    prints = {holding(zeros), holding(zeros.reshape(2, 2)), holding(torch.zeros(4, dtype=torch.int32))}
    assert len(prints) == 3


def test_odd_tensors_have_fingerprints():
    module = nn.Module()
    module.register_buffer("scalar", torch.tensor(1.5, dtype=torch.bfloat16))
    module.register_buffer("empty", torch.empty(0, 3))
    module.register_buffer("flags", torch.tensor([True, False]))
    module.register_buffer("strided", torch.arange(6.0).reshape(2, 3).t())
    before = fingerprint(module)
    module.strided = module.strided.contiguous()
    assert fingerprint(module) == before
    module.scalar = torch.tensor(1.25, dtype=torch.bfloat16)
    assert fingerprint(module) != before


def test_addresses_in_a_layers_settings_do_not_matter():
    class Named(nn.Module):
        def extra_repr(self):
            return f"activation={object()}"

    assert fingerprint(Named()) == fingerprint(Named())


def test_a_model_without_weights_yet_is_refused():
    with pytest.raises(ModelError, match="meta device"):
        fingerprint(nn.Linear(2, 2, device="meta"))


def test_buffers_fingerprint_sees_drift_and_not_training():
    network = small().eval()
    before = buffers_fingerprint(network)
    inputs = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network(inputs)
    with torch.no_grad():
        network.head.weight.add_(1)
    assert buffers_fingerprint(network) == before
    network.train()(inputs)
    assert buffers_fingerprint(network) != before


@pytest.mark.parametrize("nest", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_state_dicts_load_from_their_usual_places(tmp_path, nest, prefix):
    source, target = small(0), small(1)
    state = {prefix + name: value for name, value in source.state_dict().items()}
    torch.save({nest: state, "epoch": 3} if nest else state, tmp_path / "weights.pt")
    load_weights(target, tmp_path / "weights.pt")
    assert same_state(source, target)


def test_legacy_torch_files_load(tmp_path):
    source, target = small(0), small(1)
    torch.save(source.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    load_weights(target, str(tmp_path / "old.pt"))
    assert same_state(source, target)


def test_content_tells_the_format_whatever_the_suffix(tmp_path):
    source, target = small(0), small(1)
    save_file(source.state_dict(), tmp_path / "weights.bin")
    load_weights(target, tmp_path / "weights.bin")
    assert same_state(source, target)


def test_values_take_the_models_dtype(tmp_path):
    source, target = small(0), small(1)
    save_file(copy.deepcopy(source).half().state_dict(), tmp_path / "half.safetensors")
    load_weights(target, tmp_path / "half.safetensors")
    assert target.head.weight.dtype == torch.float32
    assert torch.equal(target.head.weight, source.head.weight.half().float())


def test_a_compiled_submodule_loads_into_a_plain_one(tmp_path):
    source, target = small(0), small(1)
    state = {name.replace("features.", "features._orig_mod."): v for name, v in source.state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    load_weights(target, tmp_path / "weights.pt")
    assert same_state(source, target)


def test_a_model_whose_own_names_begin_with_module_loads(tmp_path):
    source, target = (nn.Sequential() for _ in range(2))
    source.add_module("module", nn.Linear(2, 2))
    target.add_module("module", nn.Linear(2, 2))
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    load_weights(target, tmp_path / "weights.pt")
    assert same_state(source, target)


def test_a_tied_tensor_need_come_only_once(tmp_path):
    source, target = Tied(), Tied()
    state = source.state_dict()
    del state["second.weight"]
    torch.save(state, tmp_path / "weights.pt")
    load_weights(target, tmp_path / "weights.pt")
    assert same_state(source, target)
    assert target.first.weight is target.second.weight


def test_batch_counters_may_be_missing_as_in_old_files(tmp_path):
    source, target = small(0), small(1)
    state = {name: v for name, v in source.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "old.safetensors")
    load_weights(target, tmp_path / "old.safetensors")
    assert same_state(source, target)


def test_a_mismatch_lists_names_and_shapes_and_leaves_the_model_alone(tmp_path):
    state = small(0).state_dict()
    state["head.weight"] = torch.zeros(5, 6)
    state["extra.weight"] = torch.zeros(1)
    del state["features.0.weight"]
    torch.save(state, tmp_path / "weights.pt")
    target, before = small(1), small(1)
    with pytest.raises(ModelError, match="do not fit") as caught:
        load_weights(target, tmp_path / "weights.pt")
    received = caught.value.received
    assert "1 missing: features.0.weight" in received
    assert "1 unexpected: extra.weight" in received
    assert "head.weight: (5, 6) in the file, (10, 6) in the model" in received
    assert same_state(target, before)


def test_a_long_mismatch_is_shortened(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelError) as caught:
        load_weights(build("resnet20", **TASK), tmp_path / "weights.pt")
    assert " more" in caught.value.received
    assert len(caught.value.received) < 500


@pytest.mark.parametrize(
    "content",
    [b"", b"not weights at all", b"PK\x03\x04 half a zip", b"\x08\x00\x00\x00\x00\x00\x00\x00{}}}}}}}", b"\x00" * 64],
    ids=["empty", "text", "zip", "safetensors", "zeros"],
)
def test_damaged_files_say_so(tmp_path, content):
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ModelError, match="damaged or holds no weights") as caught:
        load_weights(small(), tmp_path / "weights.pt")
    assert caught.value.received


def test_a_file_cut_short_says_so(tmp_path):
    save_file(small().state_dict(), tmp_path / "whole.safetensors")
    torch.save(small().state_dict(), tmp_path / "whole.pt")
    for name in ("whole.safetensors", "whole.pt"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ModelError, match="damaged"):
            load_weights(small(), tmp_path / name)


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], {}, {"epoch": 3}, {"model": {"lr": 0.1}}])
def test_files_without_a_state_dict_say_so(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="holds no state dict"):
        load_weights(small(), tmp_path / "weights.pt")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ModelError, match="Cannot read"):
        load_weights(small(), tmp_path / "nowhere.pt")
    with pytest.raises(ModelError, match="Cannot read"):
        load_weights(small(), tmp_path)
