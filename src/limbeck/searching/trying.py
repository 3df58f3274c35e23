"""The trials of a search: groups of settings for each candidate in turn, early results first, until all is spent."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.distillation import Experiment, TrainedNetwork
from limbeck.distillation.task import Training
from limbeck.errors import InvalidValue, ModelError
from limbeck.objectives import Objective, named_objective
from limbeck.searching.candidates import Candidate
from limbeck.searching.study import CandidateStudy, Storage, Trial, Tried
from limbeck.settings import SearchSettings, TrainConfig
from limbeck.teachers import Teacher
from limbeck.training.stacked_networks import check_stackable

GROUP = 4  # settings that are asked for, and trained, at once: in one pass, or as jobs
EARLY_FRACTION = 4  # the early result is of a quarter of the epochs
PRUNED_TRIALS = 8  # of a candidate: early results of fewer cost more than they save
TURN_SHARE = 0.5  # of the time of the dearest candidate's group, that each candidate's turn has under a budget
STACKED_PARAMETERS = 500_000  # larger networks fill the machine alone
TRIAL_SEED = 10_000  # and up, of all trials: settings are compared on the same start and order


@dataclass(eq=False)
class Trials:
    """Tries settings of candidates.

    Args:
        experiment: trains and keeps networks.
        settings: of the search.
        teacher: gives soft targets, collected once for all.
        candidates: cheapest first.
        studies: one for each.
        storage: that the studies are kept in.
        started: when the budget began, by ``time.monotonic``.
    """

    experiment: Experiment
    settings: SearchSettings
    teacher: Teacher
    candidates: Sequence[Candidate]
    studies: Sequence[CandidateStudy]
    storage: Storage
    started: float
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)  # of a group's whole training, by candidate
    trial_seconds: dict[str, float] = dataclasses.field(default_factory=dict)  # the same for each of the group

    def run(self) -> None:
        """Try settings, candidate after candidate, until the trials or the budget are spent.

        Every candidate gets one group first; then those that no cheaper one equals get more. Under a budget a cheap one
        gets several in its turn, and one that would outlast the budget is passed over. A group is kept when all of it
        has been tried; a search that was stopped goes on after the last one that was kept, with the candidate whose
        turn it then was.

        Raises:
            InvalidValue: a budget that was spent before one candidate was trained.
        """
        first = self._next_candidate()
        while self._num_left() > 0:
            before = self._num_left()
            for candidate, study in list(zip(self.candidates, self.studies, strict=True))[first:]:
                self._give_turn(candidate, study)
            if self._num_left() == before and first == 0:
                break  # every candidate is beaten, or would outlast the budget
            first = 0
        self._require_one()

    def _give_turn(self, candidate: Candidate, study: CandidateStudy) -> None:
        """Try a group of a candidate's settings; under a budget groups for half the time of the dearest one's."""
        began = time.monotonic()
        while self._num_left() > 0 and not (study.num_done and self._is_beaten(candidate, study)):
            if self._is_late(candidate):
                return
            with self.storage.together():
                self._try_group(candidate, study, min(GROUP, max(1, self._num_left() - self._num_waiting(study))))
            longest = max(self.seconds.values(), default=0.0)
            if self.settings.budget_seconds is None or time.monotonic() - began >= TURN_SHARE * longest:
                return

    def _next_candidate(self) -> int:
        """Return the place of the candidate after the one that was tried last; 0 after the last, and at the start."""
        last = [study.last_group for study in self.studies]
        return 0 if max(last) < 0 else (last.index(max(last)) + 1) % len(last)

    def best_of(self, candidate: Candidate) -> Tried | None:
        """Return the best setting of a candidate."""
        return self.studies[list(self.candidates).index(candidate)].best

    def objective(self, values: dict[str, float]) -> Objective:
        """Return what a student with these values minimises."""
        given = self.settings.objective
        multi = self.experiment.data.train.task == "multi_label"
        weights = {
            "temperature": values["temperature"],
            "hard_weight": values["hard_weight"],
            "soft_weight": 1.0 - values["hard_weight"],
        }
        return named_objective(given or ("binary" if multi else "soft_targets"), settings=weights)

    def recipe(self, values: dict[str, float]) -> TrainConfig:
        """Return the recipe with these values."""
        return dataclasses.replace(self.settings.recipe, learning_rate=values["learning_rate"])

    def _try_group(self, candidate: Candidate, study: CandidateStudy, count: int) -> None:
        stacks = self._can_stack(candidate)
        group = 1 + max(other.last_group for other in self.studies)
        together = stacks or self.settings.jobs is not None
        trials = study.ask(count if together else 1, group=group, from_others=self._best_of_others(candidate))
        early = max(1, self.settings.recipe.num_epochs // EARLY_FRACTION)
        if early < self.settings.recipe.num_epochs and self._prunes():
            networks = self._train(candidate, trials, num_epochs=early, stacked=stacks)
            trials = [
                trial
                for trial, network in zip(trials, networks, strict=True)
                if not study.is_pruned(trial, _validation(network)["accuracy"], epoch=early)
            ]
        if not trials:
            return
        start = time.monotonic()
        networks = self._train(candidate, trials, num_epochs=self.settings.recipe.num_epochs, stacked=stacks)
        if not all(network.was_cached for network in networks):
            self.seconds[candidate.name] = time.monotonic() - start
            self.trial_seconds[candidate.name] = self.seconds[candidate.name] / len(trials)
        for trial, network in zip(trials, networks, strict=True):
            measured = _validation(network)
            study.tell(trial, measured["accuracy"], measured["nll"])

    def _train(
        self, candidate: Candidate, trials: Sequence[Trial], *, num_epochs: int, stacked: bool
    ) -> list[TrainedNetwork]:
        data, settings = self.experiment.data, self.settings
        recipes = [dataclasses.replace(self.recipe(trial.values), num_epochs=num_epochs) for trial in trials]
        trial_seed = TRIAL_SEED + settings.search_seed
        seed = trial_seed if settings.num_views is None else settings.view_seed
        views = self.experiment.views(settings.augmentations, seed=seed)
        if stacked:
            return self.experiment.train_stacked(
                "trial",
                candidate.network,
                objectives=[self.objective(trial.values) for trial in trials],
                seeds=[trial_seed] * len(trials),
                samples=data.train,
                recipe=recipes[0],
                views=views,
                teacher=self.teacher,
                validation=data.choosing,
            )
        trainings: list[Training] = [
            {
                "objective": self.objective(trial.values),
                "seed": trial_seed,
                "samples": data.train,
                "recipe": recipe,
                "views": views,
                "num_views": settings.num_views,
                "teacher": self.teacher,
                "validation": data.choosing,
            }
            for trial, recipe in zip(trials, recipes, strict=True)
        ]
        wanted = [("trial", candidate.network, training) for training in trainings]
        return self.experiment.train_all(wanted, jobs=settings.jobs)

    def _can_stack(self, candidate: Candidate) -> bool:
        """Tell whether several of a candidate can be trained in one pass: small, no batch norm, one class a sample."""
        train, settings = self.experiment.data.train, self.settings
        is_plain = train.labels.dim() == 1 and train.weights is None and settings.recipe.class_weights is None
        if not is_plain or settings.objective or settings.num_views or len(train.input_shapes) > 1:
            return False
        if candidate.num_parameters > STACKED_PARAMETERS or candidate.network.shares_start:
            return False
        try:
            check_stackable([self.experiment.data.build(candidate.network, seed=0)])
        except ModelError:
            return False
        return True

    def _num_left(self) -> int:
        return self.settings.num_trials - sum(study.num_done for study in self.studies)

    def _num_waiting(self, current: CandidateStudy) -> int:
        """Return how many other candidates have not had a trial, and are owed one."""
        return sum(study is not current and study.num_done == 0 for study in self.studies)

    def _is_beaten(self, candidate: Candidate, study: CandidateStudy) -> bool:
        """Tell whether a cheaper candidate is more accurate by over a standard error, and its settings did not help."""
        own = study.best
        num_validation = len(self.experiment.validation)
        for other, its in zip(self.candidates, self.studies, strict=True):
            if other.cost >= candidate.cost or its.best is None or own is None:
                continue
            error = (max(its.best.accuracy * (1 - its.best.accuracy), 1e-6) / num_validation) ** 0.5
            if its.best.accuracy > own.accuracy + error and study.has_tried(its.best.values):
                return True
        return False

    def _best_of_others(self, candidate: Candidate) -> list[dict[str, float]]:
        """Return the best settings of the most accurate cheaper candidate, the next cheaper and the next dearer one."""
        place = list(self.candidates).index(candidate)
        cheaper = [best for study in self.studies[:place] if (best := study.best) is not None]
        dearer = [best for study in self.studies[place + 1 : place + 2] if (best := study.best) is not None]
        strongest = sorted(cheaper, key=lambda one: -one.accuracy)[:1]
        return [one.values for one in (*strongest, *cheaper[-1:], *dearer)]

    def _prunes(self) -> bool:
        """Tell whether so many settings of each candidate are to be tried that early results pay for themselves."""
        each = self.settings.num_trials / len(self.candidates)
        if self.settings.budget_seconds is not None:
            if len(self.trial_seconds) < len(self.candidates):
                return False  # how long one takes is not known yet
            done = sum(study.num_done for study in self.studies) / len(self.candidates)
            each = min(each, done + self._seconds_left() / sum(self.trial_seconds.values()))
        return each >= PRUNED_TRIALS

    def _is_late(self, candidate: Candidate) -> bool:
        """Tell whether another group, and after it the winners on fresh seeds, would outlast the budget."""
        if self.settings.budget_seconds is None:
            return False
        return self.seconds.get(candidate.name, max(self.seconds.values(), default=0.0)) > self._seconds_left()

    def _seconds_left(self) -> float:
        """Return what a budget leaves for trials: the winners on fresh seeds come after them."""
        assert self.settings.budget_seconds is not None
        dearest = sorted(self.seconds.values(), reverse=True)
        winners = [*dearest[:1], *dearest[: self.settings.num_winners]]  # the first is the baseline
        reserved = sum(winners) * len(self.settings.seed_numbers)
        return self.settings.budget_seconds - (time.monotonic() - self.started) - reserved

    def _require_one(self) -> None:
        if any(study.best is not None for study in self.studies):
            return
        raise InvalidValue(
            "The budget is too small for one trial.",
            received=f"{self.settings.budget}, of which the teacher and its soft targets took "
            f"{time.monotonic() - self.started:.0f} s",
            expected="time for at least one candidate",
            remedy="a longer --budget, fewer --epochs, or a teacher that is trained already; what is trained is kept "
            "in the folder",
        )


def _validation(network: TrainedNetwork) -> dict[str, float]:
    """Return what validation gave at the selected epoch."""
    return next(record.validation for record in network.history if record.epoch == network.selected_epoch)
