"""Early exit in a recipe: thresholds tried, one chosen by validation, and what each gives on the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import ExitPredictions
from limbeck.metrics import ExitCost, choose_threshold, early_exit_curve
from limbeck.records import EarlyExitPoint
from limbeck.reproduction import Figure, Series


@dataclass(frozen=True)
class EarlyExits:
    """How samples may leave a network.

    Args:
        thresholds: confidences to try, in [0, 1].
        costs: of stopping at each exit as a share of the plain network's, in order.
    """

    thresholds: tuple[float, ...]
    costs: tuple[float, ...]

    @staticmethod
    def of(thresholds: Sequence[float], on_the_way: Sequence[ExitCost], alone: Sequence[ExitCost]) -> EarlyExits:
        """Return the costs of exits in operations; the head alone is the plain network."""
        return EarlyExits(tuple(sorted(thresholds)), tuple(cost.flops / alone[-1].flops for cost in on_the_way))

    def curve(self, found: ExitPredictions) -> list[EarlyExitPoint]:
        """Return accuracy and mean cost at each threshold."""
        return early_exit_curve(found.logits, found.labels, costs=self.costs, thresholds=self.thresholds)

    def chosen(self, validation: ExitPredictions, *, loss_allowed: float) -> float:
        """Return the threshold that is cheapest on validation and loses no more accuracy than is allowed.

        Where all lose more, it is the highest.
        """
        points = self.curve(validation)
        least_accuracy = max(0.0, validation.of(-1).accuracy - loss_allowed)
        return (choose_threshold(points, least_accuracy=least_accuracy) or points[-1]).threshold

    def observe(self, experiment: Experiment, name: str, seed: int, found: ExitPredictions, *, chosen: float) -> None:
        """Record accuracy and cost of "NAME_at_THRESHOLD" for each, and of "NAME_early" for the chosen one."""
        for point in self.curve(found):
            conditions = [condition_at(name, point.threshold)]
            conditions += [f"{name}_early"] if point.threshold == chosen else []
            for condition in conditions:
                experiment.results.observe(condition, seed, experiment.quantity("accuracy"), point.accuracy, "fraction")
                experiment.results.observe(condition, seed, experiment.quantity("cost"), point.cost, "fraction")
        experiment.results.observe(f"{name}_early", seed, "threshold", chosen, "of probability")

    def draw(self, experiment: Experiment, names: dict[str, str]) -> None:
        """Draw accuracy over cost, a line for each network, by its label in ``names``."""
        costs: dict[str, float] = {}
        for name in names:
            for threshold in self.thresholds:
                condition = condition_at(name, threshold)
                measured = experiment.results.values(condition, experiment.quantity("cost"))
                costs[condition] = 100 * sum(measured.values()) / len(measured)
        experiment.results.draw(
            Figure(
                kind="curves",
                title="Accuracy for its price, when samples leave early",
                how_to_read="Each mark is a threshold of confidence, the lowest at the left; its place is the mean "
                "cost over samples and runs.",
                quantity=experiment.quantity("accuracy"),
                value_label=f"accuracy (%), {experiment.num_evaluated:,} images",
                places=[f"{cost:.4g}" for cost in costs.values()],
                place_label="mean operations of an answer (% of the plain network's)",
                series=[
                    Series(label, [condition if condition.startswith(f"{name}_at_") else "" for condition in costs])
                    for name, label in names.items()
                ],
            )
        )


def condition_at(name: str, threshold: float) -> str:
    """Return what a threshold's observations are called.

    Example:
        >>> condition_at("self", 0.95)
        'self_at_0.95'
    """
    return f"{name}_at_{threshold:g}"
