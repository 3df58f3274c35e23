"""One clip on the page: its three streams as pictures, and what each network says of it, segment by segment."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.data import Samples
from limbeck.data.normalise import to_float
from limbeck.distillation.experiment import Experiment
from limbeck.inputs import named_tensors
from limbeck.reproduction import Figure, Series, Strip

SHOWN = {"iframe": "I-frame", "motion": "motion: to the right in red, down in green", "residual": "residual"}


def show_clip(experiment: Experiment, networks: Mapping[str, nn.Module], *, seed: int) -> None:
    """Draw one test clip, and each network's probability of its class where it is shown one segment alone.

    Args:
        experiment: whose test clips have been read; the first clip is shown.
        networks: by name, each takes the streams of clips: each stream's, and the fused one.
        seed: of the networks.
    """
    samples = experiment.data.test
    raw = dict(named_tensors(samples.fetch(torch.tensor([0]))))
    num_segments = next(iter(raw.values())).shape[1]
    for name, network in networks.items():
        for segment, value in enumerate(_answers(network, raw, int(samples.labels[0]), num_segments), start=1):
            experiment.results.observe(f"clip_{name}_{segment}", seed, "clip_probability", value, "fraction")
    places = [str(segment) for segment in range(1, num_segments + 1)]
    experiment.results.draw(
        Figure(
            kind="curves",
            title=f"One clip: {_class_of(samples)}",
            how_to_read="Each segment is shown alone; above, what each stream sees of it.",
            quantity="clip_probability",
            value_label="probability of the clip's class (%)",
            places=places,
            place_label="segment",
            series=[Series(name, [f"clip_{name}_{place}" for place in places]) for name in networks],
            strips=[Strip(SHOWN[name], _png(name, raw[name][0])) for name in SHOWN],
        )
    )


def _class_of(samples: Samples) -> str:
    return samples.class_names[int(samples.labels[0])]


def _answers(network: nn.Module, raw: Mapping[str, Tensor], label: int, num_segments: int) -> list[float]:
    found = []
    for segment in range(num_segments):
        shown = dict(
            named_tensors(to_float({name: part[:, segment : segment + 1] for name, part in raw.items()}, None))
        )
        with torch.no_grad():
            logits = network.to("cpu").eval()(**shown)
        found.append(float(torch.softmax(logits.float(), dim=1)[0, label]))
    return found


def _png(name: str, pictures: Tensor) -> str:
    """Return segments side by side as base64 of a PNG: RGB, vectors as colours around grey, residuals around grey."""
    from PIL import Image

    values = pictures.numpy().astype(np.int16)  # (segments, channels, height, width)
    if name == "motion":
        values = np.concatenate([2 * values + 128, np.full_like(values[:, :1], 128)], axis=1)
    elif name == "residual":
        values = values + 128
    pixels = np.clip(values, 0, 255).astype(np.uint8).transpose(2, 0, 3, 1)  # (height, segments, width, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels.reshape(pixels.shape[0], -1, 3)).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
