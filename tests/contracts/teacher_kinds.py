"""Every kind of teacher, made anew from a seed, for the contract table."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from limbeck.data import Samples
from limbeck.teachers import (
    EnsembleTeacher,
    FeatureTeacher,
    ShiftAveragedTeacher,
    SpecialistsTeacher,
    Teacher,
    as_teacher,
)
from limbeck.teachers.resolve import resolve_teacher

NUM_SAMPLES, NUM_CLASSES = 24, 3
CLASS_NAMES = ("ant", "bee", "cat")
SHAPE = (1, 6, 6)


def samples() -> Samples:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (NUM_SAMPLES, *SHAPE), dtype=torch.uint8, generator=draw)
    ids = torch.randperm(NUM_SAMPLES, generator=draw) * 3
    return Samples("toy", ids, inputs, torch.arange(NUM_SAMPLES) % NUM_CLASSES, CLASS_NAMES)


def network(seed: int = 0, *, num_classes: int = NUM_CLASSES) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, num_classes)
    )
    layers[1].running_mean.uniform_(-1, 1)
    return layers


class Output:
    """What a classifier of transformers returns, as far as anybody looks."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits


class WithLogits(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.inner = network(seed)

    def forward(self, x: torch.Tensor) -> Output:
        return Output(self.inner(x))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Other packages warn of themselves, and draw from the global random state."""
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        yield


def declare_torchvision() -> None:
    """Import torchvision, which timm and transformers use, where its compiled operators may be missing.

    The wheel for a GPU build of torch cannot load them beside a CPU build, and then needs two of their schemas.
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    with quiet():
        try:
            import torchvision
        except RuntimeError:
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "DEF")
            library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _LIBRARIES.append(library)  # it takes its definitions with it
            import torchvision  # noqa: F401


_LIBRARIES: list[torch.library.Library] = []


def import_timm() -> Any:
    """Return timm, or skip the test."""
    declare_torchvision()
    with quiet():
        return pytest.importorskip("timm", exc_type=ImportError)


def import_transformers() -> Any:
    """Return transformers, or skip the test."""
    declare_torchvision()
    with quiet():
        return pytest.importorskip("transformers", exc_type=ImportError)


def forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    data = samples()
    return RandomForestClassifier(5, max_depth=4, random_state=seed).fit(
        data.inputs.flatten(1).numpy(), data.labels.numpy()
    )


def exported(seed: int) -> torch.export.ExportedProgram:
    with quiet():
        batch = torch.export.Dim("batch")
        example, shapes = (torch.zeros(2, *SHAPE),), ({0: batch},)
        return torch.export.export(network(seed).eval(), example, dynamic_shapes=shapes, strict=False)


def onnx_file(seed: int, folder: Path, *, batch: int | None = None) -> Path:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    path = folder / f"net{seed}-{batch}.onnx"
    if not path.exists():
        with quiet():
            size = () if batch is not None else ({0: torch.export.Dim("batch")},)
            torch.onnx.export(
                network(seed).eval(),
                (torch.zeros(batch or 2, *SHAPE),),
                path,
                dynamo=True,
                dynamic_shapes=size or None,
                verbose=False,
            )
    return path


def transformer(seed: int, folder: Path) -> Path:
    transformers = import_transformers()
    path = folder / f"vit{seed}"
    if not path.exists():
        with quiet():
            torch.manual_seed(seed)
            config = transformers.ViTConfig(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=6,
                patch_size=3, num_channels=1, id2label=dict(enumerate(reversed(CLASS_NAMES))), initializer_range=0.5,
            )  # fmt: skip
            transformers.ViTForImageClassification(config).save_pretrained(path)
    return path


def resolved(spec: str) -> Teacher:
    with quiet():
        return resolve_teacher(spec, input_shape=SHAPE, num_classes=NUM_CLASSES, class_names=CLASS_NAMES)


