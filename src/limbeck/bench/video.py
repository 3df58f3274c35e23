"""Clips read as they are coded, against decoding all frames; and a training epoch on cached streams and targets."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bench.timing import interleaved, machine_facts, reached, seconds_by_way
from limbeck.data import ClipInputs, Samples, SegmentSettings, Views
from limbeck.data.video.encoding import write_clip
from limbeck.data.video.following import Converter
from limbeck.data.video.reading import import_av, read_clip
from limbeck.data.video.segments import STREAMS, chosen_frames, read_segments
from limbeck.errors import require_positive
from limbeck.memory import set_malloc_thresholds
from limbeck.models import build_on_key
from limbeck.objectives import Distillation
from limbeck.teachers import ModuleTeacher, Teacher, collect, store_teacher
from limbeck.training import Runtime, TrainConfig, fit

FLOOR, EPOCH_FLOOR, FLOW, ALL_FLOW = "decode", "bare epoch", "decode, three flows", "decode, every flow"
HEIGHT, WIDTH, NUM_FRAMES, NUM_SEGMENTS = 240, 320, 75, 3
NUM_CLASSES, BATCH_SIZE, SIDE = 10, 32, 32
TARGETS = {"three segments": 1.6, "every frame": 1.6, "stored epoch": 1.05}
SPEED_TARGET = 3.0  # clips a second, over decoding all frames and the dense flow of each
RECIPE = TrainConfig(num_epochs=1, batch_size=BATCH_SIZE, schedule="constant", learning_rate=0.01, weight_decay=0.0)


def run(*, num_clips: int = 256, num_rounds: int = 9, seed: int = 0) -> dict[str, Any]:
    """Time reading a clip of 75 frames of 320 x 240 (H.264, groups of 12), each way once a round, in processor time.

    The floor decodes every frame to RGB. ``three segments`` gives I-frame, motion vectors and residual of three frames,
    as training reads them; ``every frame`` gives them of every frame. Where OpenCV can be imported, ``decode, every
    flow`` decodes every frame and computes a dense flow (Farnebäck, with the settings of OpenCV's tutorial) from each
    to the next, and ``decode, three flows`` the three that three segments need at least.

    ``stored epoch`` is ``fit`` on a stored teacher's soft targets and cached streams, ``bare epoch`` a loop by hand on
    the same tensors: index, to float, forward, soft-target loss, backward, SGD.

    Args:
        num_clips: of the epoch, 32 pixels a side, three segments.
        num_rounds: how often each way is run.
        seed: of pixels, orders and weights.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds``, ``ratios``, ``targets``, ``reached`` and ``machine``;
        ``speed_over_flow``, times as fast as decoding with flow, where OpenCV is there.
    Raises:
        InvalidValue: no clips.
        MissingPackage: PyAV is not installed.
    """
    require_positive("num_clips", num_clips)
    set_malloc_thresholds()
    settings = SegmentSettings(NUM_SEGMENTS, 1)
    flow = _flow()
    with tempfile.TemporaryDirectory(prefix="limbeck-bench-") as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path, _frames(seed))
        ways: dict[str, Callable[[], object]] = {
            FLOOR: lambda: _decode(path),
            "three segments": lambda: read_segments(path, settings),
            "every frame": lambda: [(frame.motion(), frame.residual()) for frame in read_clip(path)],
        }
        if flow is not None:
            ways[FLOW] = lambda: _decode_with_flow(path, flow, every=False)
            ways[ALL_FLOW] = lambda: _decode_with_flow(path, flow, every=True)
        timed = partial(interleaved, num_rounds=num_rounds, warmup=1, clock=time.process_time)
        timings, epochs = timed(ways), timed(_epochs(num_clips, Path(folder), seed))
    ratios = {name: timing.ratio_to(timings[FLOOR]) for name, timing in timings.items() if name != FLOOR}
    ratios["stored epoch"] = epochs["stored epoch"].ratio_to(epochs[EPOCH_FLOOR])
    result: dict[str, Any] = {
        "name": "video",
        "settings": {"height": HEIGHT, "width": WIDTH, "num_frames": NUM_FRAMES, "num_segments": NUM_SEGMENTS,
                     "num_clips": num_clips, "batch_size": BATCH_SIZE, "num_rounds": num_rounds, "seed": seed},
        "floor": "every frame decoded to RGB; the epoch against a loop by hand on the same tensors",
        "seconds": seconds_by_way(timings | epochs),
        "ratios": ratios,
        "targets": dict(TARGETS),
        "reached": reached(ratios, TARGETS),
        "machine": machine_facts(),
    }  # fmt: skip
    if flow is not None:
        result["speed_over_flow"] = timings[ALL_FLOW].ratio_to(timings["three segments"])
        result["speed_target"] = SPEED_TARGET
    return result


def _frames(seed: int) -> np.ndarray[Any, Any]:
    """A texture that drifts, and a square that moves over it another way: uint8, (frames, height, width, 3)."""
    generator = np.random.default_rng(seed)
    texture = generator.integers(20, 120, (HEIGHT // 8 + 12, WIDTH // 8 + 12, 3), dtype=np.uint8)
    texture = texture.repeat(8, axis=0).repeat(8, axis=1)
    square = generator.integers(130, 255, (16, 16, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    frames = np.empty((NUM_FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for t in range(NUM_FRAMES):
        frames[t] = texture[t : t + HEIGHT, t // 2 : t // 2 + WIDTH]
        left = 3 * t % (WIDTH - 64)
        frames[t, 80:144, left : left + 64] = square
    return frames


def _decode(path: Path) -> list[np.ndarray[Any, Any]]:
    av = import_av()
    converter = Converter(av.video.reformatter.VideoReformatter())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        return [converter.to(picture, "rgb24") for picture in container.decode(stream)]


def _flow() -> Any:
    """OpenCV, on one thread; None where it is absent."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    return cv2


def _decode_with_flow(path: Path, cv2: Any, *, every: bool) -> list[Any]:
    frames = _decode(path)
    found, last = [], len(frames) - 1
    chosen = chosen_frames(last, num_segments=last if every else NUM_SEGMENTS, num_choices=1)
    for number in chosen.reshape(-1).tolist():
        before, after = (cv2.cvtColor(frames[place], cv2.COLOR_RGB2GRAY) for place in (number, number + 1))
        found.append(cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0))
    return found


