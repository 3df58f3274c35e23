"""Trying a teacher out on two real samples, before anything is trained."""

from __future__ import annotations

import torch

from limbeck.data import Samples, Views
from limbeck.errors import LimbeckError, ModelError
from limbeck.inputs import describe
from limbeck.models.factory import failure
from limbeck.teachers.precision import inputs_for
from limbeck.teachers.teacher import Teacher


def try_out(teacher: Teacher, samples: Samples, views: Views) -> None:
    """See that a teacher gives logits of the data's classes for two samples in the clean view.

    Args:
        teacher: one that reads its inputs.
        samples: of the transfer set.
        views: normalisation included.
    Raises:
        ModelError: it fails on such samples, or gives other classes.
        TeacherError: it breaks its contract, knows other class names, or gives probabilities for logits.
    """
    teacher.check_fits(samples, views.clean)
    batch = views.clean.batch(samples, torch.arange(min(2, len(samples))), view=None)
    try:
        with torch.no_grad():
            logits = teacher(batch.ids, inputs_for(teacher, batch)).logits_at(1.0)
    except LimbeckError:
        raise
    except Exception as error:
        raise ModelError(
            f"The teacher {teacher.name} cannot run on samples of {samples.name}.",
            received=failure(error),
            expected=f"a network that takes {describe(batch.inputs)}",
            remedy="check that it was made for this data: channels, height, width",
        ) from error
    if logits.shape[-1] != samples.num_classes:
        raise ModelError(
            f"The teacher {teacher.name} has other outputs than the data has classes.",
            received=f"{logits.shape[-1]} classes",
            expected=f"{samples.num_classes} classes, in the data's order",
            remedy="give a teacher of these classes, or the data that it was trained on",
        )
