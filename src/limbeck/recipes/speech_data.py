"""The data of a speech recipe: a corpus by speakers, its states aligned, its frames as samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from limbeck.data import Context, Samples, by_utterance, frame_samples, load_corpus
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.splits import JobData
from limbeck.distillation.trained import TrainedNetwork
from limbeck.errors import unknown_name
from limbeck.jobs import Job, job_key
from limbeck.jobs.work import make
from limbeck.objectives import HardLabels
from limbeck.recipes.evaluation import predict
from limbeck.speech import (
    Aligned,
    Corpus,
    Utterance,
    align_with_mixtures,
    energies_from_cepstra,
    normalised,
    other_version,
    read_alignments,
    realign,
    tie_states,
    write_alignments,
)
from limbeck.speech.alignment import SCHEDULE
from limbeck.speech.features import NormaliseBy
from limbeck.training import TrainConfig

ALIGNMENTS = "alignments.txt"
FEATURES = ("cepstra", "energies")
SMOKE_UTTERANCES = {"train": 40, "development": 8, "test": 8}
SMOKE_SCHEDULE = (1, 1)
FIRST_ALIGNER_SEED = 1000  # no other net starts as an aligner did: it would agree with the labels beyond its merit


RECIPE = TrainConfig(
    num_epochs=5, batch_size=256, learning_rate=0.1, schedule="one_cycle", weight_decay=3e-4, clip_norm=1.0
)


@dataclass(frozen=True)
class CorpusSettings:
    """What every speech recipe opens its data with. A network's architecture is text of the zoo."""

    data: str = "an4"  # or a folder in Kaldi's style
    features: str = "cepstra"  # ours; or energies, 40 smoothed ones out of the cepstra; paper: 40 energies
    normalise_by: NormaliseBy = "speaker"  # ours; mean and variance of the features
    frames_before: int = 20  # paper
    frames_after: int = 5  # paper
    num_development: int = 8  # ours; of the 74 training speakers, and of each fold
    mixtures: tuple[int, ...] = SCHEDULE  # ours; components of each round of realignment
    num_states: int = 0  # ours; of phones beside their neighbours in the word, tied; 0: neighbours do not matter
    num_realignments: int = 1  # ours; with a network
    network: str = "mlp:widths=256x256x256"  # ours; of the aligner too; paper: 8 layers of 2,560 ReLU
    recipe: TrainConfig = RECIPE  # ours; of nets on hard labels


@dataclass(frozen=True)
class TransferSettings(CorpusSettings):
    """And what students see besides: versions of the training speech as by other speakers; see ``other_version``."""

    num_versions: int = 4  # ours; of each utterance
    warp: float = 0.12  # ours; of their frequencies, at most
    stretch: float = 0.15  # ours; in time, at most


@dataclass(frozen=True, eq=False)
class SpeechTask:
    """A corpus whose frames are aligned, and the samples of its parts."""

    corpus: Corpus
    aligned: Aligned
    context: Context
    train: Samples
    development: Samples
    test: Samples

    @staticmethod
    def of(corpus: Corpus, aligned: Aligned, context: Context) -> SpeechTask:
        """Return the task of a corpus in parts."""
        corpus = corpus.with_alignments(aligned.alignments)

        def samples(part: str, utterances: Sequence[Utterance]) -> Samples:
            return frame_samples(corpus, utterances, context=context, name=f"{corpus.name}/{part}")

        return SpeechTask(
            corpus,
            aligned,
            context,
            samples("train", corpus.train),
            samples("development", corpus.development),
            samples("test", corpus.test),
        )


def open_speech(settings: CorpusSettings, experiment: Experiment) -> SpeechTask:
    """Read, normalise and align the corpus that a recipe is about, once; the development speakers choose.

    A flat start is realigned with Gaussian mixtures, then, in tied states where the settings say so, with a network of
    the settings as often as they say. Every alignment stands beside the networks, and is found again.
    """
    corpus = open_corpus(settings, experiment)
    context = Context(settings.frames_before, settings.frames_after)
    schedule = SMOKE_SCHEDULE if experiment.smoke else settings.mixtures
    found = _kept(experiment, corpus, f"mixtures {schedule}", lambda: align_with_mixtures(corpus, schedule=schedule))
    if settings.num_states:
        corpus, found = tie_states(corpus, found, num_states=settings.num_states)
    task = SpeechTask.of(corpus, found, context)
    for number in range(settings.num_realignments):
        aligner = experiment.train(
            f"aligner-{number + 1}", settings.network, samples=task.train, objective=HardLabels(),
            recipe=settings.recipe, validation=task.development, seed=FIRST_ALIGNER_SEED + number,
        )  # fmt: skip
        assert aligner.folder is not None, "recipes keep their networks"
        again = _realigned(experiment, task, aligner)
        task = SpeechTask.of(corpus, _kept(experiment, corpus, aligner.folder.name, again), context)
    experiment.opened = JobData(corpus.name, task.train, task.development, task.test, list(corpus.notes))
    _note_sizes(experiment, corpus)
    return task


def open_corpus(settings: CorpusSettings, experiment: Experiment) -> Corpus:
    """Return the corpus with normalised features and development speakers; a smoke run takes a few utterances."""
    if settings.features not in FEATURES:
        raise unknown_name("kind of features", settings.features, FEATURES)
    return _with_features(settings, _read_corpus(settings, experiment))


