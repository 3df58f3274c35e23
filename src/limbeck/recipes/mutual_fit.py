"""Mutual learning among networks that fit what they learn from: what each gains over its twin, and by how good a fit.

Peers teach each other where a network alone has nothing left to learn from its labels; one that still underfits learns
less from them. So the same pair is trained over several numbers of epochs, and its gain drawn against the training loss
that its twins alone are left with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from limbeck.data import Samples, Views, hold_out
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork, pooled_teacher
from limbeck.objectives import Distillation, HardLabels, MutualLearning
from limbeck.recipes.cifar import augmented
from limbeck.recipes.comparing import BySeed, mean_by_seed, observe_difference, observed
from limbeck.recipes.evaluation import evaluate
from limbeck.recipes.learning import observe_fit
from limbeck.reproduction import Figure, Series
from limbeck.training import TrainConfig

GAIN = "accuracy_gained"
SHARES = 3  # of a pair's epochs: two teachers and their student have a third each
STARTS_APART = 1000  # peers must not start alike
RECIPE = TrainConfig(num_epochs=60, batch_size=32, learning_rate=0.1, schedule="one_cycle")
MUTUAL = MutualLearning()
DISTILLATION = Distillation(temperature=4.0, soft_weight=0.9, hard_weight=0.1)


@dataclass(frozen=True)
class Regime:
    """Labels, network and training, the same for all conditions. An architecture is text of the zoo."""

    num_labels: int = 300  # training samples, stratified; each seed draws its own. 0 for all
    network: str = "convnet:channels=8x16"
    nums_peers: tuple[int, ...] = (2, 3)  # cohorts of one shape; two are among them
    recipe: TrainConfig = RECIPE  # long enough for networks alone to fit
    shorter: tuple[int, ...] = (3, 6, 12, 24)  # epochs that two peers and their twins are trained for, too
    mutual: MutualLearning = MUTUAL  # paper
    update: str = "alternating"  # paper
    label_smoothing: float = 0.1  # of one baseline
    distillation: Distillation = DISTILLATION  # of another
    augmentations: tuple[str, ...] = ()


DIGITS = Regime()


def run_regime(experiment: Experiment, images: Samples, regime: Regime, *, seeds: Sequence[int]) -> None:
    """Train peers, their twins and what else the same compute buys, read the test set once, compare and draw."""
    fit = MutualFit(regime, experiment, seeds)
    fit.train(images)
    fit.measure()
    fit.compare()
    fit.draw()


@dataclass(eq=False)
class MutualFit:
    """Networks by condition and seed, and by their members where a condition has several."""

    regime: Regime
    experiment: Experiment
    seeds: Sequence[int]
    groups: dict[str, dict[int, list[TrainedNetwork]]] = field(default_factory=dict)
    learned: dict[int, Samples] = field(default_factory=dict)

    def train(self, images: Samples) -> None:
        """Train all networks, each seed on labels of its own."""
        for seed in self.seeds:
            few = hold_out(images, count=self.regime.num_labels, seed=seed)[1] if self.regime.num_labels else images
            self.learned[seed] = few
            self._train_seed(seed, few)

    def _train_seed(self, seed: int, few: Samples) -> None:
        regime, recipe = self.regime, self.regime.recipe
        starts = [seed + STARTS_APART * k for k in range(max(regime.nums_peers))]
        learn = partial(_learn, self.experiment, regime, few, seed)
        self._keep("alone", seed, learn("alone", starts, recipe))
        for count in regime.nums_peers:
            self._keep(f"peers_{count}", seed, self._peers(few, seed, starts[:count], recipe))
        smoothed = replace(recipe, label_smoothing=regime.label_smoothing)
        self._keep("smoothing", seed, learn("smoothing", starts[:2], smoothed))
        self._keep("longer", seed, learn("alone", starts[:1], replace(recipe, num_epochs=2 * recipe.num_epochs)))
        third = replace(recipe, num_epochs=max(1, round(2 * recipe.num_epochs / SHARES)))
        teacher = pooled_teacher(learn("alone", starts[:2], third))
        self._keep(
            "distilled", seed,
            [
                self.experiment.train(
                    "distilled", regime.network, samples=few, objective=regime.distillation, recipe=third, seed=seed,
                    views=self._views(seed), teacher=teacher,
                )
            ],
        )  # fmt: skip
        for epochs in regime.shorter:
            short = replace(recipe, num_epochs=epochs)
            self._keep(f"alone_for_{epochs}", seed, learn("alone", starts[:2], short))
            self._keep(f"peers_2_for_{epochs}", seed, self._peers(few, seed, starts[:2], short))

    def _peers(self, few: Samples, seed: int, starts: Sequence[int], recipe: TrainConfig) -> list[TrainedNetwork]:
        return self.experiment.train_cohort(
            f"peers-{len(starts)}", [self.regime.network] * len(starts), samples=few, objective=self.regime.mutual,
            recipe=recipe, seed=seed, weights_seeds=starts, views=self._views(seed), update=self.regime.update,
        )  # fmt: skip

    def _views(self, seed: int) -> Views:
        return augmented(self.learned[seed], self.regime.augmentations, seed=seed)

    def _keep(self, condition: str, seed: int, networks: list[TrainedNetwork]) -> None:
        self.groups.setdefault(condition, {})[seed] = networks

    def measure(self) -> None:
        """Measure how well networks fit, then read the test set with each of them and with ensembles."""
        for condition, by_seed in self.groups.items():
            for seed, networks in by_seed.items():
                few = self.learned[seed]
                observe_fit(self.experiment, condition, seed, networks, few, views=augmented(few, (), seed=0))
        for condition, by_seed in self.groups.items():
            for seed, networks in by_seed.items():
                for number, network in enumerate(networks, start=1):
                    self._evaluate(network, f"{condition}_{number}", seed)
        for condition in (f"peers_{count}" for count in self.regime.nums_peers):
            for seed, peers in self.groups[condition].items():
                twins = self.groups["alone"][seed][: len(peers)]
                self._evaluate(peers, f"{condition}_ensemble", seed)
                self._evaluate(twins, f"alone_{len(peers)}_ensemble", seed)

    def _evaluate(self, network: TrainedNetwork | list[TrainedNetwork], condition: str, seed: int) -> None:
        clean = augmented(self.learned[seed], (), seed=0)
        evaluated = network if isinstance(network, TrainedNetwork) else pooled_teacher(network)
        evaluate(self.experiment, evaluated, condition=condition, seed=seed, views=clean)

    def compare(self) -> None:
        """Record gains over the twins alone, means of members paired by seed, and the pair's over what else is done."""
        alone_2 = self._accuracy("alone", 2)
        for count in self.regime.nums_peers:
            name = f"peers_{count}"
            self._gain(name, self._accuracy("alone", count), self._accuracy(name, count), f"{count} peers")
            together, apart = self._accuracy(f"{name}_ensemble"), self._accuracy(f"alone_{count}_ensemble")
            self._gain(f"{name}_ensemble", apart, together, f"the ensemble of {count} peers")
        self._gain("smoothing", alone_2, self._accuracy("smoothing", 2), "label smoothing")
        for name, what in (("longer", "one network, twice as long"), ("distilled", "an ensemble's student")):
            self._gain(name, self._accuracy("alone", 1), self._accuracy(name, 1), what)
        peers = self._accuracy("peers_2", 2)
        for name, count, words in (
            ("smoothing", 2, "label smoothing"), ("longer", 1, "one network, twice as long"),
            ("distilled", 1, "an ensemble's student"),
        ):  # fmt: skip
            self._gain(f"over_{name}", self._accuracy(name, count), peers, "2 peers", over=f"that of {words}")
        for epochs in self.regime.shorter:
            alone, pair = (self._accuracy(f"{name}_for_{epochs}", 2) for name in ("alone", "peers_2"))
            self._gain(f"peers_2_for_{epochs}", alone, pair, f"2 peers of {epochs} epochs")

    def _accuracy(self, condition: str, count: int = 0) -> BySeed:
        """Return a condition's accuracy in points, the mean of its first ``count`` members; 0: it has none."""
        names = [f"{condition}_{number}" for number in range(1, count + 1)] or [condition]
        found = mean_by_seed(observed(self.experiment, names, self.experiment.quantity("accuracy")))
        return {seed: 100 * value for seed, value in found.items()}

    def _gain(
        self, condition: str, first: BySeed, second: BySeed, what: str, *, over: str = "that of the twins alone"
    ) -> None:
        observe_difference(
            self.experiment, condition, self.experiment.quantity(GAIN), first, second, unit="points",
            what=f"Accuracy of {what}, less {over}",
        )  # fmt: skip

    def draw(self) -> None:
        """Draw all conditions beside each other, and the pair's gain against the loss of its twins."""
        words = {"alone_1": "alone", "longer_1": "twice\nas long", "smoothing_1": "label\nsmoothing",
                 "distilled_1": "ensemble's\nstudent", "alone_2_ensemble": "ensemble\nof two alone"}  # fmt: skip
        words |= {f"peers_{count}_1": f"one of\n{count} peers" for count in self.regime.nums_peers}
        words["peers_2_ensemble"] = "ensemble\nof 2 peers"
        self.experiment.results.draw(
            Figure(
                kind="points", title="One network alone, and with others",
                how_to_read="All but the ensembles are one network, from the same start on the same labels.",
                quantity=self.experiment.quantity("accuracy"),
                value_label=f"accuracy (%), {self.experiment.num_evaluated:,} images",
                places=list(words.values()), series=[Series("each seed", list(words))],
            )
        )  # fmt: skip
        pairs = {"peers_2": "alone"} | {f"peers_2_for_{n}": f"alone_for_{n}" for n in self.regime.shorter}
        by_loss = sorted(pairs, key=lambda pair: self._mean_loss(pairs[pair]))
        self.experiment.results.draw(
            Figure(
                kind="curves", title="What two peers gain, by how well they fit alone",
                how_to_read="Each point is another number of epochs; the fit is the better the further to the left.",
                quantity=self.experiment.quantity(GAIN), value_label="gain of a peer over its twin (points)",
                places=_distinct([self._mean_loss(pairs[pair]) for pair in by_loss]), log_places=True,
                place_label="training loss of the twins alone (nats)", series=[Series("2 peers", by_loss)],
            )
        )  # fmt: skip

    def _mean_loss(self, condition: str) -> float:
        values: Mapping[int | None, float] = self.experiment.results.values(condition, "training_loss")
        return sum(values.values()) / len(values)


def _learn(
    experiment: Experiment, regime: Regime, few: Samples, seed: int, name: str, starts: Sequence[int],
    recipe: TrainConfig,
) -> list[TrainedNetwork]:  # fmt: skip
    """Return networks that learned from labels alone, one for each start."""
    views = augmented(few, regime.augmentations, seed=seed)
    return [
        experiment.train(
            f"{name}-{number}", regime.network, samples=few, objective=HardLabels(), recipe=recipe, seed=seed,
            views=views, weights_seed=start,
        )
        for number, start in enumerate(starts, start=1)
    ]  # fmt: skip


def _distinct(losses: list[float]) -> list[str]:
    return [f"{loss:.3g}" for loss in losses]