def _epochs(num_clips: int, folder: Path, seed: int) -> dict[str, Callable[[], object]]:
    generator = torch.Generator().manual_seed(seed)
    streams = {
        name: torch.randint(-100, 100, (num_clips, NUM_SEGMENTS, 1, channels, SIDE, SIDE), generator=generator)
        .to(torch.int8)
        .view(torch.uint8 if dtype is np.uint8 else torch.int8)
        for name, (channels, dtype) in STREAMS.items()
    }
    source = ClipInputs(streams, [str(number) for number in range(num_clips)], settings="random")
    labels = torch.randint(0, NUM_CLASSES, (num_clips,), generator=generator)
    samples = Samples("random clips", torch.arange(num_clips), source, labels, tuple("0123456789"))
    teacher = ModuleTeacher(_network(samples, "convnet:channels=16x32"))
    store = collect(teacher, samples, Views(), folder / "targets", num_views=None, codec="dense16")
    assert store is not None, "one process collects every shard"
    stored = store_teacher(store)
    targets = stored(samples.ids, torch.zeros(1)).logits_at(1.0).float()
    residual = streams["residual"][:, :, 0].contiguous()
    return {
        EPOCH_FLOOR: lambda: _bare_epoch(samples, residual, targets, labels, seed),
        "stored epoch": lambda: _stored_epoch(samples, stored, seed),
    }


def _network(samples: Samples, spec: str) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = samples.input_shapes["residual"]
        return build_on_key(f"on:residual:{spec}", input_shape=shape, num_classes=NUM_CLASSES)


def _stored_epoch(samples: Samples, teacher: Teacher, seed: int) -> None:
    soft = Distillation(temperature=4.0, hard_weight=0.1, soft_weight=0.9)
    student, runtime = _network(samples, "convnet:channels=8x16"), Runtime.resolve("cpu", "fp32")
    fit(student, samples, soft, recipe=RECIPE, teacher=teacher, views=Views(), runtime=runtime, seed=seed)


def _bare_epoch(samples: Samples, residual: Tensor, targets: Tensor, labels: Tensor, seed: int) -> None:
    student = _network(samples, "convnet:channels=8x16")
    optimiser = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    for positions in torch.split(order, BATCH_SIZE):
        logits = student(residual=residual[positions].float().div_(128))
        soft = F.kl_div(
            F.log_softmax(logits / 4, dim=1), F.log_softmax(targets[positions] / 4, dim=1), log_target=True,
            reduction="batchmean",
        )  # fmt: skip
        loss = 0.9 * 16 * soft + 0.1 * F.cross_entropy(logits, labels[positions])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
