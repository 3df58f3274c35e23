"""Word errors in a speech recipe: decoding, scales chosen on development speakers, observations and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import by_utterance
from limbeck.distillation.experiment import Experiment
from limbeck.recipes.speech_data import SpeechTask
from limbeck.reproduction import value_text
from limbeck.speech import (
    BestPath,
    Decoder,
    DecodingScales,
    Utterance,
    WordErrors,
    as_log_likelihoods,
    choose_scales,
    language_model,
    mean_errors,
    rate_difference,
    rate_interval,
    word_errors,
)
from limbeck.speech.decoding import Scores

RATE = "word_error_rate"


@dataclass(frozen=True, eq=False)
class WordScorer:
    """Decodes the frames of utterances and counts word errors.

    Args:
        task: lexicon, priors and development speakers.
        language: "unigram" or "bigram", of the training texts.
    """

    task: SpeechTask
    language: str

    def decoder(self, scales: DecodingScales | None = None) -> Decoder:
        """Return the decoder of the task."""
        corpus = self.task.corpus
        model = language_model(self.language, corpus.lexicon.words, [one.words for one in corpus.train])
        return Decoder(corpus.lexicon, model, self.task.aligned.stay, scales or DecodingScales())

    def choose(
        self, logits: Sequence[Tensor], *, acoustic: Sequence[float], insertion_penalties: Sequence[float]
    ) -> DecodingScales:
        """Return the scales of the fewest errors on the development speakers, over several networks' logits."""
        development = self.task.corpus.development
        joined = {f"{k} {name}": scores for k, one in enumerate(logits) for name, scores in self._scores(one).items()}
        repeated = [
            Utterance(f"{k} {one.name}", one.speaker, one.words, one.features)
            for k in range(len(logits))
            for one in development
        ]
        return choose_scales(
            self.decoder(), joined, repeated, acoustic=acoustic, insertion_penalties=insertion_penalties
        )[0]

    def errors(self, logits: Tensor, utterances: Sequence[Utterance], scales: DecodingScales) -> WordErrors:
        """Return the word errors of a network's logits for all frames of some utterances."""
        paths = self.paths(logits, utterances, scales)
        return word_errors(utterances, {name: path.text for name, path in paths.items()})

    def paths(self, logits: Tensor, utterances: Sequence[Utterance], scales: DecodingScales) -> dict[str, BestPath]:
        """Return the best path of each utterance, given the logits of all their frames."""
        return self.decoder(scales).decode(self._scores(logits, utterances))

    def _scores(self, logits: Tensor, utterances: Sequence[Utterance] | None = None) -> Scores:
        chosen = self.task.corpus.development if utterances is None else utterances
        log_posteriors = by_utterance(torch.log_softmax(logits, dim=1).numpy(), chosen)
        return as_log_likelihoods(log_posteriors, self.task.aligned.log_priors)


def observe_word_errors(
    experiment: Experiment,
    condition: str,
    errors: Mapping[int | None, WordErrors],
    *,
    suffix: str = "",
    prefix: str | None = None,
) -> WordErrors:
    """Observe rate and kinds of errors of each run, and the interval of their mean over speakers; return the mean.

    Args:
        experiment: where they are recorded.
        condition: what claims and figures call it.
        errors: by seed.
        suffix: of the quantities' names, such as that of a language model.
        prefix: of the quantities' names; that of the experiment's evaluated split where not given.
    """
    prefix = prefix or experiment.evaluated_split
    for seed, found in errors.items():
        experiment.results.observe(condition, seed, f"{prefix}_{RATE}{suffix}", found.rate, "fraction")
        for kind in ("substitutions", "deletions", "insertions"):
            experiment.results.observe(condition, seed, f"{prefix}_{kind}{suffix}", getattr(found, kind), "count")
    mean = mean_errors(list(errors.values()))
    interval = rate_interval(mean)
    for end in ("low", "high"):
        quantity = f"{prefix}_{RATE}{suffix}_{end}_end"
        experiment.results.observe(condition, None, quantity, getattr(interval, end), "fraction")
    return mean


def observe_rate_difference(
    experiment: Experiment,
    condition: str,
    quantity: str,
    first: WordErrors,
    second: WordErrors,
    *,
    what: str,
    prefix: str | None = None,
) -> None:
    """Observe the rate of ``second`` less that of ``first``, in points, its interval over speakers, and tell it."""
    found, prefix = rate_difference(first, second), prefix or experiment.evaluated_split
    for name, value in (("", found.value), ("_low_end", found.low), ("_high_end", found.high)):
        experiment.results.observe(
            condition, None, f"{prefix or experiment.evaluated_split}_{quantity}{name}", 100 * value, "points"
        )
    low, high = (value_text(100 * value, "points") for value in (found.low, found.high))
    shown = "shown" if found.low > 0 or found.high < 0 else "not shown"
    experiment.results.note(
        f"{what}: {value_text(100 * found.value, 'points')}, 95 % interval {low} to {high} (bootstrap over whole "
        f"speakers, paired): a difference is {shown}. What could be seen: about "
        f"{value_text(50 * (found.high - found.low), 'points')}."
    )
