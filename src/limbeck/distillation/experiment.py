"""The context of a run: device, cache of networks, data, what a person sees, what goes into the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.data import Normalise, Samples, Views, augmentations_from
from limbeck.distillation.cache import NetworkCache
from limbeck.distillation.run_directory import RunDirectory
from limbeck.distillation.sources import Network, NetworkSource
from limbeck.distillation.splits import JobData
from limbeck.distillation.task import JobTraining, SharedTraining, Training, TrainingTask
from limbeck.distillation.trained import TrainedNetwork
from limbeck.errors import InvalidValue
from limbeck.models import save_model
from limbeck.objectives import MutualLearning, Objective
from limbeck.records import DataRecord
from limbeck.reproduction import NetworkFacts, Results
from limbeck.training import Progress, Runtime, TrainConfig, count_batches

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(eq=False, kw_only=True)
class Experiment:
    """Where networks are trained and evaluated, by a job or by a recipe.

    Args:
        runtime: device, and the precision of training.
        progress: what a person sees.
        cache: of trained networks.
        directory: of the run.
        opened: what is learned from and evaluated on; None until a recipe opens its data set.
        shown: the views of a job's inputs, for all its networks; a network's augmentations are added.
        evaluated_split: begins the names of what recipes observe: "test", or "held_out" where training samples are
            evaluated in the test set's place.
        smoke: recipes cut every data set to a small stratified part.
        config: every setting, for the record.
        command: what was typed, or the Python call, for the record.
        started: reading of ``time.perf_counter``, in seconds.
        results: what recipes observe and draw, and the notes of all.
        facts: of every network from the cache, by folder.
        is_evaluated: whether the test set has been read.
    """

    runtime: Runtime
    progress: Progress
    cache: NetworkCache
    directory: RunDirectory = field(default_factory=lambda: RunDirectory(None))
    opened: JobData | None = None
    shown: Views = field(default_factory=Views)
    evaluated_split: str = "test"
    smoke: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    started: float = field(default_factory=time.perf_counter)
    results: Results = field(default_factory=Results)
    facts: dict[str, NetworkFacts] = field(default_factory=dict)
    is_evaluated: bool = False

    @staticmethod
    def of_recipe(
        networks: Path,
        runtime: Runtime,
        progress: Progress,
        *,
        smoke: bool = False,
        folder: Path | None = None,
        config: dict[str, Any] | None = None,
        command: str = "",
    ) -> Experiment:
        """Return a recipe's experiment: its networks are shared with other recipes; ``folder`` is of its record."""
        return Experiment(
            runtime=runtime,
            progress=progress,
            cache=NetworkCache(networks, runtime, progress),
            directory=RunDirectory(folder),
            smoke=smoke,
            config=config or {},
            command=command,
            results=Results(folder),
        )

    @property
    def data(self) -> JobData:
        """What is learned from and evaluated on."""
        assert self.opened is not None, "a recipe opens its data set first"
        return self.opened

    def data_record(self) -> DataRecord:
        """Return the record of the data; samples that stand in the test set's place count as validation."""
        record = self.data.describe()
        if self.evaluated_split == "test":
            return record
        return replace(record, num_validation=record.num_test, num_test=0)

    @property
    def normalise(self) -> Normalise | None:
        """The normalisation of a job's inputs."""
        return self.shown.normalise

    @property
    def validation(self) -> Samples:
        """The training samples that were kept apart, to choose by."""
        assert self.data.validation is not None, "a recipe that chooses asks for num_validation"
        return self.data.validation

    def clean_views(self) -> Views:
        """Return the views of a job without augmentation."""
        return self.shown.clean

    def views(self, augmentations: Sequence[str], *, seed: int) -> Views:
        """Return the views of a job's network's inputs."""
        return replace(self.shown, augmentations=augmentations_from(augmentations), seed=seed)

    def train(self, name: str, source: NetworkSource | Network, **training: Unpack[Training]) -> TrainedNetwork:
        """Return a trained network: from the cache, otherwise trained now, or further from where it stopped.

        It is found by the hash of everything that decides its weights, never by its name alone.

        Args:
            name: of its folder, progress and record: "teacher", "distilled".
            source: a spec of the zoo, a callable that builds a module, or a module to start from.
            training: what it learns and how; see :class:`limbeck.distillation.task.Training`.
        """
        task = TrainingTask.make(name, source, precision=self.runtime.precision, **training)
        return self._train(lambda: [self.cache.train(task)])[0]

    def train_all(
        self, wanted: Sequence[tuple[str, NetworkSource | Network, Training]], *, jobs: str | None = None
    ) -> list[TrainedNetwork]:
        """Return networks as ``train`` does, in order.

        Args:
            wanted: the name of each, its source, and what it learns and how.
            jobs: "serial", "processes:2", "ray", ...: each is a job of its own, of an experiment that keeps networks;
                see ``limbeck.jobs.runner_from``. None: here, one after another.
        Raises:
            JobsFailed: jobs that failed; the others are done.
        """
        if jobs is None:
            return [self.train(name, source, **training) for name, source, training in wanted]
        make = partial(TrainingTask.make, precision=self.runtime.precision)
        tasks = [make(name, source, **training) for name, source, training in wanted]
        return self._train(lambda: self.cache.train_as_jobs(tasks, jobs=jobs, threads_per_job=None, retries=1))

    def train_stacked(
        self,
        name: str,
        source: NetworkSource | Network,
        *,
        objectives: Sequence[Objective],
        seeds: Sequence[int],
        **training: Unpack[SharedTraining],
    ) -> list[TrainedNetwork]:
        """Return networks of one shape, one for each (objective, seed), trained in one pass where they are missing.

        Each is found on its own, so a wider sweep trains only what it adds. A pass that is stopped begins anew: give
        a sweep in pieces whose loss is bearable. See ``fit_stacked`` for what can be stacked.

        Raises:
            InvalidValue: not one seed for each objective, or views that come again.
        """
        if len(objectives) != len(seeds):
            raise InvalidValue(
                "Every network needs an objective and a seed.",
                received=f"{len(objectives)} objectives, {len(seeds)} seeds",
                expected="as many of each",
            )
        make = partial(TrainingTask.make, name, source, precision=self.runtime.precision, way="stacked", **training)
        tasks = [make(objective=objective, seed=seed) for objective, seed in zip(objectives, seeds, strict=True)]
        if any(task.num_views is not None and not task.views.is_constant for task in tasks):
            raise InvalidValue(
                "Networks that train in one pass see new views in every pass.",
                received=f"num_views {tasks[0].num_views}",
                expected="no num_views, or views without augmentation",
                remedy="train each network with train",
            )
        return self._train(lambda: self.cache.train_stacked(tasks))

    def train_cohort(
        self,
        name: str,
        sources: Sequence[NetworkSource | Network],
        *,
        objective: MutualLearning,
        seed: int,
        weights_seeds: Sequence[int],
        update: str = "alternating",
        recipes: Sequence[TrainConfig] | None = None,
        **training: Unpack[SharedTraining],
    ) -> list[TrainedNetwork]:
        """Return the members of a cohort that learned from each other, "NAME-1", "NAME-2", ...: see ``fit_cohort``.

        Each is found on its own, by all that ``train`` goes by and by its peers, the order of their updates, and its
        own number among them. Where one is missing all are trained, or further from where they stopped.

        Args:
            name: of the cohort.
            sources: at least two, as ``train`` takes them; they may differ.
            objective: of every member.
            seed: of order and dropout, for all.
            weights_seeds: of each one's initial weights; peers that start alike stay alike.
            update: "alternating" or "simultaneous".
            recipes: one for each; ``recipe`` for all where not given.
            training: what all learn and how.
        Raises:
            InvalidValue: not one seed of weights, or one recipe, for each member.
            InvalidValue, ModelError, UnknownName: what ``fit_cohort`` refuses.
        """
        own_recipes = recipes or [training["recipe"]] * len(sources)
        if not len(sources) == len(weights_seeds) == len(own_recipes):
            raise InvalidValue(
                "Every member of a cohort needs a seed of its weights, and a recipe.",
                received=f"{len(sources)} networks, {len(weights_seeds)} seeds, {len(own_recipes)} recipes",
                expected="as many of each",
            )
        alone = []
        for k, source in enumerate(sources):
            own: Training = {
                **training,
                "objective": objective,
                "seed": seed,
                "recipe": own_recipes[k],
                "weights_seed": weights_seeds[k],
            }
            make = partial(TrainingTask.make, precision=self.runtime.precision, way="cohort")
            alone.append(make(f"{name}-{k + 1}", source, **own))
        tasks = [task.in_cohort(member=k, peers=alone, update=update) for k, task in enumerate(alone, start=1)]
        return self._train(lambda: self.cache.train_cohort(tasks, title=f"{name}-seed{seed}", update=update))

    def train_network(self, network: Network, *, role: str, **how: Unpack[JobTraining]) -> TrainedNetwork:
        """Train one network of a job: see :meth:`job_training`."""
        return self.train_networks([(role, network, self.job_training(**how))])[0]

    def train_networks(
        self, wanted: Sequence[tuple[str, Network, Training]], *, jobs: str | None = None
    ) -> list[TrainedNetwork]:
        """Train networks of a job, each with its role: see :meth:`job_training` and :meth:`train_all`."""
        named = [(role.replace(" ", ""), network, training) for role, network, training in wanted]
        trained = self.train_all(named, jobs=jobs)
        return [
            replace(network, role=role, origin="trained") for (role, *_), network in zip(wanted, trained, strict=True)
        ]

    def job_training(self, **how: Unpack[JobTraining]) -> Training:
        """Return what a network of a job learns and how: the job's validation split chooses the epoch.

        An epoch has as many steps as one pass over the whole training set, also for a network that sees only its
        labelled part: so all networks of a job take the same number of steps.
        """
        seed, recipe, num_views = how["seed"], how["recipe"], how.get("num_views")
        return {
            "samples": how["samples"],
            "objective": how["objective"],
            "recipe": recipe,
            "seed": seed,
            "views": self.views(how["augmentations"], seed=seed if num_views is None else how.get("view_seed", 0)),
            "num_views": num_views,
            "teacher": how.get("teacher"),
            "validation": self.data.choosing,
            "steps_per_epoch": count_batches(len(self.data.train), recipe.batch_size),
            "weights_seed": how.get("start_seed"),
        }

    def save_network(self, network: TrainedNetwork, folder: str) -> None:
        """Save a trained network in a folder of the run; nothing where it has none, or another rank writes it."""
        if self.directory.path is None or not self.directory.is_written:
            return
        save_model(
            self.directory.path / folder,
            network.module,
            spec=network.name,
            input_shape=self.data.train.input_shape,
            class_names=self.data.train.class_names,
            normalise=asdict(self.normalise) if self.normalise else None,
            role=network.role,
        )

    def quantity(self, name: str) -> str:
        """Return what ``evaluate`` calls a quantity: "errors" is "test_errors", or "held_out_errors"."""
        return f"{self.evaluated_split}_{name}"

    @property
    def num_evaluated(self) -> int:
        """Samples that ``evaluate`` reads."""
        return len(self.opened.test) if self.opened else 0

    def _train(self, train: Callable[[], list[TrainedNetwork]]) -> list[TrainedNetwork]:
        assert not self.is_evaluated, "everything is trained before the test set is read"
        networks = train()
        for network in networks:
            if network.folder is not None:
                self.facts.setdefault(network.folder.name, network.facts())
        return networks