def transfer_frames(settings: TransferSettings, experiment: Experiment, task: SpeechTask) -> Samples:
    """Return the task's training frames, and after them those of other versions of their utterances, aligned alike.

    Args:
        settings: that the task was opened with; say how many versions, and how far from the recordings.
        experiment: likewise.
        task: whose training frames are the first.
    """
    recorded = {one.name: one.features for one in _read_corpus(settings, experiment).utterances}
    heard = tuple(replace(one, features=recorded[one.name]) for one in task.corpus.train)
    read = replace(task.corpus, train=heard, development=(), test=())
    versions = [
        _with_features(settings, other_version(read, warp=settings.warp, stretch=settings.stretch, seed=seed)).train
        for seed in range(1, settings.num_versions + 1)
    ]
    corpus = task.corpus
    return frame_samples(corpus, corpus.train, context=task.context, name=f"{corpus.name}/transfer", versions=versions)


def _read_corpus(settings: CorpusSettings, experiment: Experiment) -> Corpus:
    """Return the corpus as it was recorded, with development speakers."""
    corpus = load_corpus(settings.data).with_development(settings.num_development)
    if experiment.smoke:
        corpus = replace(
            corpus,
            train=_few(corpus.train, SMOKE_UTTERANCES["train"]),
            development=_few(corpus.development, SMOKE_UTTERANCES["development"]),
            test=_few(corpus.test, SMOKE_UTTERANCES["test"]),
        )
    return corpus


def _with_features(settings: CorpusSettings, corpus: Corpus) -> Corpus:
    """Return a corpus of cepstra with normalised features."""
    if settings.features == "energies":
        corpus = corpus.with_features({one.name: energies_from_cepstra(one.features) for one in corpus.utterances})
    return normalised(corpus, settings.normalise_by)


def unaligned_part(task: SpeechTask, *, every: int) -> tuple[Samples, Samples, Samples]:
    """Take the alignment of every so many-th training utterance away.

    Returns:
        (part, whole, rest): the frames of the others; all frames, those of the chosen utterances without labels; these
        alone, without labels.
    """
    corpus = task.corpus
    chosen = frozenset(one.name for one in corpus.train[every - 1 :: every])
    whole = frame_samples(corpus, corpus.train, context=task.context, name=f"{corpus.name}/train", unlabelled=chosen)
    known = torch.zeros(len(whole), dtype=torch.bool)
    known[whole.labelled_positions()] = True
    return whole.take(known.nonzero()[:, 0]), whole, whole.take((~known).nonzero()[:, 0])


def regrouped_task(task: SpeechTask, *, test_speakers: Sequence[str], num_development: int) -> SpeechTask:
    """Return the task with other test and development speakers; alignments stay, priors are the new training part's."""
    corpus = task.corpus.regrouped(test_speakers=test_speakers, num_development=num_development)
    return SpeechTask.of(corpus, Aligned.of(corpus, task.aligned.alignments), task.context)


def log_posteriors(
    experiment: Experiment, network: TrainedNetwork, samples: Samples, utterances: Sequence[Utterance]
) -> dict[str, np.ndarray]:
    """Return a network's log posteriors, float32, shape (frames, states), by utterance."""
    logits = predict(experiment, network, samples).logits
    return by_utterance(torch.log_softmax(logits, dim=1).numpy(), utterances)


def _realigned(experiment: Experiment, task: SpeechTask, aligner: TrainedNetwork) -> Callable[[], Aligned]:
    def work() -> Aligned:
        corpus, found = task.corpus, {}
        for samples, part in (
            (task.train, corpus.train),
            (task.development, corpus.development),
            (task.test, corpus.test),
        ):
            found.update(log_posteriors(experiment, aligner, samples, part))
        return realign(corpus, task.aligned, lambda one: found[one.name])

    return work


def _kept(experiment: Experiment, corpus: Corpus, how: str, align: Callable[[], Aligned]) -> Aligned:
    """Return an alignment from its folder, or make it there."""
    root = experiment.cache.folder
    assert root is not None, "recipes keep their networks"
    learned = " ".join(one.name for one in corpus.train)
    key = job_key({"meaning": "1", "corpus": corpus.fingerprint, "how": how, "learned from": learned})

    def work(folder: Path) -> None:
        experiment.progress.say(f"aligning {len(corpus.utterances)} utterances: {how}")
        write_alignments(folder / ALIGNMENTS, align().alignments)

    job = Job("alignment", key, work)
    make(job, root)
    return Aligned.of(corpus, read_alignments(job.place(root) / ALIGNMENTS, corpus))


def _few(utterances: Sequence[Utterance], count: int) -> tuple[Utterance, ...]:
    """Return so many of the shorter utterances, evenly from all speakers."""
    middle = sorted(one.num_frames for one in utterances)[len(utterances) // 2]
    shorter = [one for one in utterances if one.num_frames <= middle]
    return tuple(shorter[:: max(1, len(shorter) // count)][:count])


def _note_sizes(experiment: Experiment, corpus: Corpus) -> None:
    parts = {"training": corpus.train, "development": corpus.development, "test": corpus.test}
    told = "; ".join(
        f"{name}: {len(part)} utterances of {len({one.speaker for one in part})} speakers, "
        f"{sum(one.num_frames for one in part):,} frames, {sum(len(one.words) for one in part):,} words"
        for name, part in parts.items()
    )
    experiment.results.note(f"No speaker is in two parts. {told}. {corpus.lexicon.num_states} states.")
