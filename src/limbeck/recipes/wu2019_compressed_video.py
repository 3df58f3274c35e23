"""Wu 2019, compressed video: three streams, weighted teachers, students that are fused into one network.

Clips are read as they are coded: I-frames, motion vectors and residuals, each a stream with a teacher of its own. A
small student for each stream learns from the weighted mean of the three teachers' tempered distributions, q = sum of
mu_k q_k over the sum of mu_k, and the students' outputs are fused by a weighted mean into the answer.

The clips are made here: handwritten digits that slide, bounce, turn or grow over moving backgrounds, encoded by x264. A
class is a digit and a way to move, so that no stream alone is enough. ``wu2019-compressed-lips`` runs the same on real
lips.

Each student learns four ways, from the same start, on the same views in the same order, for as many epochs as the
teachers: from labels, from its own stream's teacher, from the paper's mean of the three with equal weights, and from
their geometric mean with weights that are fitted on validation clips. The way that the goals are judged by is chosen on
validation clips. ``--set regime.ways=labels,joint_labels,own,joint`` trains the three students as one network, too (see
``limbeck.recipes.stream_students.Regime``). The test clips are read once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from limbeck.distillation.experiment import Experiment
from limbeck.recipes.compressed_video import run_regime
from limbeck.recipes.data import open_data
from limbeck.recipes.stream_students import SMALL, Regime
from limbeck.recipes.streams import STREAMS
from limbeck.reproduction import Claim

PAPER = "Wu, Chiu, Wu 2019, Multi-teacher knowledge distillation for compressed video action recognition, ICASSP"
GAIN, LOST = "test_accuracy_gained", "test_accuracy_lost"
CLAIMS = [
    *(
        Claim(f"teacher_{stream}", "test_accuracy", f"CoViAR's {what} alone on UCF-101.", paper=paper, unit="fraction")
        for stream, what, paper in (("iframe", "I-frames", 0.87), ("motion", "motion vectors", 0.70),
                                    ("residual", "residuals", 0.80))
    ),
    Claim("teachers_fused", "test_accuracy", "CoViAR's three streams fused.", paper=0.905, unit="fraction"),
    *(
        Claim(f"over_{stream}", f"{GAIN}_low_end",
              f"Fused, the teachers are better than {stream} alone: the 95 % interval lies above 0.",
              at_least=0, unit="points")
        for stream in STREAMS
    ),
    Claim("students", "times_less_parameters", "2.4 times fewer parameters.", paper=2.4, at_least=2.4, unit="times"),
    Claim("students", "times_less_computation", "1.2 times less computation.", paper=1.2, at_least=1.5, unit="times"),
    Claim("chosen_fused", LOST, "The fused students, of the way that validation chooses, lose 1.79 points on UCF-101, "
          "0.35 on HMDB-51.", paper=1.79, at_most=0.5, unit="points"),
    Claim("chosen_over_labels", f"{GAIN}_low_end",
          "Distilled, by the way that validation chooses, the fused students are better than on labels alone: the "
          "interval lies above 0.", at_least=0, unit="points"),
    Claim("own_over_labels", GAIN, "Each student by itself: its own stream's teacher against labels.", unit="points"),
    Claim("fitted_over_own", GAIN, "The weighted mean of three teachers against the own stream's alone.",
          unit="points"),
    Claim("fitted_over_equal", GAIN, "Fitted weights against equal ones.", unit="points"),
]  # fmt: skip
DEPARTURES = [
    "Synthetic clips of 20 classes, 64 pixels a side, instead of UCF-101 and HMDB-51; 1,200 to learn from.",
    "Convolutional networks of three layers at 16 pixels instead of ResNet-152 and ResNet-18 at 224; each stream's "
    "teacher has 1.6 times the student's channels.",
    "Only the abstract and the formula of the soft targets were at hand: temperature, weights of the losses, schedule "
    "and the fusing of logits (as CoViAR fuses scores) are ours.",
    "Three segments a clip, of which the clean view shows the middle frame; CoViAR tests on 25.",
]


@dataclass(frozen=True)
class Settings:
    """What a run is made of."""

    data: str = "moving-digits"  # paper: UCF-101, HMDB-51
    image_size: int = 16  # ours; pixels a side, of 64
    num_train: int = 0  # ours; training clips, 0 for all
    num_validation: int = 150  # ours; held out where the data have no validation split
    regime: Regime = field(default_factory=Regime)  # ours, but for the soft targets' formula
    held_out: int = 0  # training clips measured in place of the test set: for the search of settings
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # of teachers, students, order and views


SMOKE = Settings(data="moving-digits-small", regime=SMALL, seeds=(0, 1))


def run(settings: Settings, experiment: Experiment) -> None:
    """Train teachers and students of every stream, choose weights on validation, and read the test clips."""
    clips = open_data(
        experiment, settings.data, held_out=settings.held_out, num_train=settings.num_train,
        num_validation=settings.num_validation, own_validation=True, image_size=settings.image_size,
    )  # fmt: skip
    run_regime(experiment, clips, settings.regime, seeds=settings.seeds)
