"""What every job does alike: train one network, examine all of them once, write the record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.data import Normalise, Samples, Views, augmentations_from
from limbeck.distillation.job_arguments import JobArguments
from limbeck.distillation.measure import Examination, TrainedNetwork
from limbeck.distillation.result import RunResult
from limbeck.distillation.run_directory import RunDirectory, plain
from limbeck.distillation.sources import Network
from limbeck.distillation.splits import JobData
from limbeck.models import save_model
from limbeck.objectives import MutualLearning, Objective
from limbeck.records import Comparison, DarkKnowledge, EarlyExitRecord, Measurement, NetworkRecord, RunRecord
from limbeck.teachers import Teacher
from limbeck.training import (
    FitResult,
    Progress,
    Recipe,
    Runtime,
    count_batches,
    environment_facts,
    fit,
    fit_cohort,
    progress_for,
)


@dataclass(frozen=True, eq=False)
class Workbench:
    """Data, device and folder of one job."""

    data: JobData
    normalise: Normalise | None
    runtime: Runtime
    progress: Progress
    directory: RunDirectory
    config: dict[str, Any]
    command: str
    started: float  # time.perf_counter()

    @staticmethod
    def open(data: JobData, settings: JobArguments, *, names: dict[str, Any], function: str) -> Workbench:
        """Resolve device, precision and display, and open the folder.

        Args:
            data: the job's.
            settings: the job's.
            names: of data and networks, for the record.
            function: that was called, for the record where no command was given.
        """
        config, out, progress = settings.description(names), settings.out, settings.progress
        return Workbench(
            data=data,
            normalise=settings.normalise,
            runtime=Runtime.resolve(settings.device, settings.precision),
            progress=progress_for(progress) if isinstance(progress, str) else progress,
            directory=RunDirectory.open(Path(out) if out else None, config=config, overwrite=settings.overwrite),
            config=config,
            command=settings.command or f"limbeck.{function}(...)",
            started=time.perf_counter(),
        )

    def clean_views(self) -> Views:
        """Return the views without augmentation."""
        return Views(normalise=self.normalise)

    def views(self, augmentations: Sequence[str], *, seed: int) -> Views:
        """Return the views of a network's inputs."""
        return Views(augmentations_from(augmentations), self.normalise, seed)

    def train_network(
        self,
        network: Network,
        *,
        role: str,
        seed: int,
        samples: Samples,
        objective: Objective,
        recipe: Recipe,
        augmentations: Sequence[str],
        num_views: int | None = None,
        view_seed: int = 0,
        teacher: Teacher | None = None,
        start_seed: int | None = None,
        origin: str = "trained",
    ) -> TrainedNetwork:
        """Train one network, or go on with it, or take it as it is where an earlier run finished it.

        An epoch has as many steps as one pass over the whole training set, also for a network that sees only its
        labelled part: so all networks of a job take the same number of steps. ``start_seed`` is that of the initial
        weights where it is another one than the run's.
        """
        name = f"{role.replace(' ', '')}-seed{seed}"
        fitted = fit(
            self.data.build(network, seed=seed if start_seed is None else start_seed),
            samples,
            objective,
            recipe=recipe,
            teacher=teacher,
            validation=self.data.validation,
            views=self.views(augmentations, seed=seed if num_views is None else view_seed),
            num_views=num_views,
            seed=seed,
            steps_per_epoch=count_batches(len(self.data.train), recipe.batch_size),
            runtime=self.runtime,
            name=name,
            checkpoint=self.directory.checkpoint(name),
            events=self.directory.events(),
            progress=self.progress,
        )
        return _trained(fitted, network, role=role, seed=seed, origin=origin)

    def train_cohort(
        self,
        networks: Sequence[Network],
        *,
        role: str,
        seed: int,
        start_seeds: Sequence[int],
        samples: Samples,
        objective: MutualLearning,
        recipe: Recipe,
        update: str,
        augmentations: Sequence[str],
        num_views: int | None,
        view_seed: int,
        teacher: Teacher | None,
    ) -> list[TrainedNetwork]:
        """Train networks that learn from each other, or go on with them; roles are "ROLE 1", "ROLE 2", ...

        The initial weights of each come from its own seed, order and dropout of all from ``seed``.
        """
        name = f"{role}-seed{seed}"
        cohort = fit_cohort(
            [self.data.build(network, seed=start) for network, start in zip(networks, start_seeds, strict=True)],
            samples,
            objective,
            recipe=recipe,
            update=update,
            teacher=teacher,
            validation=self.data.validation,
            views=self.views(augmentations, seed=seed if num_views is None else view_seed),
            num_views=num_views,
            seed=seed,
            steps_per_epoch=count_batches(len(self.data.train), recipe.batch_size),
            runtime=self.runtime,
            name=name,
            checkpoint=self.directory.checkpoint(name),
            events=self.directory.events(),
            progress=self.progress,
        )
        return [
            _trained(fitted, network, role=f"{role} {number}", seed=seed, origin="trained")
            for number, (fitted, network) in enumerate(zip(cohort.members, networks, strict=True), start=1)
        ]

    def save_network(self, network: TrainedNetwork, folder: str) -> None:
        """Save a trained network in a folder of the run; nothing where the run has none."""
        if self.directory.path is None:
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

    def examine(
        self, networks: Sequence[TrainedNetwork], *, teacher_logits: Tensor | None
    ) -> tuple[list[NetworkRecord], list[Measurement]]:
        """Measure all networks on the test set, which is read here and nowhere else."""
        examination = Examination(
            test=self.data.test,
            validation=self.data.validation,
            views=self.clean_views(),
            runtime=self.runtime,
            teacher_logits=teacher_logits,
        )
        examined = [examination.measure(network) for network in networks]
        return [record for record, _ in examined], [value for _, values in examined for value in values]

    @staticmethod
    def chosen(candidates: Sequence[TrainedNetwork]) -> TrainedNetwork:
        """Return the network that validation chooses; that of the lowest seed without validation."""
        return min(candidates, key=_validation_key)

    def finish(
        self,
        kind: str,
        candidates: Sequence[TrainedNetwork],
        *,
        seeds: Sequence[int],
        networks: list[NetworkRecord],
        measurements: list[Measurement],
        dark: list[DarkKnowledge],
        notes: list[str],
        comparisons: Sequence[Comparison] = (),
        early_exits: Sequence[EarlyExitRecord] = (),
    ) -> RunResult:
        """Choose the network to deploy by validation, make the record, and write both where there is a folder."""
        chosen = self.chosen(candidates)
        record = RunRecord(
            kind=kind,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=self.command,
            elapsed_seconds=time.perf_counter() - self.started,
            config=plain(self.config),
            environment=environment_facts(self.runtime),
            data=self.data.describe(),
            seeds=list(seeds),
            networks=networks,
            measurements=measurements,
            dark_knowledge=dark,
            notes=notes,
            comparisons=list(comparisons),
            early_exits=list(early_exits),
        )
        assert chosen.seed is not None, "a candidate was trained here, from a seed"
        result = RunResult(
            student=chosen.module.cpu().eval(),
            student_name=chosen.name,
            student_seed=chosen.seed,
            record=record,
            normalise=asdict(self.normalise) if self.normalise else None,
        )
        if self.directory.path is not None:
            result.save(self.directory.path)
        return result


def _trained(fitted: FitResult, network: Network, *, role: str, seed: int, origin: str) -> TrainedNetwork:
    return TrainedNetwork(
        role=role,
        name=network.name,
        seed=seed,
        origin=origin,
        module=fitted.student,
        selected_weights=fitted.selected_weights,
        last_weights=fitted.last_weights,
        selected_epoch=fitted.selected_epoch,
        history=fitted.history,
        elapsed_seconds=fitted.elapsed_seconds,
    )


def _validation_key(network: TrainedNetwork) -> tuple[float, float, int]:
    """Order networks by validation errors, then NLL, then seed; by seed alone without a validation split."""
    chosen = next((record for record in network.history if record.epoch == network.selected_epoch), None)
    validation = chosen.validation if chosen else {}
    return validation.get("errors", 0.0), validation.get("nll", 0.0), network.seed or 0
