"""What a speech recipe observes of its networks: frames, words, and the figures of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.distillation.trained import TrainedNetwork, pooled_teacher
from limbeck.recipes.comparing import observe_difference, observe_share
from limbeck.recipes.evaluation import evaluate, predict
from limbeck.recipes.speech_data import SpeechTask
from limbeck.recipes.speech_nets import Networks, few_frames
from limbeck.recipes.speech_words import RATE, WordScorer, observe_rate_difference, observe_word_errors
from limbeck.reproduction import Figure, Series
from limbeck.speech import DecodingScales
from limbeck.speech.language import LANGUAGE_MODELS

Found = dict[str, dict[int | None, Predictions]]
Chosen = dict[tuple[str, str], DecodingScales]


def choose_all_scales(
    experiment: Experiment,
    task: SpeechTask,
    systems: Mapping[str, Sequence[TrainedNetwork]],
    *,
    acoustic: Sequence[float],
    insertion_penalties: Sequence[float],
) -> Chosen:
    """Return the scales for each language model and system, chosen on development speakers before the test is read.

    Args:
        experiment: which predicts.
        task: its development speakers choose.
        systems: networks of each; those of "ensemble" are pooled.
        acoustic: factors to try.
        insertion_penalties: penalties to try.
    """
    logits = {
        name: [predict(experiment, pooled_teacher(members), task.development).logits]
        if name.endswith("ensemble")
        else [predict(experiment, one, task.development).logits for one in members]
        for name, members in systems.items()
    }
    return {
        (language, name): WordScorer(task, language).choose(
            found, acoustic=acoustic, insertion_penalties=insertion_penalties
        )
        for language in LANGUAGE_MODELS
        for name, found in logits.items()
    }


def read_test(experiment: Experiment, networks: Networks, ensembles: Networks) -> Found:
    """Read the test frames with every network and every ensemble; return the predictions by condition and seed."""
    found: Found = {}
    for condition, trained in networks.items():
        for network in trained:
            predictions = evaluate(experiment, network, condition=condition, seed=network.seed)
            found.setdefault(condition, {})[network.seed] = predictions
    for condition, members in ensembles.items():
        pooled = pooled_teacher(members)
        found[condition] = {None: evaluate(experiment, pooled, condition=condition, seed=None)}
    return found


def observe_frames(
    experiment: Experiment,
    task: SpeechTask,
    networks: Networks,
    ensembles: Networks,
    predictions: Found,
    *,
    fraction: float,
) -> None:
    """Observe accuracy on training frames beside that on test frames, what is kept, and how much of the gain.

    Args:
        experiment: where they are recorded.
        task: whose training frames are predicted.
        networks: by condition; those of "..._few" learned from a fraction of the frames.
        ensembles: by condition.
        predictions: of the test frames.
        fraction: of the training frames.
    """
    results = experiment.results
    accuracy = {name: {seed: found.accuracy for seed, found in runs.items()} for name, runs in predictions.items()}
    alone = fmean(accuracy["single"][member.seed] for member in ensembles["ensemble"])
    for condition, trained in networks.items():
        for network in trained:
            seed, learned = network.seed, task.train
            if condition.endswith(("_few", "_few_early")):
                learned = few_frames(task, fraction=fraction, seed=seed or 0)
            in_training, reached = predict(experiment, network, learned).accuracy, accuracy[condition][seed]
            results.observe(condition, seed, "training_accuracy", in_training, "fraction")
            gap = 100 * (in_training - reached)
            results.observe(condition, seed, experiment.quantity("accuracy_gap"), gap, "points")
            results.observe(condition, seed, experiment.quantity("accuracy_kept"), reached / alone, "fraction")
    for condition, members in ensembles.items():
        in_training = predict(experiment, pooled_teacher(members), task.train).accuracy
        results.observe(condition, None, "training_accuracy", in_training, "fraction")
    gain = accuracy["ensemble"][None] - alone
    for condition in (name for name in networks if name.startswith("distilled")):
        kept = {seed or 0: (value - alone) / gain for seed, value in accuracy[condition].items()}
        observe_share(experiment, condition, "gain_kept", kept, what=f"Share of the ensemble's gain kept, {condition}")
    few = [
        {seed or 0: 100 * value for seed, value in accuracy[name].items()} for name in ("hard_few_early", "soft_few")
    ]
    observe_difference(
        experiment, "soft_less_hard", experiment.quantity("accuracy_difference"), *few, unit="points",
        what="On few frames, accuracy with soft targets less that of hard labels stopped early",
    )  # fmt: skip


def observe_words(
    experiment: Experiment,
    task: SpeechTask,
    systems: Mapping[str, Iterable[int | None]],
    scales: Chosen,
    predictions: Found,
    *,
    main_language: str,
    compared: Mapping[str, str] | None = None,
) -> None:
    """Decode the test utterances with each language model, and compare systems with each other.

    Args:
        experiment: where errors are recorded; quantities of the other language models end in their names.
        task: whose test utterances are decoded.
        systems: seeds of each system.
        scales: for each language model and system.
        predictions: of the test frames.
        main_language: whose quantities have no suffix.
        compared: for a system the other that it is compared with; "distilled" with "single",
            "labels_alone" and "ensemble" where not given.
    """
    for language in LANGUAGE_MODELS:
        suffix = "" if language == main_language else f"_{language}"
        scorer, means = WordScorer(task, language), {}
        for condition, seeds in systems.items():
            chosen = scales[language, condition]
            errors = {
                seed: scorer.errors(predictions[condition][seed].logits, task.corpus.test, chosen) for seed in seeds
            }
            means[condition] = observe_word_errors(experiment, condition, errors, suffix=suffix)
            experiment.results.note(
                f"Decoding with the {language}, {condition}: acoustic scale {chosen.acoustic:g}, word insertion "
                f"penalty {chosen.insertion_penalty:g}, chosen on development speakers."
            )
        others = ("single", "labels_alone", "ensemble")
        pairs = [("distilled", other) for other in others] if compared is None else list(compared.items())
        for condition, other in pairs:
            observe_rate_difference(
                experiment, condition, f"rate_less_{other}{suffix}", means[other], means[condition],
                what=f"Word error rate ({language}) of {condition} less that of {other}",
            )  # fmt: skip


def draw_speech(experiment: Experiment, *, temperatures: Mapping[float, str]) -> None:
    """Draw frame accuracy, word errors, and accuracy over the temperatures (by temperature, the condition)."""
    systems = ["single", "labels_alone", "ensemble", "distilled"]
    few = ["few,\nhard", "few, hard,\nstopped", "few,\nsoft"]
    figure = partial(Figure, kind="points", how_to_read="All nets have one shape; their starts and targets differ.")
    experiment.results.draw(
        figure(
            title="Frame accuracy",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} frames",
            places=["one net", "one net,\nas long", "ten\naveraged", "distilled", *few],
            series=[Series("one run", [*systems, "hard_few", "hard_few_early", "soft_few"])],
        )
    )
    experiment.results.draw(
        figure(
            title="Word errors",
            quantity=experiment.quantity(RATE),
            value_label="word error rate (%)",
            places=["one net", "one net,\nas long", "ten\naveraged", "distilled"],
            series=[Series("one run", systems)],
        )
    )
    if len(temperatures) > 1:
        experiment.results.draw(
            Figure(
                kind="curves",
                title="Temperature",
                how_to_read="Frame accuracy of students by the temperature of their soft targets.",
                quantity=experiment.quantity("accuracy"),
                value_label="accuracy (%)",
                places=[f"{temperature:g}" for temperature in temperatures],
                place_label="temperature T",
                series=[Series("distilled", list(temperatures.values()))],
                log_places=True,
            )
        )
