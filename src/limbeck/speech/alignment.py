"""Which state each frame belongs to: a flat start, then the best path under mixtures, or under a network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from limbeck.errors import DataError
from limbeck.records import write_text
from limbeck.speech.corpus import Corpus, Floats, Integers, Utterance, check_alignment
from limbeck.speech.features import with_differences
from limbeck.speech.graph import Doubles, alignment_graph, best_path
from limbeck.speech.lexicon import SILENCE, Lexicon, read_lines
from limbeck.speech.mixtures import StateMixtures

Alignments = dict[str, Integers]
LogLikelihoods = Callable[[Utterance], npt.NDArray[np.floating]]
SCHEDULE = (1, 1, 1, 1, 1, 2, 2, 4, 4, 8, 8)  # components of each round of realignment
_SILENT_PART = 0.1  # of an utterance, before its words and after them, in a flat start
_STAY_START = 0.5
_SEAL = "#sha256 "  # of the last line that write_alignments writes; no utterance has this name


@dataclass(frozen=True, eq=False)
class Aligned:
    """Alignments, and what was learned on the way.

    Args:
        alignments: by name of the utterance.
        stay: log probability of staying in each state, shape (states,).
        log_priors: of each state among the training frames, shape (states,).
        scores: mean score of a training frame after each round, in nats.
    """

    alignments: Alignments
    stay: Doubles
    log_priors: Doubles
    scores: tuple[float, ...] = ()

    @staticmethod
    def of(corpus: Corpus, alignments: Alignments) -> Aligned:
        """Return given alignments with what is learned from them: staying and priors, on the training utterances."""
        stay = stay_probabilities([alignments[one.name] for one in corpus.train], corpus.lexicon.num_states)
        return Aligned(alignments, stay, log_priors(corpus, alignments))


def flat_start(utterance: Utterance, lexicon: Lexicon) -> Integers:
    """Return a first alignment: silence at both ends, the states of the first pronunciations in equal parts between."""
    silence = lexicon.states([SILENCE])
    words = [lexicon.states(lexicon.pronunciations[word][0]) for word in utterance.words]
    states = np.concatenate([silence[:0], *words])
    num_frames = utterance.num_frames
    edge = min(int(_SILENT_PART * num_frames), max(0, num_frames - len(states)) // 2)
    if not len(states):
        return _spread(silence, num_frames)
    return np.concatenate([_spread(silence, edge), _spread(states, num_frames - 2 * edge), _spread(silence, edge)])


def align_with_mixtures(
    corpus: Corpus, *, schedule: Sequence[int] = SCHEDULE, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> Aligned:
    """Align every utterance with its text: from a flat start, by rounds of Gaussian mixtures and best paths.

    The mixtures are fitted to the training utterances alone; those of development and test are aligned at the end.

    Args:
        corpus: with normalised features.
        schedule: components of each state's mixture, for each round.
        seed: of the mixtures' starts.
        say: is told of every round.
    """
    features = {one.name: with_differences(one.features) for one in corpus.utterances}
    lexicon = corpus.lexicon
    found = {one.name: flat_start(one, lexicon) for one in corpus.train}
    stay = np.full(lexicon.num_states, np.log(_STAY_START))
    scores: list[float] = []
    for number, components in enumerate(schedule):
        mixtures = _fitted(corpus.train, features, found, lexicon.num_states, components, seed)
        is_last = number == len(schedule) - 1
        chosen = corpus.utterances if is_last else corpus.train
        likelihoods = partial(_mixture_scores, mixtures, features)
        found, score = align(chosen, lexicon, stay, likelihoods)
        stay = stay_probabilities([found[one.name] for one in corpus.train], lexicon.num_states)
        scores.append(score)
        say(f"alignment {number + 1} of {len(schedule)}: {components} components, {score:.2f} nats a frame")
    return Aligned(found, stay, log_priors(corpus, found), tuple(scores))


def realign(corpus: Corpus, before: Aligned, log_posteriors: LogLikelihoods) -> Aligned:
    """Align every utterance again, under a network: log posterior less log prior stands for the log likelihood.

    Args:
        corpus: what is aligned.
        before: the alignment that the network learned from.
        log_posteriors: of every state at each frame of an utterance, shape (frames, states).
    """
    found, score = align(
        corpus.utterances, corpus.lexicon, before.stay, lambda one: log_posteriors(one) - before.log_priors
    )
    stay = stay_probabilities([found[one.name] for one in corpus.train], corpus.lexicon.num_states)
    return Aligned(found, stay, log_priors(corpus, found), (*before.scores, score))


def align(
    utterances: Sequence[Utterance], lexicon: Lexicon, stay: Doubles, log_likelihoods: LogLikelihoods
) -> tuple[Alignments, float]:
    """Return the best path of each utterance through its text, and the mean score of a frame."""
    found, score, num_frames = {}, 0.0, 0
    for one in utterances:
        path = best_path(alignment_graph(one.words, lexicon, stay), log_likelihoods(one), where=f"utterance {one.name}")
        found[one.name] = path.states
        score, num_frames = score + path.score, num_frames + one.num_frames
    return found, score / max(1, num_frames)


def stay_probabilities(alignments: Sequence[Integers], num_states: int) -> Doubles:
    """Return the log probability of staying in each state, from how often each is left; shape (states,)."""
    frames, visits = np.ones(num_states) * 2, np.ones(num_states)  # of a state that is never seen: a half
    for states in alignments:
        frames += np.bincount(states, minlength=num_states)
        left = np.flatnonzero(np.diff(states) != 0)
        visits += np.bincount(states[left], minlength=num_states)
        visits += np.bincount(states[-1:], minlength=num_states)
    stay: Doubles = np.log(np.clip(1 - visits / frames, 0.01, 0.99))
    return stay


def log_priors(corpus: Corpus, alignments: Mapping[str, Integers]) -> Doubles:
    """Return the log share of each state among the training frames, each counted once more than it occurs."""
    counts = np.ones(corpus.lexicon.num_states)
    for one in corpus.train:
        counts += np.bincount(alignments[one.name], minlength=len(counts))
    priors: Doubles = np.log(counts / counts.sum())
    return priors


def write_alignments(path: Path, alignments: Mapping[str, Integers]) -> None:
    """Write one line an utterance: its name, then the state of every frame; last the SHA-256 of all lines before."""
    text = "".join(f"{name} {' '.join(map(str, states))}\n" for name, states in alignments.items())
    write_text(path, f"{text}{_SEAL}{_digest(text.splitlines())}\n")


def read_alignments(path: Path, corpus: Corpus) -> Alignments:
    """Read what :func:`write_alignments` wrote, or any other file of that form.

    Raises:
        DataError: a line that is none, an utterance without one, an alignment of the wrong length, or a file that was
            changed after :func:`write_alignments` wrote it.
    """
    known = {one.name: one for one in corpus.utterances}
    found: Alignments = {}
    for line in checked_lines(path)[0]:
        name, *numbers = line.split()
        if name not in known:
            continue
        try:
            states = np.array([int(number) for number in numbers], dtype=np.int64)
        except ValueError as error:
            raise DataError(
                f"The alignment of utterance {name} is not of numbers.", received=str(error),
                expected="NAME STATE STATE ..., in integers",
            ) from error  # fmt: skip
        check_alignment(states, known[name], num_states=corpus.lexicon.num_states, where=f"utterance {name}")
        found[name] = states
    absent = [name for name in known if name not in found]
    if absent:
        raise DataError(
            f"{path.name} does not align every utterance.", received=f"none for {absent[0]}, {len(absent)} in all"
        )
    return found


def checked_lines(path: Path) -> tuple[list[str], bool]:
    """Return the lines of a file of alignments, and whether it tells their SHA-256.

    Raises:
        DataError: it cannot be read, or was changed after :func:`write_alignments` wrote it.
    """
    lines = read_lines(path)
    if not lines or not lines[-1].startswith(_SEAL):
        return lines, False
    seal = lines.pop().removeprefix(_SEAL).strip()
    if seal != _digest(lines):
        raise DataError(
            f"{path} was changed after it was written.",
            expected=f"lines with SHA-256 {seal}",
            remedy="make it again, or take out its last line if you changed it",
        )
    return lines, True


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _mixture_scores(mixtures: StateMixtures, features: Mapping[str, Floats], utterance: Utterance) -> Doubles:
    return mixtures.log_likelihoods(features[utterance.name])


def _fitted(
    utterances: Sequence[Utterance],
    features: Mapping[str, Floats],
    alignments: Alignments,
    num_states: int,
    components: int,
    seed: int,
) -> StateMixtures:
    frames = np.concatenate([features[one.name] for one in utterances])
    states = np.concatenate([alignments[one.name] for one in utterances])
    return StateMixtures.fit(frames, states, num_states=num_states, num_components=components, seed=seed)


def _spread(states: Integers, num_frames: int) -> Integers:
    """Return the states in equal parts over so many frames."""
    return states[(np.arange(num_frames) * len(states)) // max(1, num_frames)]
