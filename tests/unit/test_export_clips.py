"""``export`` of a network fused of several streams: one file that takes stored streams and gives the fused logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import limbeck
from limbeck.data import ClipInputs, Samples, Splits
from limbeck.models import build_on_key, fingerprint, fuse, load_model, save_model

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
SIZE, SEGMENTS = 8, 2


@pytest.fixture(scope="module")
def clips():
    draw = torch.Generator().manual_seed(0)
    shape = (12, SEGMENTS, 1)
    streams = {
        "iframe": torch.randint(0, 256, (*shape, 3, SIZE, SIZE), generator=draw).to(torch.uint8),
        "motion": torch.randint(-127, 128, (*shape, 2, SIZE, SIZE), generator=draw).to(torch.int8),
        "residual": torch.randint(-127, 128, (*shape, 3, SIZE, SIZE), generator=draw).to(torch.int8),
    }
    source = ClipInputs(streams, [str(number) for number in range(12)], settings="")
    return Samples("clips", torch.arange(12), source, torch.arange(12) % 3, ("slides", "turns", "grows"))


@pytest.fixture(scope="module")
def fused(clips):
    shapes = clips.input_shapes
    specs = [f"on:{key}:convnet:channels=4x8" for key in shapes]
    torch.manual_seed(0)
    members = [
        build_on_key(spec, input_shape=shape, num_classes=3) for spec, shape in zip(specs, shapes.values(), strict=True)
    ]
    streams = {name: torch.rand(8, *shape) for name, shape in shapes.items()}
    for member in members:
        member.train()(**streams)  # moves the running statistics
    return fuse(members, weights=[2, 1, 0.5], pooling="geometric", specs=specs)


def by_hand(fused, raw):
    """Every stream scaled, each picture through its network, the mean over time, the weighted sum of logits."""
    total = 0
    for member, weight in zip(fused.networks, fused.weights, strict=True):
        pictures = raw[member.key].float() / (255 if member.key == "iframe" else 128)
        inner = member.network
        logits = torch.stack([inner.network(inner.scale(pictures[:, time])) for time in range(SEGMENTS)]).mean(0)
        total = total + weight * logits.log_softmax(1)
    return total.log_softmax(1)


def test_a_fused_network_is_one_file_on_stored_streams(tmp_path, clips, fused):
    save_model(
        tmp_path / "fused", fused, spec="fused", input_shape=clips.input_shape, class_names=clips.class_names,
        normalise=None,
    )  # fmt: skip
    saved = load_model(tmp_path / "fused")
    record = limbeck.export(
        saved, Splits(clips, clips, clips, name="clips"), out=tmp_path / "onnx", precision=["float32", "float16"],
        max_lost=1.0,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(tmp_path / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
    given = {one.name: (one.type, one.shape) for one in session.get_inputs()}
    assert given == {
        "iframe": ("tensor(uint8)", ["batch", SEGMENTS, 3, SIZE, SIZE]),
        "motion": ("tensor(int8)", ["batch", SEGMENTS, 2, SIZE, SIZE]),
        "residual": ("tensor(int8)", ["batch", SEGMENTS, 3, SIZE, SIZE]),
    }
    raw = clips.fetch(torch.arange(12))
    with torch.no_grad():
        expected = by_hand(fused, raw).numpy()
    for count in (12, 1):
        (logits,) = session.run(None, {name: part[:count].numpy() for name, part in raw.items()})
        np.testing.assert_allclose(logits, expected[:count], atol=1e-5)
    assert [file.precision for file in record.files] == ["float32", "float16"]
    assert record.fingerprint == fingerprint(fused)
    assert record.files[0].num_changed_predictions == 0
    assert record.files[1].num_bytes < record.files[0].num_bytes
