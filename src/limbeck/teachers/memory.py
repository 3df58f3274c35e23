"""Collecting a teacher's logits into memory."""

from __future__ import annotations

import torch

from limbeck.data import Samples, Views, iterate_batches
from limbeck.targets import DenseTargets
from limbeck.teachers.positions import padded_positions
from limbeck.teachers.precision import inputs_for, logits_of
from limbeck.teachers.stored import LogitsTeacher
from limbeck.teachers.teacher import Teacher

BATCH_SIZE = 512


def collect_logits(teacher: Teacher, samples: Samples, views: Views, *, batch_size: int = BATCH_SIZE) -> Teacher:
    """Run a teacher once over the clean view and keep its logits in memory.

    Its members (``Teacher.members``) are kept singly and pooled when asked, so every temperature and weight stays
    possible. A member that looks its logits up already is left as it is.

    Args:
        teacher: any teacher whose members' logits hold at every temperature; its networks run where they are.
        samples: the transfer set.
        views: constant views (no augmentation), normalisation included.
        batch_size: of the teacher's forward passes.
    Returns:
        A teacher with the same outputs and fingerprint that looks them up by id.
    Raises:
        TeacherError: soft targets that hold at one temperature only.
    """
    _check_fits(teacher, samples, views)
    return teacher.pooled(
        [_table(member, samples, views, batch_size=batch_size) if member.runs else member for member in teacher.members]
    )


def gives_logits(teacher: Teacher, samples: Samples, views: Views) -> bool:
    """Return whether all members give logits that hold at every temperature, as seen on one sample.

    Args:
        teacher: one, or an ensemble.
        samples: one of them is shown.
        views: how samples are shown.
    """
    _check_fits(teacher, samples, views)
    batch = views.clean.batch(samples, torch.tensor([0]), view=None)
    with torch.no_grad():
        return all(
            not member.runs or isinstance(member(batch.ids, inputs_for(member, batch)), DenseTargets)
            for member in teacher.members
        )


def _table(member: Teacher, samples: Samples, views: Views, *, batch_size: int) -> LogitsTeacher:
    with torch.no_grad():
        rows = [
            padded_positions(logits_of(member, batch, inputs_for(member, batch)), samples, batch.labels).cpu()
            for batch in iterate_batches(samples, views, torch.arange(len(samples)), batch_size=batch_size, view=None)
        ]
    return LogitsTeacher(torch.cat(rows), ids=samples.ids.cpu(), name=member.name, fingerprint=member.fingerprint)


def _check_fits(teacher: Teacher, samples: Samples, views: Views) -> None:
    for member in teacher.members:
        if member.runs:
            member.check_fits(samples, views)
