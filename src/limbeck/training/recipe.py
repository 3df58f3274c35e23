"""How a network is trained: the settings that baseline and distilled student share."""

from typing import get_args

from limbeck.settings.train_config import Optimiser, Schedule

OPTIMISERS: tuple[str, ...] = get_args(Optimiser)
SCHEDULES: tuple[str, ...] = get_args(Schedule)
