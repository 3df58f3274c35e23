"""Trap 24: a checkpoint read with pickle runs whatever it contains; a config that names code runs it. And wrappers."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import limbeck
from limbeck.errors import LimbeckError, ModelError
from limbeck.models import ModelSpec, build, load_model, load_weights, save_model


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


def write_zip(content, path):
    torch.save(content, path)


def write_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_pickle(content, path):
    path.write_bytes(pickle.dumps(content))


def write_old_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [write_zip, write_legacy, write_pickle, write_old_pickle])
@pytest.mark.parametrize("suffix", ["pt", "pth", "safetensors"])
@pytest.mark.parametrize("place", ["alone", "beside weights"])
def test_trap_24_a_checkpoint_runs_nothing(tmp_path, write, suffix, place):
    mark = tmp_path / "ran"
    network = nn.Linear(2, 2)
    content = Trap(mark) if place == "alone" else {"state_dict": network.state_dict(), "args": Trap(mark)}
    path = tmp_path / f"weights.{suffix}"
    write(content, path)
    with pytest.raises(ModelError, match="would run code") as caught:
        load_weights(network, path)
    assert not mark.exists()
    assert "state_dict()" in caught.value.remedy


def test_trap_24_the_trap_would_have_run(tmp_path):
    # The oracle for the test above: read without care, the same file makes the folder.
    write_zip(Trap(tmp_path / "ran"), tmp_path / "weights.pt")
    torch.load(tmp_path / "weights.pt", weights_only=False)
    assert (tmp_path / "ran").exists()


def test_trap_24_a_whole_model_pickled_is_refused_and_named(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ModelError, match="would run code") as caught:
        load_weights(nn.Linear(2, 2), tmp_path / "model.pt")
    assert "torch.nn.modules.linear.Linear" in caught.value.received


@pytest.mark.parametrize("name", ["os:getcwd", "os.getcwd", "trap_24_module:build", "torch.nn.Linear"])
def test_trap_24_a_spec_names_no_code(tmp_path, monkeypatch, name):
    (tmp_path / "trap_24_module.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for attempt in (
        lambda: ModelSpec.parse(name),
        lambda: ModelSpec.from_mapping({"name": name}),
        lambda: build(name, input_shape=(2,), num_classes=2),
    ):
        with pytest.raises(LimbeckError):
            attempt()
    assert "trap_24_module" not in sys.modules


@pytest.mark.parametrize("spec", ["trap_24_module:build", "os:getcwd", "trap_24_module.build"])
def test_trap_24_a_saved_model_names_no_code(tmp_path, monkeypatch, spec):
    (tmp_path / "trap_24_module.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    save_model(tmp_path / "run", nn.Linear(2, 2), spec=spec, input_shape=(2,), class_names=["a", "b"], normalise=None)
    with pytest.raises(ModelError, match="never run"):
        load_model(tmp_path / "run")
    assert "trap_24_module" not in sys.modules


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, partial(torch.compile, backend="eager")], ids=["parallel", "compiled"]
)
def test_trap_32_a_wrapped_student_is_trained_measured_and_saved(tmp_path, wrap):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(80, 5, generator=generator)
    labels = (inputs[:, 0] > 0).long()
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    settings = {
        "seeds": 1,
        "progress": "silent",
        "recipe": limbeck.TrainConfig(num_epochs=3, batch_size=16, ema_decay=0.9),
    }
    teacher = nn.Linear(5, 2)
    wrapped = limbeck.distill(
        wrap(copy.deepcopy(plain)), [wrap(teacher)], (inputs, labels), out=tmp_path / "wrapped", **settings
    )
    bare = limbeck.distill(plain, [teacher], (inputs, labels), **settings)
    for quantity in ("errors", "nll"):
        one, other = (
            run.record.values("distilled", quantity, split="test", weights="selected") for run in (wrapped, bare)
        )
        assert one == pytest.approx(other)
    saved = load_file(tmp_path / "wrapped" / "student.safetensors")
    assert set(saved) == set(plain.state_dict())
