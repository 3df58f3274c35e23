"""Jobs for the tests of limbeck.jobs, in a module that worker processes import; torch only where it is used."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

_uses: list[Path] = []


def write(folder: Path, text: str) -> None:
    (folder / "text").write_text(text)


def join(folder: Path, *others: Path) -> None:
    (folder / "text").write_text("+".join((other / "text").read_text() for other in others))


def fail_at_first(folder: Path, text: str, way: str) -> None:
    """Leave a checkpoint and fail; the next attempt goes on from it."""
    checkpoint = folder / "checkpoint"
    if checkpoint.exists():
        (folder / "text").write_text(checkpoint.read_text() + text)
        checkpoint.unlink()
        return
    checkpoint.write_text("half, ")
    fail(folder, way)


def fail(folder: Path, way: str) -> None:
    with (folder / "attempts").open("a") as attempts:
        attempts.write("x")
    if way == "raise":
        raise ValueError("no such luck")
    if way == "exit":
        os._exit(3)
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "interrupt":
        raise KeyboardInterrupt


def end_raylet_at_first(folder: Path) -> None:
    """End the raylet, which started this process, and this process; the next attempts are whole."""
    if (folder / "killed").exists():
        (folder / "text").write_text("whole")
        return
    (folder / "killed").touch()
    os.kill(os.getppid(), signal.SIGKILL)
    os._exit(1)


def note_threads(folder: Path) -> None:
    assert "torch" not in sys.modules, "nothing that reads the count was imported before it was set"
    (folder / "text").write_text(os.environ["OMP_NUM_THREADS"])


def note_time(folder: Path) -> None:
    begun = time.time()
    time.sleep(0.3)
    (folder / "text").write_text(f"{os.getpid()} {begun} {time.time()}")


def note_use(folder: Path) -> None:
    """Note this process, and which of its calls of this function this is."""
    _uses.append(folder)
    (folder / "text").write_text(f"{os.getpid()} {len(_uses)}")


def work_until_stopped(folder: Path) -> None:
    """Stop on SIGTERM or SIGINT as training does: with a checkpoint, then a KeyboardInterrupt."""
    stop = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stop.append(number))
    (folder / "pid").write_text(str(os.getpid()))
    while not stop:
        time.sleep(0.02)
    (folder / "checkpoint").write_text(f"stopped {len(stop)} time")
    raise KeyboardInterrupt


def train(folder: Path, seed: int) -> None:
    import torch
    from safetensors.torch import save_file

    from limbeck.data import as_samples
    from limbeck.models import build
    from limbeck.objectives import HardLabels
    from limbeck.training import TrainConfig, fit

    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(256, 32, generator=generator), torch.arange(256) % 4
    student = build("mlp:widths=64x64,hidden_dropout=0.5", input_shape=(32,), num_classes=4, seed=seed)
    recipe = TrainConfig(num_epochs=2, batch_size=32)
    fitted = fit(student, as_samples((inputs, labels)), HardLabels(), recipe=recipe, seed=seed)
    save_file(fitted.student.state_dict(), folder / "weights.safetensors")
    (folder / "threads").write_text(str(torch.get_num_threads()))
