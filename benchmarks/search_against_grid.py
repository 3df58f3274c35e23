"""`limbeck.search` against a grid of settings that gets the same processor time, on a part of CIFAR-10.

    python benchmarks/search_against_grid.py --out runs/search-against-grid     # 20 minutes of one core
    python benchmarks/search_against_grid.py --out runs/quick --search-seeds 1 --budget 40s --epochs 4

Both choose among `convnet:channels=4x8..32x64`, with the soft targets of one teacher, which is trained once. For each
search seed the search gets `--budget`, counted in processor time here, so that a busy machine takes nothing from it.
The grid then gets the processor time that the search took until it knew its front: soft targets, costs and trials. It
trains every candidate in full with the default settings, then with the next settings of `grid_of`, in a fixed order, on
the search's own trial seed.

A front is the best accuracy at a size or below it. It is told as the mean of that accuracy over the logarithm of the
number of parameters, from the smallest candidate to twice the largest: the hypervolume with chance and that size as
the reference point, divided by its width. Validation figures are of the trials themselves. For the test set the best
setting of each candidate on the front is trained anew, on one fresh seed that both share, and the test set read once.

What is done lies in the folder and is not done again; a search or grid that was stopped begins anew.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import shutil
import time
import unittest.mock as mock
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

import limbeck
from limbeck.data import Samples, Splits, Views, load_data
from limbeck.distillation.sources import network_from
from limbeck.metrics import count_parameters
from limbeck.objectives import named_objective
from limbeck.searching.candidates import expanded
from limbeck.searching.trying import TRIAL_SEED, Trials
from limbeck.statistics import mean_interval, summarise
from limbeck.teachers import Teacher, as_teacher, collect_logits
from limbeck.training import Runtime, TrainConfig, evaluate, fit

FAMILY = "convnet:channels=4x8..32x64"
TEACHER = "convnet:channels=64x128x128"
TEACHER_RECIPE = TrainConfig(num_epochs=20, schedule="one_cycle", learning_rate=0.1)
CHANCE = 0.1
FRESH_SEED = 500  # and up, for the test set
WAYS = ("search", "grid", "defaults alone")


@dataclass(frozen=True)
class Tried:
    """One candidate with its best setting, on validation."""

    name: str
    num_parameters: int
    accuracy: float
    nll: float
    values: dict[str, float]
    num_trials: int


def main() -> None:
    """Train the teacher, then for each seed search, fill the grid, and test both fronts; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder, gone on with where it exists")
    parser.add_argument("--search-seeds", type=int, default=3)
    parser.add_argument("--budget", default="90s", help="of each search, in processor time")
    parser.add_argument("--epochs", type=int, default=6, help="of every student")
    parser.add_argument("--images", type=int, default=2_000, help="that students learn from")
    parser.add_argument(
        "--teacher-images", type=int, default=5_000, help="that the teacher learned from, those among them"
    )
    parser.add_argument("--validation", type=int, default=2_000, help="images that choose")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    splits = part_of_cifar10(arguments.images, arguments.validation)
    splits_of_teacher = part_of_cifar10(arguments.teacher_images, arguments.validation)
    recipe = TrainConfig(num_epochs=arguments.epochs)
    teacher = trained_teacher(splits_of_teacher, arguments.out / "teacher")
    for seed in range(arguments.search_seeds):
        once(arguments.out / f"search-{seed}.json", partial(searched, splits, teacher, recipe, seed, arguments))
        seconds = json.loads((arguments.out / f"search-{seed}.json").read_text())["seconds"]
        once(arguments.out / f"grid-{seed}.json", partial(filled, splits, teacher, recipe, seed, seconds))
        for way in WAYS:
            path = arguments.out / f"test-{way.replace(' ', '-')}-{seed}.json"
            once(path, partial(tested, splits, teacher, recipe, seed, front(arguments.out, way, seed), arguments.out))
    report(arguments.out, arguments.search_seeds)


def once(path: Path, make: Any) -> None:
    """Write what a function returns, where the file is not there yet."""
    if not path.exists():
        content = make()
        part = path.with_suffix(".partial")
        part.write_text(json.dumps(content, indent=1) + "\n")
        part.rename(path)


