"""A few samples and what the teacher says of them as the temperature rises."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.data import Samples, Views, iterate_batches
from limbeck.distillation.splits import JobData
from limbeck.losses import entropy, tempered_log_softmax
from limbeck.records import DarkKnowledge
from limbeck.teachers import Teacher
from limbeck.teachers.precision import inputs_for

NUM_SAMPLES = 6
NUM_CANDIDATES = 2048
BATCH_SIZE = 512
MOST_CLASSES = 1000  # of a sample that the record keeps
MOST_NUMBERS = 1 << 24  # that are held at once
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)


def dark_knowledge(teacher: Teacher, data: JobData, views: Views, *, temperature: float) -> list[DarkKnowledge]:
    """Pick samples that the teacher classes rightly but with the most to tell, one a class, and temper its outputs.

    They are taken from the validation split where the teacher can see it, otherwise from the training set: never from
    the test set, which is read once and for measuring. There are none where a sample has no single class.

    Args:
        teacher: of the job.
        data: of the job.
        views: only the normalisation is used.
        temperature: of the job, shown beside the usual ones.
    """
    if data.train.task != "single_label" or data.train.labels.ndim > 1:
        return []
    samples = data.validation if data.validation is not None and teacher.reads_inputs else data.labelled
    samples = samples.take(samples.labelled_positions()[:NUM_CANDIDATES])
    temperatures = sorted({*TEMPERATURES, float(temperature)})
    chosen = _most_telling(teacher, samples, views, temperatures, shown=temperatures.index(float(temperature)))
    return [_told(samples, one, temperatures) for one in chosen]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A sample that the teacher classes rightly, and its log-probabilities, shape (temperatures, classes)."""

    position: int
    label: int
    entropy: float
    log_probs: Tensor


def _told(samples: Samples, one: _Candidate, temperatures: list[float]) -> DarkKnowledge:
    rows, classes = one.log_probs.exp(), []
    if rows.shape[1] > MOST_CLASSES:
        kept = rows[-1].topk(MOST_CLASSES).indices.sort().values
        rows, classes = rows[:, kept], kept.tolist()
    return DarkKnowledge(
        sample_id=int(samples.ids[one.position]),
        label=one.label,
        image=_pixels(samples, one.position),
        temperatures=temperatures,
        probabilities=[[round(p, 6) for p in row] for row in rows.tolist()],
        classes=classes,
    )


def _most_telling(
    teacher: Teacher, samples: Samples, views: Views, temperatures: Sequence[float], *, shown: int
) -> list[_Candidate]:
    """Return the samples that are classed rightly with the most entropy, one a class; the teacher runs once.

    No more than a batch is held of what it says, since with many classes that is much.
    """
    view = None if teacher.num_views is None else 0
    best: list[_Candidate] = []
    batch_size = max(1, min(BATCH_SIZE, MOST_NUMBERS // (len(temperatures) * samples.num_classes)))
    positions = torch.arange(len(samples))
    start = 0
    with torch.no_grad():
        for batch in iterate_batches(samples, views, positions, batch_size=batch_size, view=None):
            targets = teacher(batch.ids, inputs_for(teacher, batch), view=view)
            rows = torch.stack([tempered_log_softmax(targets.logits_at(t), temperature=t).cpu() for t in temperatures])
            labels = samples.labels[start : start + len(batch)].cpu()
            told = entropy(rows[shown])
            right = (rows[shown].argmax(dim=1) == labels).nonzero()[:, 0].tolist()
            found = [_Candidate(start + i, int(labels[i]), float(told[i]), rows[:, i]) for i in right]
            best = [dataclasses.replace(one, log_probs=one.log_probs.clone()) for one in _best([*best, *found])]
            start += len(batch)
    return best


def _best(candidates: list[_Candidate]) -> list[_Candidate]:
    """Return those with the most entropy, one a class, the earlier one where two have the same."""
    chosen: dict[int, _Candidate] = {}
    for one in sorted(candidates, key=lambda one: -one.entropy):
        chosen.setdefault(one.label, one)
    return list(chosen.values())[:NUM_SAMPLES]


def _pixels(samples: Samples, position: int) -> list[Any]:
    """Return an 8-bit image as nested lists (height, width) or (height, width, 3); empty where it is none."""
    if not samples.is_image:
        return []
    images = samples.fetch(torch.tensor([position]))
    assert isinstance(images, Tensor), "an image is one tensor"
    image = images[0].cpu()
    pixels: list[Any] = (image[0] if image.shape[0] == 1 else image.permute(1, 2, 0)).tolist()
    return pixels
