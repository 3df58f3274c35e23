"""The settings of a search for the smallest student that is good enough."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from limbeck.errors import InvalidValue
from limbeck.settings.jobs import DistillSettings
from limbeck.settings.setting import Count, Fraction, Positive, Setting

Cost = Literal["parameters", "flops", "latency", "onnx_latency"]
Tuned = Literal["temperature", "hard_weight", "learning_rate"]
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True)
class SearchSettings(DistillSettings):
    """Settings of ``limbeck.search``."""

    cost: Annotated[
        Cost, Setting("What a small student is small in; latency is of one sample, on this machine.", "student")
    ] = "parameters"
    min_kept: Annotated[Fraction, Setting("Share of the teacher's accuracy that the student must keep.", "student")] = (
        0.98
    )
    max_latency_ms: Annotated[
        Positive | None,
        Setting("Longest time of one sample, in ms; slower candidates are left out.", "student", unset="no limit"),
    ] = None
    max_parameters: Annotated[
        Count | None, Setting("Most parameters; larger candidates are left out.", "student", unset="no limit")
    ] = None
    tune: Annotated[
        Sequence[Tuned], Setting("Settings that are searched for each candidate, repeat for more.", "training")
    ] = ("temperature", "hard_weight", "learning_rate")
    num_winners: Annotated[
        Count,
        Setting("Candidates of the front that are trained on fresh seeds and tested.", "training", flag="--winners"),
    ] = 3
    num_trials: Annotated[
        Count,
        Setting("Settings to try in all; those of a stopped search count.", "training", flag="--trials", is_key=False),
    ] = 24
    search_seed: Annotated[
        int, Ge(0), Setting("Seed of the settings that a search draws, and of its trials' training.", "training")
    ] = 0
    jobs: Annotated[
        str | None,
        Setting(
            "Train large candidates in groups, and the winners, as jobs: serial, processes:N, ray, ray://HOST:PORT.",
            "machine",
            unset="here, one after another",
            is_key=False,
        ),
    ] = None
    budget: Annotated[
        str | None, Setting("Longest time of this call: 90s, 30m, 2h.", "training", unset="no limit", is_key=False)
    ] = None

    def __post_init__(self) -> None:
        DistillSettings.__post_init__(self)
        _ = self.budget_seconds

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds; None for none."""
        if self.budget is None:
            return None
        found = _DURATION.fullmatch(self.budget.strip())
        if found is None or float(found[1]) <= 0:
            raise InvalidValue("budget is no duration.", received=self.budget, expected="like 90s, 30m or 2h")
        return float(found[1]) * _SECONDS[found[2]]
