"""The settings that are tried for one candidate: asked of Optuna, told to it, kept in a journal."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.distillation.run_directory import SEARCH_JOURNAL
from limbeck.errors import MissingPackage
from limbeck.searching.journal import SealedJournal
from limbeck.settings import SearchSettings

TEMPERATURES = (1.0, 12.0)
HARD_WEIGHTS = (0.0, 0.6)
RATE_FACTOR = 4.0  # learning rates from the recipe's / 4 to 4 times the recipe's
GROUP_NUMBER = "group"  # the attribute of a trial that keeps the number of its group
SEED_STEP = 1_000_003  # between the draws of one search seed and the next
STARTUP_TRIALS = 4  # that are never pruned, and drawn at random


@dataclass(frozen=True, eq=False)
class Trial:
    """One setting to try.

    Args:
        asked: Optuna's trial.
        values: temperature, hard_weight and learning_rate.
    """

    asked: Any
    values: dict[str, float]


@dataclass(frozen=True)
class Tried:
    """One setting that was trained to the end."""

    values: dict[str, float]
    accuracy: float  # on validation
    nll: float


class CandidateStudy:
    """Optuna's study of one candidate.

    What is drawn depends on the trials that are there, not on when the study was opened: a search that goes on draws
    what it would have drawn. Trials that an earlier release left running are tried again first.

    Args:
        name: of the candidate.
        settings: what is tuned, and around what.
        storage: Optuna's, of the whole search.
    """

    def __init__(self, name: str, settings: SearchSettings, storage: Any) -> None:
        optuna = require_optuna()
        self._optuna, self._settings = optuna, settings
        self._study = optuna.create_study(
            study_name=name,
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
        )
        self._name = name
        for trial in self._study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            self._study.enqueue_trial(trial.params)
        if not self._study.trials:
            self._study.enqueue_trial(self._start())

    @property
    def num_done(self) -> int:
        """Trials that are over: trained to the end or pruned."""
        state = self._optuna.trial.TrialState
        return len(self._study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED)))

    @property
    def tried(self) -> list[Tried]:
        """Every setting that was trained to the end."""
        complete = self._study.get_trials(deepcopy=False, states=(self._optuna.trial.TrialState.COMPLETE,))
        return [Tried(self._all(one.params), float(one.value), float(one.user_attrs["nll"])) for one in complete]

    @property
    def best(self) -> Tried | None:
        """The most accurate on validation, of equals the one of lowest NLL; None before the first."""
        return min(self.tried, key=lambda one: (-one.accuracy, one.nll), default=None)

    def has_tried(self, values: Mapping[str, float]) -> bool:
        """Tell whether these settings are among the trials."""
        tuned = {name: values[name] for name in self._settings.tune}
        return any(one.params == tuned for one in self._study.get_trials(deepcopy=False))

    def ask(self, count: int, *, group: int = 0, from_others: Sequence[Mapping[str, float]] = ()) -> list[Trial]:
        """Return so many settings that share their learning rate, and so can be trained in one pass.

        Args:
            count: how many.
            group: the number of this question among those of the whole search, which is kept.
            from_others: settings that were best elsewhere: the first that was not tried here is tried now.
        """
        trials: list[Trial] = []
        drawn = zlib.crc32(self._name.encode()) + len(self._study.trials) + SEED_STEP * self._settings.search_seed
        self._study.sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS, multivariate=True, seed=drawn % 2**31
        )
        self._enqueue_new(from_others)
        for _ in range(count):
            if trials and "learning_rate" in self._settings.tune and not self._waiting:
                self._study.enqueue_trial({"learning_rate": trials[0].values["learning_rate"]})
            asked = self._study.ask()
            asked.set_user_attr(GROUP_NUMBER, group)
            trials.append(Trial(asked, self._all(self._suggested(asked))))
        return trials

    @property
    def last_group(self) -> int:
        """The number of the last group that was asked for here; -1 before the first."""
        numbers = (trial.user_attrs.get(GROUP_NUMBER, -1) for trial in self._study.get_trials(deepcopy=False))
        return max(numbers, default=-1)

    def is_pruned(self, trial: Trial, accuracy: float, *, epoch: int) -> bool:
        """Report an early result; return whether the setting is below the median of the others there, and dropped."""
        trial.asked.report(accuracy, step=epoch)
        if not trial.asked.should_prune():
            return False
        self._study.tell(trial.asked, state=self._optuna.trial.TrialState.PRUNED)
        return True

    def tell(self, trial: Trial, accuracy: float, nll: float) -> None:
        """Report what a setting gave in the end."""
        trial.asked.set_user_attr("nll", nll)
        self._study.tell(trial.asked, accuracy)

    def _enqueue_new(self, values: Sequence[Mapping[str, float]]) -> None:
        """Put the first of these settings that is not among the trials before all that would be drawn."""
        new = [value for value in values if not self.has_tried(value)]
        if new and not self._waiting:
            self._study.enqueue_trial({name: new[0][name] for name in self._settings.tune})

    @property
    def _waiting(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False, states=(self._optuna.trial.TrialState.WAITING,)))

    def _suggested(self, asked: Any) -> dict[str, float]:
        tune, rate = self._settings.tune, self._settings.recipe.learning_rate
        found = {}
        if "temperature" in tune:
            found["temperature"] = asked.suggest_float("temperature", *TEMPERATURES, log=True)
        if "hard_weight" in tune:
            found["hard_weight"] = asked.suggest_float("hard_weight", *HARD_WEIGHTS)
        if "learning_rate" in tune:
            found["learning_rate"] = asked.suggest_float(
                "learning_rate", rate / RATE_FACTOR, rate * RATE_FACTOR, log=True
            )
        return found

    def _all(self, tuned: dict[str, float]) -> dict[str, float]:
        return {**self._start(whole=True), **tuned}

    def _start(self, *, whole: bool = False) -> dict[str, float]:
        """Return the settings as they were given: the first to be tried."""
        own = self._settings
        hard = own.hard_weight / ((own.hard_weight + own.soft_weight) or 1.0)
        values = {
            "temperature": min(max(own.temperature, TEMPERATURES[0]), TEMPERATURES[1]),
            "hard_weight": min(max(hard, HARD_WEIGHTS[0]), HARD_WEIGHTS[1]),
            "learning_rate": own.recipe.learning_rate,
        }
        return values if whole else {name: value for name, value in values.items() if name in own.tune}


class Storage:
    """Where Optuna keeps a search: a journal in the run's folder, or memory where there is none.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path | None) -> None:
        optuna = require_optuna()
        self._journal = None if folder is None else SealedJournal(folder / SEARCH_JOURNAL)
        self.of_optuna: Any = (
            optuna.storages.InMemoryStorage()
            if self._journal is None
            else optuna.storages.JournalStorage(self._journal)
        )

    def together(self) -> AbstractContextManager[None]:
        """Keep all that happens within, or nothing where it does not come to its end."""
        return nullcontext() if self._journal is None else self._journal.together()


def require_optuna() -> Any:
    """Return Optuna, told to keep silent.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingPackage(
            "A search needs Optuna.", received=str(error)[:200], remedy="pip install 'limbeck[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
