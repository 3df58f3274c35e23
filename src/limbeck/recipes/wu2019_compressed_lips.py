"""Wu 2019, compressed video on real lips: which colour a talker names, from I-frames, motion vectors and residuals.

The same as ``wu2019-compressed-video`` with other data: 1,000 words of one talker of GRID, cut out of their sentences
by their times; 200 of them are the test set. Residuals alone tell almost all that the three streams tell, and the
I-frame, from before the word, tells nothing. Networks see three frames of a word and not their order.

Five minutes on one CPU core, in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from limbeck.distillation.experiment import Experiment
from limbeck.recipes import wu2019_compressed_video as video
from limbeck.recipes.compressed_video import run_regime
from limbeck.recipes.data import open_data
from limbeck.recipes.stream_students import SMALL, Regime

PAPER, CLAIMS = video.PAPER, video.CLAIMS
DEPARTURES = [
    "1,000 clips of four words on one talker's lips instead of UCF-101 and HMDB-51; 200 are the test set, drawn once.",
    *video.DEPARTURES[1:],
]


@dataclass(frozen=True)
class Settings:
    """What a run is made of; see ``wu2019_compressed_video.Settings``."""

    data: str = "grid-colour"  # ours
    image_size: int = 16  # as there
    num_test: int = 200  # ours; samples, drawn once
    num_validation: int = 150  # ours
    regime: Regime = field(default_factory=Regime)  # as there
    held_out: int = 0  # as there
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # as there


SMOKE = Settings(data="moving-digits-small", num_validation=20, regime=SMALL, seeds=(0, 1))


def run(settings: Settings, experiment: Experiment) -> None:
    """Train teachers and students of every stream, choose weights on validation, and read the test clips."""
    clips = open_data(
        experiment, settings.data, held_out=settings.held_out, num_validation=settings.num_validation,
        num_test=settings.num_test, image_size=settings.image_size,
    )  # fmt: skip
    run_regime(experiment, clips, settings.regime, seeds=settings.seeds)
