"""Published numbers of CIFAR-100's table of distillation, the claims on them, and how a run compares with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from limbeck.distillation.experiment import Experiment
from limbeck.recipes.comparing import observed
from limbeck.reproduction import Claim
from limbeck.statistics import summarise

METHODS = {"kd": "KD", "dkd": "DKD"}
GAIN, REACHED = "test_accuracy_gained", "cifar100_accuracy_plus_deviation"


@dataclass(frozen=True)
class Published:
    """One column of the table, in percent, and the weight that DKD's code gives the other classes there."""

    title: str
    teacher: float
    alone: float
    kd: float
    dkd: float
    others_weight: float


PAIRS = {
    "resnet": Published("ResNet-32x4 to ResNet-8x4", 79.42, 72.50, 73.33, 76.32, others_weight=8.0),
    "vgg": Published("VGG-13 to VGG-8", 74.64, 70.36, 72.98, 74.68, others_weight=6.0),
    "wrn": Published("WRN-40-2 to WRN-16-2", 75.61, 73.26, 74.92, 76.23, others_weight=6.0),
}


def claims_of(pair: str) -> Iterator[Claim]:
    """Yield the claims of one pair: the published numbers, our goals, and what a student gains."""
    published = PAIRS[pair]
    for method, name in METHODS.items():
        number, condition = getattr(published, method), f"{pair}_{method}"
        gain = round(number - published.alone, 2)
        yield Claim(condition, REACHED, f"{published.title}, {name}: the mean, and one standard deviation of our runs "
                    "more, is at least the published accuracy.", paper=number / 100, at_least=number / 100,
                    unit="fraction")  # fmt: skip
        yield Claim(condition, GAIN, f"{published.title}, {name} gains over labels alone.", paper=gain, unit="points")
        yield Claim(condition, f"{GAIN}_low_end", f"{published.title}, {name}: the gain is shown, its 95 % interval "
                    "lies at 0 or above.", at_least=0, unit="points")  # fmt: skip
    for role, what in (("teacher", "the teacher"), ("alone", "the student, from labels alone")):
        yield Claim(f"{pair}_{role}", "cifar100_accuracy", f"{published.title}: what {what} reaches.",
                    paper=getattr(published, role) / 100, unit="fraction")  # fmt: skip


def observe_published(experiment: Experiment, pairs: Sequence[str]) -> None:
    """Observe what stands against the published numbers: of complete runs on CIFAR-100 alone."""
    for pair in pairs:
        for name in ("teacher", "alone", *METHODS):
            for by_seed in observed(experiment, [f"{pair}_{name}"], "test_accuracy"):
                for seed, accuracy in by_seed.items():
                    experiment.results.observe(f"{pair}_{name}", seed, "cifar100_accuracy", accuracy, "fraction")
                if name in METHODS:
                    found = summarise(list(by_seed.values()))
                    reached = found.mean + (found.spread or 0.0)
                    experiment.results.observe(f"{pair}_{name}", None, REACHED, reached, "fraction")