def function(seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    module = network(seed).eval()
    return lambda inputs: module(inputs).detach()


def mean_pixels(seed: int) -> Callable[[torch.Tensor], Any]:
    def predict(raw: torch.Tensor) -> Any:
        assert raw.dtype == torch.uint8
        means = raw.float().mean(dim=(1, 2)).numpy()[:, :NUM_CLASSES] + seed
        return means / means.sum(axis=1, keepdims=True)

    return predict


def scripted(seed: int, *, frozen: bool = False) -> torch.jit.ScriptModule:
    with quiet():
        module = torch.jit.trace(network(seed).eval(), torch.zeros(2, *SHAPE))
        return torch.jit.freeze(module) if frozen else module


def timm_network(seed: int, folder: Path) -> Teacher:
    import safetensors.torch

    timm = import_timm()
    path = folder / f"timm{seed}.safetensors"
    if not path.exists():
        with quiet():
            torch.manual_seed(seed)
            net = timm.create_model("test_vit", img_size=32, num_classes=NUM_CLASSES, in_chans=1)
        safetensors.torch.save_file(net.state_dict(), path)
    with quiet():
        net = timm.create_model("test_vit", img_size=32, num_classes=NUM_CLASSES, in_chans=1)
    net.load_state_dict(safetensors.torch.load_file(path))
    return as_teacher(net, transform=nn.Upsample(size=(32, 32)))


def specialists(seed: int) -> Teacher:
    return SpecialistsTeacher(network(seed), [network(seed + 10)], class_sets=[[0, 1]])


@dataclass(frozen=True)
class Kind:
    """How to make one kind of teacher of a seed; files go to a folder."""

    make: Callable[[int, Path], Teacher]
    runs: bool = True
    knows_other_views: bool = True  # reads its inputs
    has_modules: bool = True


def _matrix(seed: int, outputs: str) -> Teacher:
    logits = torch.randn(NUM_SAMPLES, NUM_CLASSES, generator=torch.Generator().manual_seed(seed))
    matrix = {"logits": logits, "log_probs": logits.log_softmax(1), "probs": logits.softmax(1)}[outputs]
    return as_teacher(matrix, ids=samples().ids, outputs=outputs)


def _bfloat16(seed: int) -> Teacher:
    return as_teacher(network(seed), dtype=torch.bfloat16, name="half")


BLACK_BOX: dict[str, Any] = {"has_modules": False}
KINDS: dict[str, Kind] = {
    "module": Kind(lambda s, f: as_teacher(network(s))),
    "own device and batch": Kind(lambda s, f: as_teacher(network(s), device="cpu", batch_size=3)),
    "own transform": Kind(lambda s, f: as_teacher(network(s), transform=nn.ReflectionPad2d(0))),
    "own dtype": Kind(lambda s, f: _bfloat16(s)),
    "softmax inside": Kind(lambda s, f: as_teacher(nn.Sequential(network(s), nn.Softmax(1)), outputs="probs")),
    "output with .logits": Kind(lambda s, f: as_teacher(WithLogits(s))),
    "compiled": Kind(lambda s, f: as_teacher(torch.compile(network(s), backend="eager"))),
    "data parallel": Kind(lambda s, f: as_teacher(nn.DataParallel(network(s)))),
    "scripted": Kind(lambda s, f: as_teacher(scripted(s))),
    "frozen script": Kind(lambda s, f: as_teacher(scripted(s, frozen=True))),
    "exported": Kind(lambda s, f: as_teacher(exported(s))),
    "timm": Kind(timm_network),
    "transformers": Kind(lambda s, f: resolved(f"hf:{transformer(s, f)}")),
    "onnx": Kind(lambda s, f: as_teacher(onnx_file(s, f)), **BLACK_BOX),
    "onnx of a fixed batch": Kind(lambda s, f: as_teacher(onnx_file(s, f, batch=5)), **BLACK_BOX),
    "forest": Kind(lambda s, f: as_teacher(forest(s)), **BLACK_BOX),
    "function": Kind(lambda s, f: as_teacher(function(s), outputs="logits", name="f", version=str(s)), **BLACK_BOX),
    "function of raw samples": Kind(
        lambda s, f: as_teacher(mean_pixels(s), outputs="probs", name="g", version=str(s), raw=True), **BLACK_BOX
    ),
    "features": Kind(lambda s, f: FeatureTeacher(network(s), ["2"])),
    "shift averaged": Kind(lambda s, f: ShiftAveragedTeacher(as_teacher(network(s)), max_shift_pixels=1)),
    "specialists": Kind(lambda s, f: specialists(s)),
    "ensemble": Kind(lambda s, f: EnsembleTeacher([as_teacher(network(s)), as_teacher(network(s + 5))])),
    "logits by id": Kind(lambda s, f: _matrix(s, "logits"), runs=False, knows_other_views=False, has_modules=False),
    "log-probs by id": Kind(
        lambda s, f: _matrix(s, "log_probs"), runs=False, knows_other_views=False, has_modules=False
    ),
    "probs by id": Kind(lambda s, f: _matrix(s, "probs"), runs=False, knows_other_views=False, has_modules=False),
}
