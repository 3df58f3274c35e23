"""Soft targets that were collected beforehand: in memory, or in a store that every recipe finds again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

from limbeck.data import Samples, Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.target_source import collect_visibly
from limbeck.distillation.trained import TrainedNetwork, pooled_teacher
from limbeck.errors import InvalidValue
from limbeck.jobs import Job
from limbeck.jobs.job import KEY_DIGITS
from limbeck.jobs.work import make
from limbeck.teachers import Teacher, collect_logits, store_teacher
from limbeck.teachers.collecting import members_of


def collect_targets(
    experiment: Experiment,
    teacher: Teacher | TrainedNetwork | Sequence[TrainedNetwork],
    samples: Samples,
    *,
    views: Views | None = None,
    num_views: int | None = None,
    pooling: str = "arithmetic",
    weights: Sequence[float] | None = None,
    codec: str = "dense16",
    stored: bool = False,
) -> Teacher:
    """Return a teacher with soft targets for every sample of a transfer set, at any temperature, that runs no more.

    Those of clean views are kept in memory, unless ``stored``; those of numbered views in a store ``targets-KEY``
    beside the networks. KEY hashes teachers, inputs, views and codec, and the store itself proves them once more when
    it is opened. Where another process collects the same, this one waits and finds it.

    Args:
        experiment: for its folder of networks.
        teacher: a trained network, several of them (an ensemble, pooled when it is used), or a Teacher.
        samples: the transfer set; its labels do not matter.
        views: what student and teacher see.
        num_views: of augmented views, shown in turn.
        pooling: of several networks: "arithmetic" or "geometric" mean.
        weights: of several networks, with numbered views; equal where not given. They are not part of KEY: what each
            network said is kept singly.
        codec: of the store.
        stored: whether clean views are kept in a store, too: a collection of minutes goes on where it was stopped.
    Raises:
        InvalidValue: augmented views without a number.
    """
    teacher, views = pooled_teacher(teacher, pooling=pooling), views or Views()
    if num_views is None and not views.is_constant:
        raise InvalidValue(
            "The targets of views that are new in every pass cannot be collected beforehand.",
            received="augmentations without num_views",
            expected="num_views, or views without augmentations",
            remedy="pass pooled_teacher(...), which runs in every step",
        )
    if num_views is None and not stored:
        return collect_logits(teacher, samples, views)
    precision, root = experiment.runtime.precision, experiment.cache.folder
    assert root is not None, "recipes keep their networks"
    members = [member.fingerprint for member in members_of(teacher)]
    decided = [*members, samples.inputs_fingerprint, views.fingerprint, str(num_views), codec, precision]
    key = hashlib.sha256(" ".join(decided).encode()).hexdigest()[:KEY_DIGITS]
    collection = partial(
        collect_visibly, teacher, samples, views, num_views=num_views, codec=codec, precision=precision,
        progress=experiment.progress,
    )  # fmt: skip
    job = Job("targets", key, lambda folder: collection(folder=folder))
    make(job, root)
    return store_teacher(collection(folder=job.place(root)), weights=weights, pooling=pooling)