def part_of_cifar10(num_images: int, num_validation: int) -> Splits:
    """Return a stratified part of the training images, part of the validation images, and the whole test set."""
    whole = load_data("cifar10")
    assert whole.validation is not None
    drawn = torch.Generator().manual_seed(0)
    train = whole.train.take(torch.randperm(len(whole.train), generator=drawn)[:num_images])
    validation = whole.validation.take(torch.randperm(len(whole.validation), generator=drawn)[:num_validation])
    return Splits(train, validation, whole.test, name="cifar10")


def trained_teacher(splits: Splits, out: Path) -> torch.nn.Module:
    """Return the teacher, trained in its folder where it is not there."""
    if not (out / "record.json").exists():
        limbeck.train(
            TEACHER, splits, recipe=TEACHER_RECIPE, augmentations=("crop:4:reflect", "flip"), seeds=1, out=out
        )
    return limbeck.load_model(out).module


def searched(
    splits: Splits, teacher: torch.nn.Module, recipe: TrainConfig, seed: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Search, and return the best setting of every candidate, and the processor time of all of it."""
    out = arguments.out / f"search-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    assert splits.test is not None
    few_tested = replace(splits, test=splits.test.take(torch.arange(0, len(splits.test), 50)))  # not the question here
    began = time.process_time()
    ended: list[float] = []

    def timed(trials: Trials, run: Any = Trials.run) -> None:
        run(trials)
        ended.append(time.process_time() - began)

    with mock.patch("time.monotonic", time.process_time), mock.patch.object(Trials, "run", timed):
        result = limbeck.search(
            teacher, few_tested, students=[FAMILY], recipe=recipe, search_seed=seed, num_trials=10_000, num_winners=1,
            seeds=[FRESH_SEED + 100 + seed], budget=arguments.budget, out=out, progress="silent",
        )  # fmt: skip
    return {
        "seconds": ended[0],
        "seconds_with_winners": time.process_time() - began,
        "teacher_accuracy": result.found.teacher_accuracy,
        "tried": [
            asdict(Tried(one.name, one.num_parameters, one.accuracy, one.nll, one.values, one.num_trials))
            for one in result.found.points
        ],
    }


def grid_of(recipe: TrainConfig) -> Iterator[dict[str, float]]:
    """Yield the settings of the grid, the defaults first; learning rates change fastest, temperatures last."""
    rate = recipe.learning_rate
    for temperature, hard, one in itertools.product((4.0, 2.0, 8.0), (0.1, 0.4), (rate, 2 * rate, rate / 2)):
        yield {"temperature": temperature, "hard_weight": hard, "learning_rate": one}


def filled(splits: Splits, teacher: torch.nn.Module, recipe: TrainConfig, seed: int, seconds: float) -> dict[str, Any]:
    """Train the grid's settings until the processor time is spent; what runs then is finished."""
    began = time.process_time()
    soft = collect_logits(as_teacher(teacher), splits.train, Views())
    rounds: list[list[dict[str, Any]]] = []
    for values in grid_of(recipe):
        rounds.append([])
        for name in expanded(FAMILY):
            if time.process_time() - began >= seconds:
                break
            found = trained(name, splits, soft, recipe, values, TRIAL_SEED + seed, splits.validation)
            rounds[-1].append({**asdict(found), "at": time.process_time() - began})
    tried = [best_of([one for done in rounds for one in done if one["name"] == name]) for name in expanded(FAMILY)]
    return {"seconds": time.process_time() - began, "tried": tried, "defaults": rounds[0], "rounds": rounds}


def trained(
    name: str,
    splits: Splits,
    soft: Teacher,
    recipe: TrainConfig,
    values: dict[str, float],
    seed: int,
    on: Samples | None,
) -> Tried:
    """Train one candidate as a trial of the search trains it, and evaluate it on some samples."""
    assert on is not None
    student = network_from(name).build_for(splits.train, seed=seed)
    weights = {
        "temperature": values["temperature"],
        "hard_weight": values["hard_weight"],
        "soft_weight": 1 - values["hard_weight"],
    }
    fit(
        student,
        splits.train,
        named_objective("soft_targets", settings=weights),
        recipe=replace(recipe, learning_rate=values["learning_rate"]),
        teacher=soft,
        validation=splits.validation,
        seed=seed,
    )
    measured = evaluate(student, on, Views(), runtime=Runtime.resolve("cpu"))
    return Tried(name, count_parameters(student), measured["accuracy"], measured["nll"], values, 1)


def best_of(tried: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the most accurate, with the number of all."""
    best = min(tried, key=lambda one: (-one["accuracy"], one["nll"]))
    return {**best, "num_trials": len(tried)}


def front(out: Path, way: str, seed: int) -> list[dict[str, Any]]:
    """Return the candidates of a front by validation, smallest first."""
    kind = "search" if way == "search" else "grid"
    found = json.loads((out / f"{kind}-{seed}.json").read_text())
    ordered: list[dict[str, Any]] = []
    for one in sorted(found["defaults" if way == "defaults alone" else "tried"], key=lambda one: one["num_parameters"]):
        if not ordered or one["accuracy"] > ordered[-1]["accuracy"]:
            ordered.append(one)
    return ordered


def tested(
    splits: Splits,
    teacher: torch.nn.Module,
    recipe: TrainConfig,
    seed: int,
    chosen: Sequence[dict[str, Any]],
    out: Path,
) -> list[dict[str, Any]]:
    """Train the settings of a front on a fresh seed, and read the test set; what another front has is taken."""
    known = [one for path in out.glob(f"test-*-{seed}.json") for one in json.loads(path.read_text())]
    soft = collect_logits(as_teacher(teacher), splits.train, Views())
    found = []
    for one in chosen:
        same = [other for other in known if (other["name"], other["values"]) == (one["name"], one["values"])]
        found.append(
            same[0]
            if same
            else asdict(trained(one["name"], splits, soft, recipe, one["values"], FRESH_SEED + seed, splits.test))
        )
    return found


def mean_accuracy(points: Sequence[dict[str, Any]], smallest: int, largest: int) -> float:
    """Return the mean of the best accuracy at a size or below, over the logarithm of sizes from smallest to 2 largest.

    Example:
        >>> mean_accuracy([{"num_parameters": 1, "accuracy": 0.5}, {"num_parameters": 2, "accuracy": 0.7}], 1, 2)
        0.6
    """
    ordered = sorted(points, key=lambda one: one["num_parameters"])
    sizes = [*(one["num_parameters"] for one in ordered), 2 * largest]
    total, best = CHANCE * math.log(sizes[0] / smallest), CHANCE
    for point, low, high in zip(ordered, sizes, sizes[1:], strict=False):
        best = max(best, point["accuracy"])
        total += best * math.log(high / low)
    return total / math.log(2 * largest / smallest)


def report(out: Path, num_seeds: int) -> None:
    """Print the fronts on validation and on test, way by way, and their differences, paired by seed."""
    sizes = {
        one["name"]: one["num_parameters"]
        for seed in range(num_seeds)
        for one in json.loads((out / f"grid-{seed}.json").read_text())["defaults"]
    }
    smallest, largest = min(sizes.values()), max(sizes.values())
    print("| split | way | " + " | ".join(f"{size:,} parameters" for size in sizes.values()) + " | mean over sizes |")
    print("|" + "---|" * (len(sizes) + 3))
    for split in ("validation", "test"):
        areas: dict[str, list[float]] = {}
        for way in WAYS:
            fronts = [
                front(out, way, seed)
                if split == "validation"
                else json.loads((out / f"test-{way.replace(' ', '-')}-{seed}.json").read_text())
                for seed in range(num_seeds)
            ]
            areas[way] = [mean_accuracy(points, smallest, largest) for points in fronts]
            cells = [
                summarise(
                    [
                        max((p["accuracy"] for p in points if p["num_parameters"] <= size), default=CHANCE)
                        for points in fronts
                    ]
                )
                for size in sizes.values()
            ]
            cells.append(summarise(areas[way]))
            print(f"| {split} | {way} | " + " | ".join(f"{100 * cell.mean:.1f} %" for cell in cells) + " |")
        for way in WAYS[1:]:
            gains = [100 * (mine - its) for mine, its in zip(areas["search"], areas[way], strict=True)]
            told, interval = ", ".join(f"{gain:+.2f}" for gain in gains), mean_interval(gains)
            ends = "" if interval is None else f", 95 % interval {interval[0]:+.2f} to {interval[1]:+.2f}"
            print(f"{split}: search - {way}, points: {told}; mean {summarise(gains).mean:+.2f}{ends}")
    for seed in range(num_seeds):
        for kind in ("search", "grid"):
            found = json.loads((out / f"{kind}-{seed}.json").read_text())
            print(
                f"{kind} {seed}: {found['seconds']:.0f} s of processor time; "
                + ", ".join(f"{one['name']} {one['num_trials']} trials" for one in found["tried"])
            )


if __name__ == "__main__":
    main()
