"""A collection by several ranks: each runs the teacher over shards of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from limbeck.data import Samples, Views
from limbeck.ranks.group import Ranks
from limbeck.targets import TargetStore
from limbeck.teachers.collecting import collect, prepare_collection
from limbeck.teachers.collection_progress import ProgressCallback
from limbeck.teachers.teacher import Teacher

if TYPE_CHECKING:
    from typing_extensions import Unpack


class CollectionOptions(TypedDict, total=False):
    """The optional arguments of ``prepare_collection``."""

    num_views: int | None
    codec: str
    max_kl: float
    batch_size: int
    precision: str
    shard_bytes: int


def collect_on_ranks(
    teacher: Teacher,
    samples: Samples,
    views: Views,
    path: Path,
    *,
    ranks: Ranks,
    progress: ProgressCallback | None = None,
    **options: Unpack[CollectionOptions],
) -> TargetStore:
    """Do as ``collect`` does, with shards dealt to ranks in turn; the bytes are the same for any number.

    The ranks share the folder. Rank 0 chooses the codec; whoever is done last seals the store.

    Args:
        teacher: on each rank's own device.
        samples: as ``collect`` takes them, like all that follow.
        views: what the teacher sees.
        path: the store's folder.
        ranks: of the job.
        progress: of this rank's own shards.
        options: see ``collect``.
    Raises:
        StoreError, TeacherError, OutputError, InvalidValue, UnknownName: as ``collect``.
        RankLost: another rank has ended.
    """
    if ranks.size > 1:
        plan, _ = ranks.from_first(lambda: prepare_collection(teacher, samples, views, path, **options))
        own = range(ranks.number, plan.num_shards, ranks.size)
        collect(teacher, samples, views, path, shards=own, progress=progress, **options)
        ranks.gather(None)  # every shard is written, and the manifest by who was last
        return TargetStore.open(path, samples=samples, class_names=plan.class_names, verify="sizes")
    store = collect(teacher, samples, views, path, progress=progress, **options)
    assert store is not None, "one process did all shards"
    return store
