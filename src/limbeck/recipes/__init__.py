"""Papers as runnable recipes: one explicit table, one file a recipe, imported when it is asked for.

A recipe is a module with a docstring whose first line is its title, ``PAPER``, ``CLAIMS``, ``DEPARTURES``, a frozen
dataclass ``Settings`` (one of its fields is ``seeds``), ``SMOKE`` (settings for a test of the whole path), and
``run(settings, experiment)``, which trains, observes and draws with the verbs of
:class:`limbeck.distillation.experiment.Experiment`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from limbeck.errors import unknown_name

if TYPE_CHECKING:
    from limbeck.distillation.experiment import Experiment
    from limbeck.reproduction import Claim

RECIPES = {  # name: (module, one line)
    "hinton2015-mnist": (
        "limbeck.recipes.hinton2015_mnist",
        "Section 3's table: an 800-800 net learns MNIST from labels, and from a 1200-1200 teacher.",
    ),
    "hinton2015-mnist-temperature": (
        "limbeck.recipes.hinton2015_mnist_temperature",
        "Section 3's trends: students of 30 to 800 units at eleven temperatures.",
    ),
    "hinton2015-mnist-logit-matching": (
        "limbeck.recipes.hinton2015_mnist_logit_matching",
        "Section 2.1's limit: temperatures up to 1000 against the matching of logits.",
    ),
    "hinton2015-mnist-missing-class": (
        "limbeck.recipes.hinton2015_mnist_missing_class",
        "Section 3: students that never saw a 3, or nothing but 7s and 8s, and the biases that mend them.",
    ),
    "hinton2015-mnist-few-labels": (
        "limbeck.recipes.hinton2015_mnist_few_labels",
        "Section 6 on MNIST: 3 % of the training set, with hard labels and with soft targets.",
    ),
    "hinton2015-mnist-ensemble": (
        "limbeck.recipes.hinton2015_mnist_ensemble",
        "Ten teachers into one student: arithmetic mean, geometric mean, the sum of ten losses, a head for each.",
    ),
    "hinton2015-mnist-transfer-set": (
        "limbeck.recipes.hinton2015_mnist_transfer_set",
        "Transfer without labels: MNIST's images, jittered or mixed ones, other digits, photographs, noise.",
    ),
    "hinton2015-mnist-beyond": (
        "limbeck.recipes.hinton2015_mnist_beyond",
        "Beyond the table: the 800-800 net learns from convnets on jittered and elastic views; goal 45 errors.",
    ),
    "hinton2015-specialists": (
        "limbeck.recipes.hinton2015_specialists",
        "Sections 5 to 8 on Tiny ImageNet: a generalist, its specialists, and one student of them all.",
    ),
    "hinton2015-speech": (
        "limbeck.recipes.hinton2015_speech",
        "Sections 4 and 6 on AN4: ten acoustic models in one student, frames and words, and 3 % of the frames.",
    ),
    "hinton2015-speech-folds": (
        "limbeck.recipes.hinton2015_speech_folds",
        "Section 4 on AN4, cross-validated over its 84 speakers: word errors of one net, an ensemble, its student.",
    ),
    "hinton2015-speech-beyond": (
        "limbeck.recipes.hinton2015_speech_beyond",
        "Speech beyond section 4: a third of the frames unaligned, and a streaming student of a quarter of the units.",
    ),
    "cifar10-vgg-student": (
        "limbeck.recipes.cifar10_vgg_student",
        "A VGG-16 into three blocks of convolutions on CIFAR: the student alone and distilled; goal half a point.",
    ),
    "tian2020-cifar100": (
        "limbeck.recipes.tian2020_cifar100",
        "CIFAR-100's table of distillation: three pairs of networks, KD and DKD, each against its published number.",
    ),
    "zhang2018-mutual": (
        "limbeck.recipes.zhang2018_mutual",
        "Deep Mutual Learning on CIFAR: peers that teach each other, each against its twin that learned alone.",
    ),
    "zhang2018-mutual-digits": (
        "limbeck.recipes.zhang2018_mutual_digits",
        "Deep Mutual Learning where networks fit: 300 labelled digits, peers against twins and equal compute.",
    ),
    "zhang2018-mutual-mnist": (
        "limbeck.recipes.zhang2018_mutual_mnist",
        "Deep Mutual Learning where networks fit: 1,000 labels of MNIST, peers against twins and equal compute.",
    ),
    "wu2019-compressed-video": (
        "limbeck.recipes.wu2019_compressed_video",
        "Compressed clips: a teacher for each of three streams, their weighted mean, small students fused into one.",
    ),
    "wu2019-compressed-lips": (
        "limbeck.recipes.wu2019_compressed_lips",
        "The same on real lips: words of GRID, students of three streams apart and as one network.",
    ),
    "zhang2019-self": (
        "limbeck.recipes.zhang2019_self",
        "Be Your Own Teacher on CIFAR: early exits by self-distillation, by labels alone, and the plain network.",
    ),
    "zhang2019-self-digits": (
        "limbeck.recipes.zhang2019_self_digits",
        "Be Your Own Teacher where networks fit: few labelled digits, exits' weights chosen on validation images.",
    ),
    "zhang2019-self-mnist": (
        "limbeck.recipes.zhang2019_self_mnist",
        "Be Your Own Teacher where networks fit: 1,000 labels of MNIST, told apart on 10,000 images.",
    ),
}


class Recipe(Protocol):
    """What a recipe's module holds."""

    __doc__: str | None
    PAPER: str
    CLAIMS: list[Claim]
    DEPARTURES: list[str]
    Settings: type[Any]
    SMOKE: Any

    def run(self, settings: Any, experiment: Experiment) -> None:
        """Train, observe and draw."""


def load_recipe(name: str) -> Recipe:
    """Import a recipe.

    Args:
        name: one of :data:`RECIPES`.
    Raises:
        UnknownName: another name; the near ones are listed.
    Example:
        >>> load_recipe("hinton2015-mnist").CLAIMS[0].paper
        67
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return cast(Recipe, importlib.import_module(RECIPES[name][0]))


__all__ = ["RECIPES", "Recipe", "load_recipe"]
