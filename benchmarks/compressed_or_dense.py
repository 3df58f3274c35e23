"""The compressed stream against all frames with a dense flow: clips a second from file to class, and accuracy.

    python benchmarks/compressed_or_dense.py --out runs/compressed-or-dense     # five minutes of one core

Three networks, one a stream, whose logits are added (``fused:``), learn the moving digits from labels, by one recipe,
on three kinds of input, the same frames of each clip:

compressed   I-frame, motion vectors and residual, as ``limbeck distill --data clips:FOLDER`` reads them
followed     the same three, with OpenCV's dense flow (Farnebäck) of every frame in the vectors' place: it is followed
             back to the I-frame, and the residual is what is left then
two-stream   the frame itself, its dense flow from the frame before, and the difference of both

Time is processor time of one thread, from an open folder to the class: decode, flow, network, one clip at a time. The
dense ways decode all frames to RGB and compute the flow of each. Accuracy is read on the validation clips; the test
clips are not read. Streams and results lie in the folder; what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from limbeck.bench.video import _decode, _frames
from limbeck.data import ClipInputs, Samples, SegmentSettings
from limbeck.data.downloads import cache_folder
from limbeck.data.normalise import to_float
from limbeck.data.video.encoding import write_clip
from limbeck.data.video.listing import list_clips
from limbeck.data.video.moving_digits import MovingDigits, write_moving_digits
from limbeck.data.video.segments import MOTION_STEPS, STREAMS, chosen_frames, read_segments
from limbeck.distillation.sources import network_from
from limbeck.memory import set_malloc_thresholds
from limbeck.objectives import HardLabels
from limbeck.recipes.streams import clip_views
from limbeck.training import Runtime, TrainConfig, evaluate, fit, set_threads

WAYS = ("compressed", "followed", "two-stream")
AUGMENTATIONS = ("segments", "flip", "crop:2")
FLOW = (0.5, 3, 15, 3, 5, 1.2, 0)  # of OpenCV's tutorial
Array = np.ndarray[Any, Any]


def main() -> None:
    """Train on every kind of input, time every way from file to class, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder, gone on with where it exists")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=16, help="pixels a side that networks see")
    parser.add_argument("--channels", default="10x20x40", help="of each stream's network")
    parser.add_argument("--timed", type=int, default=40, help="clips of each size that are timed")
    arguments = parser.parse_args()
    set_threads(1)
    set_malloc_thresholds()
    cv2.setNumThreads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = SegmentSettings(image_size=arguments.size)
    root = write_moving_digits(cache_folder() / "clips" / MovingDigits().folder_name, MovingDigits())
    results: dict[str, Any] = {}
    networks = {}
    for way in WAYS:
        train, validation = (_samples(root, split, way, settings, arguments.out) for split in ("train", "validation"))
        accuracies = []
        for seed in range(arguments.seeds):
            networks[way], accuracy = _learned(train, validation, arguments, seed)
            accuracies.append(accuracy)
        results[way] = {"accuracy": accuracies}
        print(f"{way}: {', '.join(f'{100 * one:.1f} %' for one in accuracies)}", flush=True)
    once = SegmentSettings(num_choices=1, image_size=arguments.size)
    files = [Path(clip.path) for clip in list_clips(root).clips["validation"][:: 500 // arguments.timed]]
    large = arguments.out / "320x240.mp4"
    write_clip(large, _frames(0))
    for name, paths in (("64x64, 16 frames", files), ("320x240, 75 frames", [large] * (max(3, arguments.timed // 10)))):
        for way in WAYS:
            read = _reader(way, once)
            results[way][name] = _seconds(partial(_class_of, read, networks[way]), paths)
        for way in WAYS:
            seconds = results[way][name]
            ratio = seconds / results["compressed"][name]
            print(f"{name}, {way}: {1000 * seconds:.1f} ms a clip, {1 / seconds:.1f} clips a second, {ratio:.1f} x")
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1))


def _reader(way: str, settings: SegmentSettings) -> Callable[[Path], dict[str, Array]]:
    """Return what makes a clip's stored streams, shape (segments, choices, channels, height, width)."""
    if way == "compressed":
        return partial(read_segments, settings=settings)
    return partial(_dense_segments, settings=settings, follows=way == "followed")


def _dense_segments(path: Path, *, settings: SegmentSettings, follows: bool) -> dict[str, Array]:
    frames = np.stack(_decode(path))
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    pairs = zip(grey[1:], grey[:-1], strict=True)  # from a frame to where its content was in the one before
    flows = [cv2.calcOpticalFlowFarneback(later, earlier, None, *FLOW) for later, earlier in pairs]
    height, width = grey[0].shape
    down, right = np.mgrid[:height, :width].astype(np.float32)
    total, planes = np.zeros((height, width, 2), dtype=np.float32), []
    for number, flow in enumerate(flows, start=1):
        if follows:  # one group: its I-frame is the first frame
            total = flow + cv2.remap(
                total, right + flow[..., 0], down + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        first, shift = (frames[0], total) if follows else (frames[number - 1], flow)
        moved = first
        if follows:
            moved = cv2.remap(
                first, right + shift[..., 0], down + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        shown = frames[0] if follows else frames[number]
        residual = frames[number].astype(np.float32) - moved
        planes.append(np.concatenate([shown, -shift, residual], axis=-1, dtype=np.float32).transpose(2, 0, 1))
    chosen = chosen_frames(len(planes), num_segments=settings.num_segments, num_choices=settings.num_choices)
    return _stored(np.stack([planes[number] for number in chosen.reshape(-1)]), settings)


def _stored(planes: Array, settings: SegmentSettings) -> dict[str, Array]:
    """Cut the middle out, resize it as clips are, and store the streams as they are stored."""
    side, size = min(planes.shape[-2:]), settings.image_size
    top, left = ((whole - side) // 2 for whole in planes.shape[-2:])
    square = torch.from_numpy(np.ascontiguousarray(planes[..., top : top + side, left : left + side]))
    sized = F.interpolate(square, size=(size, size), mode="bilinear", antialias=True, align_corners=False).numpy()
    sized[:, 3:5] *= MOTION_STEPS * size / side
    stored, place = {}, 0
    for name, (channels, dtype) in STREAMS.items():
        low, high = (0, 255) if dtype is np.uint8 else (-127, 127)
        part = np.clip(np.rint(sized[:, place : place + channels]), low, high).astype(dtype)
        stored[name] = part.reshape(settings.num_segments, settings.num_choices, *part.shape[1:])
        place += channels
    return stored


def _samples(root: Path, split: str, way: str, settings: SegmentSettings, out: Path) -> Samples:
    listed = list_clips(root)
    clips, labels = listed.clips[split], listed.labels[split]
    kept = out / f"{way}-{split}-{settings.image_size}.npz"
    if not kept.is_file():
        read = _reader(way, settings)
        streams = [read(Path(clip.path)) for clip in clips]
        np.savez(kept, **{name: np.stack([one[name] for one in streams]) for name in STREAMS})
    with np.load(kept) as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in STREAMS}
    source = ClipInputs(tensors, [clip.identity for clip in clips], settings=f"{way} {settings}")
    return Samples(f"{way} {split}", torch.arange(len(clips)), source, torch.tensor(labels), tuple(listed.class_names))


def _learned(
    train: Samples, validation: Samples, arguments: argparse.Namespace, seed: int
) -> tuple[torch.nn.Module, float]:
    spec = "fused:" + "+".join(f"on:{name}:convnet:channels={arguments.channels}" for name in STREAMS)
    network = network_from(spec).build_for(train, seed=seed)
    recipe = TrainConfig(num_epochs=arguments.epochs, batch_size=64, learning_rate=0.2, schedule="one_cycle")
    views, runtime = clip_views(AUGMENTATIONS, seed=seed), Runtime.resolve("cpu", "fp32")
    fit(network, train, HardLabels(), recipe=recipe, views=views, runtime=runtime, seed=seed)
    measured = evaluate(network, validation, views.clean, runtime=runtime)
    return network.eval(), 1 - measured["errors"] / len(validation)


@torch.inference_mode()
def _class_of(read: Callable[[Path], dict[str, Array]], network: torch.nn.Module, path: Path) -> int:
    streams = {name: torch.from_numpy(part[None, :, 0]) for name, part in read(path).items()}
    inputs: Any = to_float(streams, None)
    return int(network(**inputs).argmax())


def _seconds(way: Callable[[Path], object], paths: Sequence[Path]) -> float:
    """Return the median processor time of a clip."""
    way(paths[0])
    found = []
    for path in paths:
        start = time.process_time()
        way(path)
        found.append(time.process_time() - start)
    return statistics.median(found)


if __name__ == "__main__":
    main()
