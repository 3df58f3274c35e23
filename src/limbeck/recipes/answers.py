"""Teachers that have answered already: in memory, or in a store that every recipe finds again."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from limbeck.data import Samples, Views
from limbeck.distillation.transfer import collect_visibly
from limbeck.errors import InvalidValue
from limbeck.jobs import Job
from limbeck.jobs.job import KEY_DIGITS
from limbeck.jobs.work import make
from limbeck.teachers import Teacher, collect_logits, store_teacher
from limbeck.teachers.collecting import members_of
from limbeck.training import Progress


def answered(
    teacher: Teacher,
    samples: Samples,
    *,
    views: Views,
    num_views: int | None,
    pooling: str,
    codec: str,
    precision: str,
    root: Path,
    progress: Progress,
) -> Teacher:
    """Return a teacher with the same answers that runs no more; see ``Laboratory.answers``.

    A store stands in ``ROOT/targets-KEY``; KEY hashes teachers, inputs, views and codec, and the store itself proves
    them once more when it is opened. Where another process collects the same, this one waits and finds it.

    Raises:
        InvalidValue: augmented views without a number.
    """
    if num_views is None:
        if not views.is_constant:
            raise InvalidValue(
                "New views in every pass cannot be answered beforehand.",
                received="augmentations without num_views",
                expected="num_views, or views without augmentations",
                remedy="pass laboratory.teacher(...), which answers in every step",
            )
        return collect_logits(teacher, samples, views)
    members = [member.fingerprint for member in members_of(teacher)]
    asked = [*members, samples.inputs_fingerprint, views.fingerprint, str(num_views), codec, precision]
    key = hashlib.sha256(" ".join(asked).encode()).hexdigest()[:KEY_DIGITS]
    collection = partial(
        collect_visibly, teacher, samples, views, num_views=num_views, codec=codec, precision=precision,
        progress=progress,
    )  # fmt: skip
    job = Job("targets", key, lambda workplace: collection(folder=workplace))
    make(job, root)
    return store_teacher(collection(folder=job.place(root)), weights=None, pooling=pooling)
