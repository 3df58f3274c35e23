"""The streaming student: a small network of a shorter context, and its time for a second of speech."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck.data import Context
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.errors import InvalidValue
from limbeck.jobs import Job, job_key
from limbeck.jobs.work import make
from limbeck.models import ModelFactory, build
from limbeck.recipes.speech_data import SpeechTask
from limbeck.recipes.speech_words import WordScorer
from limbeck.records import read_sealed_json, sealed_text, write_text
from limbeck.speech import DecodingScales

MEASURED_FRAMES = 2_000
FILE = "real-time.json"
FORMAT, VERSION = "limbeck-real-time", 1


class CroppedContext(nn.Module):
    """A network that sees the middle of a window.

    Args:
        network: maps windows (batch, end - start, coefficients) to logits.
        start: first frame of the window that it sees.
        end: first frame after those.
    """

    def __init__(self, network: nn.Module, start: int, end: int) -> None:
        super().__init__()
        self.network, self.start, self.end = network, start, end

    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits of windows (batch, frames, coefficients), shape (batch, states)."""
        logits: Tensor = self.network(windows[:, self.start : self.end])
        return logits


def streaming_network(widths: Sequence[int], context: Context, *, before: int, after: int) -> ModelFactory:
    """Return a builder of fully connected networks that see fewer frames of each window.

    Args:
        widths: units of each layer.
        context: of the windows.
        before: frames before the classified one that the network sees.
        after: frames after it.
    Raises:
        InvalidValue: more than the windows hold.
    """
    if not (0 <= before <= context.before and 0 <= after <= context.after):
        raise InvalidValue(
            "A student's context is a part of its samples'.",
            received=f"{before} before, {after} after",
            expected=f"at most {context.before} before, {context.after} after",
        )
    start, end = context.before - before, context.before + 1 + after
    spec = "mlp:widths=" + "x".join(map(str, widths))
    return ModelFactory(f"{spec}, frames {start} to {end - 1}", partial(_build, spec, start, end))


def _build(spec: str, start: int, end: int, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    network = build(spec, input_shape=(end - start, *input_shape[1:]), num_classes=num_classes)
    return CroppedContext(network, start, end)


def note_real_time(experiment: Experiment, task: SpeechTask, network: TrainedNetwork, language: str) -> None:
    """Note how long a network takes for a second of speech on one core, one frame at a time, and the search for words.

    Measured once for a network and a machine's folder, and found again.
    """
    root = experiment.cache.folder
    assert root is not None, "recipes keep what they measure"
    assert network.folder is not None, "recipes keep their networks"
    key = job_key({"meaning": "1", "network": network.folder.name, "language": language})
    job = Job("real-time", key, partial(_measure, task=task, network=network, language=language))
    make(job, root)
    keys = ("network", "search", "threads")
    found = read_sealed_json(job.place(root) / FILE, format_name=FORMAT, version=VERSION, unsealed=keys)
    experiment.results.note(
        f"The streaming student takes {1000 * found['network']:.1f} ms for a second of speech, frame by frame, and the "
        f"search {1000 * found['search']:.1f} ms: a real-time factor of {found['network'] + found['search']:.3f} "
        f"({found['threads']} thread(s); features not counted)."
    )


def _measure(folder: Path, *, task: SpeechTask, network: TrainedNetwork, language: str) -> None:
    windows = task.development.fetch(torch.arange(min(MEASURED_FRAMES, len(task.development))))
    assert isinstance(windows, Tensor), "windows are one tensor"
    module = network.module.cpu().float().eval()
    seconds = len(windows) / task.corpus.frames_per_second
    with torch.inference_mode():
        module(windows[:1])
        start = time.perf_counter()
        logits = torch.cat([module(window) for window in torch.split(windows, 1)])
        forward = (time.perf_counter() - start) / seconds
    decoder = WordScorer(task, language).decoder(DecodingScales())
    scores = torch.log_softmax(logits, dim=1).numpy() - task.aligned.log_priors
    start = time.perf_counter()
    decoder.decode({"one": scores})
    search = (time.perf_counter() - start) / seconds
    facts = {"network": forward, "search": search, "threads": torch.get_num_threads()}
    write_text(folder / FILE, sealed_text({"format": FORMAT, "version": VERSION, **facts}))
