"""A teacher's outputs on a few fixed samples, so that one that gives other outputs next time is found out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.errors import RecordError, StoreError, TeacherError
from limbeck.inputs import Inputs, map_inputs, slice_rows
from limbeck.losses import kl_divergence, tempered_log_softmax
from limbeck.records import check_seal, parse_finite, sealed_text, write_text
from limbeck.teachers.precision import inputs_for
from limbeck.teachers.teacher import Teacher

NUM_ROWS = 8
TOLERANCE = 1e-3  # nats, KL(before || now) at T = 1: what rounding explains
PROBE_FILE = "probe.json"
FORMAT, VERSION = "limbeck-probe", 1


class Probe:
    """The first rows that a function was called with, and what it gave: compared again when a run ends."""

    def __init__(self) -> None:
        self._inputs: Inputs | None = None
        self._outputs = torch.empty(0)

    def remember(self, inputs: Inputs, outputs: Tensor) -> None:
        """Keep copies of the first rows; nothing after the first time."""
        if self._inputs is None:
            self._inputs = map_inputs(torch.clone, slice_rows(inputs, 0, NUM_ROWS))
            self._outputs = outputs[:NUM_ROWS].detach().clone()

    def check(self, run: Callable[[Inputs], Tensor], *, name: str) -> None:
        """Raise TeacherError where ``run`` now gives something else."""
        if self._inputs is None:
            return
        distance = _distance(self._outputs, run(self._inputs))
        if not distance <= TOLERANCE:
            raise _otherwise(name, distance)


def check_probe(folder: Path, teachers: Sequence[Teacher], samples: Samples, views: Views) -> None:
    """Compare teachers whose fingerprint is not the whole of them with their outputs on the probe samples, kept there.

    The probe samples are those of the lowest ids, in the clean view. Where nothing is kept yet, it is written.

    Args:
        folder: that keeps ``probe.json``; made where it is missing.
        teachers: of the run or collection.
        samples: the transfer set.
        views: normalisation included.
    Raises:
        TeacherError: a teacher that gives other outputs than it did when the file was written.
        StoreError: a damaged file.
    """
    asked = [teacher for teacher in teachers if teacher.runs and not teacher.has_whole_fingerprint]
    if not asked:
        return
    batch = views.clean.batch(samples, samples.positions_by_id[:NUM_ROWS], view=None)
    now = {}
    with torch.no_grad():
        for teacher in asked:
            targets = teacher(batch.ids, inputs_for(teacher, batch))
            now[teacher.fingerprint] = targets.logits_at(1.0).float().cpu()
    path = folder / PROBE_FILE
    before = _read(path)
    for teacher in asked:
        kept = before.get(teacher.fingerprint)
        if kept is not None and not (distance := _distance(kept, now[teacher.fingerprint])) <= TOLERANCE:
            raise _otherwise(teacher.name, distance)
    if now.keys() - before.keys():
        folder.mkdir(parents=True, exist_ok=True)
        both = {key: logits.tolist() for key, logits in {**now, **before}.items()}
        write_text(path, sealed_text({"format": FORMAT, "version": VERSION, "logits": both}))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = parse_finite(path.read_text(encoding="utf-8"), source=str(path))
        if {"format", "version", "sha256", "logits"} & content.keys():  # earlier releases wrote the logits alone
            check_seal({"sha256": None, **content}, source=str(path))
            content = content["logits"]
        return {key: torch.tensor(rows) for key, rows in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, KeyError, RecordError) as error:
        raise StoreError(f"{path} is damaged.", received=str(error)[:100], remedy="remove the folder") from error


def _distance(before: Tensor, now: Tensor) -> float:
    """Return the largest divergence in nats; infinity where the shapes differ."""
    if before.shape != now.shape:
        return float("inf")
    p, q = (tempered_log_softmax(logits.float().cpu(), temperature=1.0) for logits in (before, now))
    return float(kl_divergence(p, q).max())


def _otherwise(name: str, distance: float) -> TeacherError:
    return TeacherError(
        f"The teacher {name} gives other outputs for the probe samples than before.",
        received=f"{distance:.3g} nats apart at T = 1",
        expected=f"at most {TOLERANCE:g} nats, which rounding explains",
        remedy="give a teacher that changed another version, and one that draws at random a fixed seed",
    )
