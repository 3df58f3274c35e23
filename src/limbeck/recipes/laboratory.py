"""The verbs that recipes are written in: open data, train, collect answers, examine, observe, draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from limbeck.data import Samples, Views, load_data
from limbeck.distillation.measure import PooledNetwork, TrainedNetwork
from limbeck.distillation.sources import NetworkSource
from limbeck.errors import InvalidValue, ModelError
from limbeck.metrics import ExitCost, count_parameters
from limbeck.models import EveryExit, ExitNetwork
from limbeck.objectives import MutualLearning, Objective
from limbeck.recipes.answers import answered
from limbeck.recipes.costs import kept_exit_costs, measured_on
from limbeck.recipes.exam import Exam, ExitExam, exit_conditions
from limbeck.recipes.material import SMOKE_TRAIN, Material, cut, material_of
from limbeck.recipes.shelf import Shelf
from limbeck.recipes.task import Task
from limbeck.reproduction import Figure, NetworkFacts, Observation
from limbeck.teachers import EnsembleTeacher, ModuleTeacher, Teacher
from limbeck.training import Progress, Recipe, Runtime, predict

Guide = Teacher | TrainedNetwork | Sequence[TrainedNetwork]


@dataclass(eq=False)
class Laboratory:
    """Where a recipe runs. What it trains is found again by every recipe that trains the same.

    Args:
        networks: folder of trained networks and collected answers.
        runtime: device, and the precision of training.
        progress: what a person sees.
        smoke: cut every data set to a small stratified part.
        folder: where the record will stand, for files beside it; None where nothing is to be written.
    """

    networks: Path
    runtime: Runtime
    progress: Progress
    smoke: bool = False
    folder: Path | None = None
    observations: list[Observation] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, NetworkFacts] = field(default_factory=dict)  # by folder
    material: Material | None = None  # what was opened
    _reading: bool = False  # whether the samples of the exam have been read

    def open(self, name: str, *, held_out: int = 0, num_train: int = 0, num_validation: int = 0) -> Samples:
        """Return the training samples of the data set that the recipe is about; once.

        Args:
            name: as ``load_data`` takes it.
            held_out: so many training samples, stratified, are taken out of it and examined *instead of the test
                set*, which is then not read: for the search of settings. 0 in the run whose numbers are published.
            num_train: how many are learned from, stratified; 0 for all.
            num_validation: so many other training samples, stratified, are kept apart as ``validation``, in every run.
        Raises:
            DataError: a data set that cannot be found, or has fewer samples than are asked for.
        """
        assert self.material is None, "a recipe opens the data set that it is about once"
        self.material = material_of(
            name, held_out=held_out, num_train=num_train, num_validation=num_validation, smoke=self.smoke
        )
        self.notes += self.material.notes
        return self.material.train

    @property
    def validation(self) -> Samples:
        """The training samples that ``open`` kept apart, to choose by."""
        assert self.material is not None, "a recipe opens its data set first"
        assert self.material.validation is not None, "a recipe that chooses asks for num_validation"
        return self.material.validation

    def load(self, name: str, *, image_size: int | None = None) -> Samples:
        """Return the training samples of another data set, e.g. as a transfer set from elsewhere.

        Args:
            name: as ``load_data`` takes it.
            image_size: resize its images to this height and width.
        """
        train = load_data(name, image_size=image_size, validation_fraction=0.0).train
        return cut(train, SMOKE_TRAIN) if self.smoke else train

    def trained(
        self,
        name: str,
        source: NetworkSource,
        *,
        samples: Samples,
        objective: Objective,
        recipe: Recipe,
        seed: int,
        views: Views | None = None,
        num_views: int | None = None,
        teacher: Teacher | None = None,
        validation: Samples | None = None,
        steps_per_epoch: int | None = None,
        weights_seed: int | None = None,
    ) -> TrainedNetwork:
        """Return a trained network: one that is there already, otherwise trained now, or further from where it stopped.

        It is found by the hash of everything that decides its weights, never by its name alone.

        Args:
            name: of its folder, progress and record: "teacher", "distilled".
            source: a spec of the zoo, a callable that builds a module, or a module to start from.
            samples: what it learns from.
            objective: what it minimises.
            recipe: of its training.
            seed: of initial weights, order and dropout.
            views: normalisation and augmentation; neither where not given. Their seed is theirs.
            num_views: show views 0 .. n - 1 in turn.
            teacher: what ``answers`` returned, or any other.
            validation: chooses the epoch; the last one's weights are taken where there is none.
            steps_per_epoch: one pass over the samples where not given.
            weights_seed: of the initial weights alone, where they are to be another's, such as a peer's.
        """
        task = Task.make(
            name,
            source,
            samples=samples,
            objective=objective,
            recipe=recipe,
            seed=seed,
            views=views,
            num_views=num_views,
            teacher=teacher,
            validation=validation,
            steps_per_epoch=steps_per_epoch,
            precision=self.runtime.precision,
            way="alone",
            weights_seed=weights_seed,
        )
        shelf = self._shelf()
        was_there = shelf.has(task)
        if not was_there:
            shelf.train(task, self.progress)
        return self._taken(shelf, task, was_there=was_there)

    def trained_together(
        self,
        name: str,
        source: NetworkSource,
        *,
        samples: Samples,
        objectives: Sequence[Objective],
        seeds: Sequence[int],
        recipe: Recipe,
        views: Views | None = None,
        teacher: Teacher | None = None,
        validation: Samples | None = None,
    ) -> list[TrainedNetwork]:
        """Return networks of one shape, one for each (objective, seed), trained in one pass where they are missing.

        Each is found on its own, so a wider sweep trains only what it adds. A pass that is stopped begins anew: give
        a sweep in pieces whose loss is bearable. See ``fit_stacked`` for what can be stacked.

        Args:
            name: of their folders.
            source: a spec of the zoo, without dropout and batch norm.
            samples: what they learn from.
            objectives: one for each network.
            seeds: one for each network.
            recipe: of all.
            views: of all; see ``trained``.
            teacher: of all whose objective needs one.
            validation: chooses each network's epoch.
        """
        if len(objectives) != len(seeds):
            raise InvalidValue(
                "Every network needs an objective and a seed.",
                received=f"{len(objectives)} objectives, {len(seeds)} seeds",
                expected="as many of each",
            )
        shelf = self._shelf()
        tasks = [
            Task.make(
                name,
                source,
                samples=samples,
                objective=objective,
                recipe=recipe,
                seed=seed,
                views=views,
                num_views=None,
                teacher=teacher,
                validation=validation,
                steps_per_epoch=None,
                precision=self.runtime.precision,
                way="stacked",
            )
            for objective, seed in zip(objectives, seeds, strict=True)
        ]
        missing = [task for task in tasks if not shelf.has(task)]
        if missing:
            shelf.train_together(missing, self.progress)
        return [self._taken(shelf, task, was_there=task not in missing) for task in tasks]

    def trained_cohort(
        self,
        name: str,
        sources: Sequence[NetworkSource],
        *,
        samples: Samples,
        objective: MutualLearning,
        recipe: Recipe | Sequence[Recipe],
        seed: int,
        weights_seeds: Sequence[int],
        update: str = "alternating",
        views: Views | None = None,
        num_views: int | None = None,
        teacher: Teacher | None = None,
        validation: Samples | None = None,
        steps_per_epoch: int | None = None,
    ) -> list[TrainedNetwork]:
        """Return the members of a cohort that learned from each other: see ``fit_cohort``.

        Each is found on its own, by all that ``trained`` goes by and by its peers, the order of their updates, and its
        own number among them. Where one is missing all are trained, or further from where they stopped.

        Args:
            name: of the cohort; its members are "NAME-1", "NAME-2", ...
            sources: at least two, as ``trained`` takes them; they may differ.
            samples: what all learn from.
            objective: of every member.
            recipe: one for all, or one for each.
            seed: of order and dropout, for all.
            weights_seeds: of each one's initial weights; peers that start alike stay alike.
            update: "alternating" or "simultaneous".
            views: of all; see ``trained``.
            num_views: show views 0 .. n - 1 in turn.
            teacher: a frozen one beside the peers, where the objective has a weight for it.
            validation: chooses each member's epoch; the last one's weights are taken where there is none.
            steps_per_epoch: one pass over the samples where not given.
        Raises:
            InvalidValue: not one seed of weights, or one recipe, for each member.
            InvalidValue, ModelError, UnknownName: what ``fit_cohort`` refuses.
        """
        recipes = [recipe] * len(sources) if isinstance(recipe, Recipe) else list(recipe)
        if not len(sources) == len(weights_seeds) == len(recipes):
            raise InvalidValue(
                "Every member of a cohort needs a seed of its weights, and a recipe.",
                received=f"{len(sources)} networks, {len(weights_seeds)} seeds, {len(recipes)} recipes",
                expected="as many of each",
            )
        alone = [
            Task.make(
                f"{name}-{number}",
                source,
                samples=samples,
                objective=objective,
                recipe=own,
                seed=seed,
                views=views,
                num_views=num_views,
                teacher=teacher,
                validation=validation,
                steps_per_epoch=steps_per_epoch,
                precision=self.runtime.precision,
                way="cohort",
                weights_seed=weights_seed,
            )
            for number, (source, own, weights_seed) in enumerate(zip(sources, recipes, weights_seeds, strict=True), 1)
        ]
        tasks = [task.in_company(member=k, peers=alone, update=update) for k, task in enumerate(alone, start=1)]
        shelf = self._shelf()
        were_there = [shelf.has(task) for task in tasks]
        if not all(were_there):
            shelf.train_cohort(tasks, update=update, progress=self.progress)
        return [self._taken(shelf, task, was_there=there) for task, there in zip(tasks, were_there, strict=True)]

    def workroom(self) -> Path:
        """Return the folder of networks, for jobs that train there on their own.

        Nothing is trained once the test set was read.
        """
        return self._shelf().folder

    def answers(
        self,
        teacher: Guide,
        samples: Samples,
        *,
        views: Views | None = None,
        num_views: int | None = None,
        pooling: str = "arithmetic",
        codec: str = "dense16",
    ) -> Teacher:
        """Return a teacher that has answered for every sample of a transfer set already, at any temperature.

        Clean views are answered into memory; numbered views into a store beside the networks, which is found again.

        Args:
            teacher: a trained network, several of them (an ensemble, pooled when asked), or a Teacher.
            samples: the transfer set; its labels do not matter.
            views: what student and teacher see.
            num_views: of augmented views, shown in turn.
            pooling: of several networks: "arithmetic" or "geometric" mean.
            codec: of the store.
        """
        return answered(
            self.teacher(teacher, pooling=pooling),
            samples,
            views=views or Views(),
            num_views=num_views,
            pooling=pooling,
            codec=codec,
            precision=self.runtime.precision,
            root=self.networks,
            progress=self.progress,
        )

    def teacher(self, guide: Guide, *, pooling: str = "arithmetic") -> Teacher:
        """Return trained networks as one teacher that answers live, in every step."""
        if isinstance(guide, Teacher):
            return guide
        if isinstance(guide, TrainedNetwork):
            return ModuleTeacher(guide.module, name=guide.role)
        return EnsembleTeacher([ModuleTeacher(network.module, name=network.role) for network in guide], pooling=pooling)

    def asked(
        self, network: TrainedNetwork | nn.Module | Teacher, samples: Samples, *, views: Views | None = None
    ) -> Exam:
        """Return what a network answers on the clean views of labelled samples other than the test set's.

        For accuracies on training samples, offsets tuned on held-out ones, and the like. Nothing is recorded. Networks
        are asked in float32, whatever precision they were trained in: rounded logits tie.
        """
        if isinstance(network, Teacher):
            network = PooledNetwork(network)
        module = network.module if isinstance(network, TrainedNetwork) else network
        logits = predict(module.to(self.runtime.device), samples, views or Views(), runtime=self._exact)
        return Exam(logits, samples.labels.cpu(), samples.class_names)

    def asked_exits(self, network: TrainedNetwork, samples: Samples, *, views: Views | None = None) -> ExitExam:
        """Return what every exit of a network answers, as ``asked`` does of the network itself.

        Raises:
            ModelError: a network without exits.
        """
        exits = _exits_of(network)
        logits = predict(EveryExit(exits).to(self.runtime.device), samples, views or Views(), runtime=self._exact)
        return ExitExam(logits, samples.labels.cpu(), samples.class_names, exits.exit_names)

    def exit_costs(self, network: TrainedNetwork, *, alone: bool = False) -> list[ExitCost]:
        """Return what an answer at each exit costs here; measured once for an architecture, and found again.

        A note tells on what the times are measured.

        Args:
            network: with exits.
            alone: see ``limbeck.metrics.exit_costs``.
        Raises:
            ModelError: a network without exits.
        """
        assert self.material is not None, "a recipe opens its data set first"
        sentence = measured_on(self.runtime)
        if sentence not in self.notes:
            self.note(sentence)
        return kept_exit_costs(
            _exits_of(network), self.material.train.input_shape, alone=alone, folder=self.networks,
            runtime=self.runtime,
        )  # fmt: skip

    def examine(
        self,
        network: TrainedNetwork | nn.Module | Teacher,
        *,
        condition: str,
        seed: int | None,
        views: Views | None = None,
        classes: Sequence[str] = (),
    ) -> Exam:
        """Read the test set with a network, and record errors, accuracy and NLL.

        This and ``examine_exits`` alone read it. They come after all training and choosing: nothing can be trained once
        one was called. Where samples were held out (``open``), they are read in the test set's place, and quantities
        are called "held_out_..." instead of "test_...".

        Args:
            network: a trained network, any module that gives logits, or a teacher (an ensemble is read as one network).
            condition: what claims and figures call it.
            seed: which run of the condition it is; None where there is but one, of no seed.
            views: for their normalisation.
            classes: names of classes whose errors are recorded too, as "test_errors_on_NAME".
        Returns:
            The answers, for what else is to be observed of them.
        """
        assert self.material is not None, "a recipe opens its data set first"
        self._reading = True
        exam = self.asked(network, self.material.exam, views=views)
        self.record_exam(exam, condition=condition, seed=seed, classes=classes)
        return exam

    def examine_exits(
        self, network: TrainedNetwork, *, condition: str, seed: int | None, views: Views | None = None
    ) -> ExitExam:
        """Read the test set with all exits of a network, once, and record each; see ``examine``.

        The exits are the conditions "CONDITION_exit_1", "CONDITION_exit_2", ..., the head is "CONDITION_head", and the
        mean of all their distributions "CONDITION_ensemble".

        Raises:
            ModelError: a network without exits.
        """
        assert self.material is not None, "a recipe opens its data set first"
        self._reading = True
        exam = self.asked_exits(network, self.material.exam, views=views)
        for number, place in enumerate(exit_conditions(condition, len(exam.exit_names))):
            self.record_exam(exam.of(number), condition=place, seed=seed)
        self.record_exam(exam.ensemble, condition=f"{condition}_ensemble", seed=seed)
        return exam

    def record_exam(self, exam: Exam, *, condition: str, seed: int | None, classes: Sequence[str] = ()) -> None:
        """Record errors, accuracy and NLL of an exam, e.g. of one shifted by an offset; ``examine`` does it itself."""
        measured = exam.measured()
        for quantity, unit in (("errors", "count"), ("accuracy", "fraction"), ("nll", "nats")):
            self.observe(condition, seed, self.examined(quantity), measured[quantity], unit)
        for name in classes:
            self.observe(condition, seed, self.examined(f"errors_on_{name}"), exam.errors_on(name), "count")

    def observe(self, condition: str, seed: int | None, quantity: str, value: float, unit: str) -> None:
        """Record one number.

        Raises:
            InvalidValue: the same was observed before, or the quantity in another unit.
        """
        for other in self.observations:
            if (other.condition, other.seed, other.quantity) == (condition, seed, quantity):
                raise InvalidValue(
                    "A run is observed once.", received=f"{condition}, seed {seed}, {quantity} a second time"
                )
            if other.quantity == quantity and other.unit != unit:
                raise InvalidValue(f"{quantity} has two units.", received=unit, expected=other.unit)
        self.observations.append(Observation(condition, seed, quantity, float(value), unit))

    def examined(self, quantity: str) -> str:
        """Return what ``examine`` calls a quantity: "errors" is "test_errors", or "held_out_errors"."""
        return f"{self.material.exam_name if self.material else 'test'}_{quantity}"

    @property
    def num_examined(self) -> int:
        """Samples that ``examine`` reads."""
        return len(self.material.exam) if self.material else 0

    def draw(self, figure: Figure) -> None:
        """Add a figure to the page."""
        self.figures.append(figure)

    def note(self, sentence: str) -> None:
        """Add a sentence that a reader must know."""
        self.notes.append(sentence)

    def beside(self, name: str) -> Path | None:
        """Return the path of a file beside the record, such as a picture; None where the record has no folder."""
        return self.folder / name if self.folder is not None else None

    @property
    def _exact(self) -> Runtime:
        """The runtime in which networks are examined."""
        return replace(self.runtime, precision="fp32")

    def _shelf(self) -> Shelf:
        assert not self._reading, "everything is trained before the test set is read"
        return Shelf(self.networks, self.runtime)

    def _taken(self, shelf: Shelf, task: Task, *, was_there: bool) -> TrainedNetwork:
        trained, environment = shelf.get(task)
        folder = shelf.place(task).name
        self.facts.setdefault(
            folder,
            NetworkFacts(
                name=task.name,
                spec=task.network.name,
                seed=task.seed,
                folder=folder,
                num_parameters=count_parameters(trained.module),
                num_epochs=len(trained.history),
                training_seconds=trained.elapsed_seconds,
                was_there=was_there,
                environment=environment,
            ),
        )
        return trained


def _exits_of(network: TrainedNetwork) -> ExitNetwork:
    if not isinstance(network.module, ExitNetwork):
        raise ModelError(
            f"{network.role} has no exits.",
            received=type(network.module).__name__,
            remedy="train one of limbeck.models.exit_network",
        )
    return network.module
