"""A few samples and what the teacher says of them as the temperature rises."""

from __future__ import annotations

from collections.abc import Sequence
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
    log_probs = _tempered(teacher, samples, views, temperatures)
    chosen = _most_telling(log_probs[float(temperature)], samples.labels.cpu())
    tempered = [log_probs[t][chosen].exp().tolist() for t in temperatures]
    return [
        DarkKnowledge(
            sample_id=int(samples.ids[position]),
            label=int(samples.labels[position]),
            image=_pixels(samples, position),
            temperatures=temperatures,
            probabilities=[[round(p, 6) for p in rows[index]] for rows in tempered],
        )
        for index, position in enumerate(chosen)
    ]


def _tempered(teacher: Teacher, samples: Samples, views: Views, temperatures: Sequence[float]) -> dict[float, Tensor]:
    """Return log-probabilities, shape (samples, classes), of the teacher at each temperature; it runs once."""
    view = None if teacher.num_views is None else 0
    rows: dict[float, list[Tensor]] = {t: [] for t in temperatures}
    with torch.no_grad():
        for batch in iterate_batches(samples, views, torch.arange(len(samples)), batch_size=BATCH_SIZE, view=None):
            targets = teacher(batch.ids, inputs_for(teacher, batch), view=view)
            for t in temperatures:
                rows[t].append(tempered_log_softmax(targets.logits_at(t), temperature=t).cpu())
    return {t: torch.cat(parts) for t, parts in rows.items()}


def _most_telling(log_probs: Tensor, labels: Tensor) -> list[int]:
    """Return the positions of the samples that are classed rightly with the most entropy, one a class."""
    right = log_probs.argmax(dim=1) == labels
    interest = torch.where(right, entropy(log_probs), torch.full((), -1.0))
    chosen: list[int] = []
    classes: set[int] = set()
    for position in interest.argsort(descending=True).tolist():
        label = int(labels[position])
        if label not in classes and bool(right[position]):
            chosen.append(position)
            classes.add(label)
        if len(chosen) == NUM_SAMPLES:
            break
    return chosen


def _pixels(samples: Samples, position: int) -> list[Any]:
    """Return an 8-bit image as nested lists (height, width) or (height, width, 3); empty where it is none."""
    if not samples.is_image:
        return []
    images = samples.fetch(torch.tensor([position]))
    assert isinstance(images, Tensor), "an image is one tensor"
    image = images[0].cpu()
    pixels: list[Any] = (image[0] if image.shape[0] == 1 else image.permute(1, 2, 0)).tolist()
    return pixels
