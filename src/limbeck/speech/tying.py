"""States of phones beside their neighbours in the word, tied by clustering Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from limbeck.errors import InvalidValue
from limbeck.speech.alignment import Aligned, Alignments, align
from limbeck.speech.corpus import Corpus, Integers
from limbeck.speech.features import with_differences
from limbeck.speech.graph import Doubles
from limbeck.speech.lexicon import STATES_PER_PHONE, Lexicon, PhoneInWord
from limbeck.speech.mixtures import VARIANCE_FLOOR

FEWEST_FRAMES = 100  # of a tied state, where its phone has others
_EVEN = np.log(0.5)  # of staying in a state and of leaving it alike


@dataclass(frozen=True, eq=False)
class _Cluster:
    """Frames of some phones in words, in one of the three places: as one Gaussian with a diagonal covariance."""

    members: tuple[PhoneInWord, ...]
    count: float
    total: Doubles
    squares: Doubles

    def with_other(self, other: _Cluster) -> _Cluster:
        return _Cluster(
            (*self.members, *other.members),
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
        )

    @property
    def log_likelihood(self) -> float:
        """Of the frames under their own Gaussian, in nats, up to a constant a frame."""
        return float(-0.5 * self.count * _log_variances(self.count, self.total, self.squares))


def tie_states(
    corpus: Corpus, aligned: Aligned, *, num_states: int, fewest_frames: int = FEWEST_FRAMES
) -> tuple[Corpus, Aligned]:
    r"""Let the states of a phone depend on its neighbours in the word, and tie those that sound alike.

    Each state of each phone beside its neighbours is a Gaussian of the training frames that the alignment gives it. Of
    all pairs of one phone and one of its three states those are merged whose frames become the least unlikely,

    .. math:: L(A) + L(B) - L(A \cup B), \qquad L(A) = -\frac{|A|}{2} \sum_d \log \sigma_{A,d}^2

    first each that has too few frames, with its nearest, then the nearest of all until there are ``num_states``. What
    no training frame shows goes to the cluster with the most of its neighbours: of its left one for the first state, of
    its right one for the last.

    Args:
        corpus: with normalised features and states that do not depend on neighbours.
        aligned: of that corpus.
        num_states: at most so many; fewer where there are fewer with frames enough.
        fewest_frames: of each state of a phone that has several.
    Returns:
        The corpus with a lexicon of tied states and with its alignments in them, and what is learned from these.
    Raises:
        InvalidValue: fewer than three states for each phone, or no frame for each.
    References:
        Young and Woodland 1994, State clustering in hidden Markov model-based continuous speech recognition.
    """
    lexicon = corpus.lexicon
    if num_states < lexicon.num_states:
        raise InvalidValue(
            "There are fewer tied states than states.",
            received=f"num_states {num_states}",
            expected=f"at least {lexicon.num_states}: {STATES_PER_PHONE} for each of {len(lexicon.phones)} phones",
        )
    if fewest_frames < 1:
        raise InvalidValue("A state has a frame at least.", received=f"fewest_frames {fewest_frames}")
    untied = _with_states(lexicon, np.arange(STATES_PER_PHONE * len(lexicon.phones_in_words)))
    found = in_states_of(untied, corpus, aligned.alignments)
    numbers = _numbers(untied, _groups(corpus, untied, found), num_states=num_states, fewest_frames=fewest_frames)
    tied = replace(corpus, lexicon=_with_states(lexicon, numbers))
    alignments = {name: numbers[states] for name, states in found.items()}
    return tied.with_alignments(alignments), Aligned.of(tied, alignments)


def in_states_of(lexicon: Lexicon, corpus: Corpus, alignments: Alignments) -> Alignments:
    """Return the same alignments in the states of phones beside their neighbours.

    The path through an utterance's text with the fewest frames in another state of another phone.

    Args:
        lexicon: of the same pronunciations, tied.
        corpus: whose states do not depend on neighbours.
        alignments: by name of the utterance.
    """
    kinds = lexicon.context_independent()
    stay = np.full(lexicon.num_states, _EVEN)
    return align(
        corpus.utterances, lexicon, stay, lambda one: -(alignments[one.name][:, None] != kinds[None]).astype(np.float64)
    )[0]


def _with_states(lexicon: Lexicon, numbers: Integers) -> Lexicon:
    """Return the lexicon with a number for each state of each phone in a word, in their order."""
    states = numbers.reshape(-1, STATES_PER_PHONE).tolist()
    return Lexicon(lexicon.pronunciations, dict(zip(lexicon.phones_in_words, map(tuple, states), strict=True)))


def _number(untied: Lexicon, phone: PhoneInWord, place: int) -> int:
    assert untied.tied is not None, "its phones have neighbours"
    return untied.tied[phone][place]


def _groups(corpus: Corpus, untied: Lexicon, alignments: Alignments) -> list[list[_Cluster]]:
    """Return for each phone and place the Gaussians of all its neighbours, also of those that no frame shows."""
    frames = np.concatenate([with_differences(one.features) for one in corpus.train]).astype(np.float64)
    states = np.concatenate([alignments[one.name] for one in corpus.train])
    order = np.argsort(states, kind="stable")
    bounds = np.searchsorted(states[order], np.arange(untied.num_states + 1))
    phones = corpus.lexicon.phones
    groups: list[list[_Cluster]] = [[] for _ in range(STATES_PER_PHONE * len(phones))]
    for phone in untied.phones_in_words:
        for place in range(STATES_PER_PHONE):
            number = _number(untied, phone, place)
            own = frames[order[bounds[number] : bounds[number + 1]]]
            cluster = _Cluster((phone,), float(len(own)), own.sum(axis=0), (own * own).sum(axis=0))
            groups[STATES_PER_PHONE * phones.index(phone[1]) + place].append(cluster)
    return groups


def _numbers(untied: Lexicon, groups: Sequence[Sequence[_Cluster]], *, num_states: int, fewest_frames: int) -> Integers:
    """Return the tied state of each state of ``untied``; those of a phone follow each other, place by place."""
    seen = [[one for one in group if one.count] for group in groups]
    numbers, state = np.zeros(untied.num_states, dtype=np.int64), 0
    for k, clusters in enumerate(_merged(seen, num_states=num_states, fewest_frames=fewest_frames)):
        place = k % STATES_PER_PHONE
        cluster_of = {phone: number for number, one in enumerate(clusters) for phone in one.members}
        for (phone,) in (one.members for one in groups[k]):
            shown = phone if phone in cluster_of else _nearest(phone, seen[k], place)
            numbers[_number(untied, phone, place)] = state + cluster_of.get(shown, 0)
        state += max(1, len(clusters))
    return numbers


def _merged(groups: Sequence[Sequence[_Cluster]], *, num_states: int, fewest_frames: int) -> list[list[_Cluster]]:
    left = [list(group) for group in groups]
    for group in left:
        while len(group) > 1 and min(one.count for one in group) < fewest_frames:
            smallest = min(range(len(group)), key=lambda k: group[k].count)
            losses = _losses(group, [smallest])[0]
            _merge(group, smallest, int(losses.argmin()))
    cheapest = [_cheapest(group) for group in left]
    while sum(max(1, len(group)) for group in left) > num_states:
        chosen = min(range(len(left)), key=lambda k: cheapest[k][0])
        _merge(left[chosen], *cheapest[chosen][1:])
        cheapest[chosen] = _cheapest(left[chosen])
    return left


def _merge(group: list[_Cluster], first: int, second: int) -> None:
    first, second = sorted((first, second))
    other = group.pop(second)
    group[first] = group[first].with_other(other)


def _cheapest(group: Sequence[_Cluster]) -> tuple[float, int, int]:
    """Return the least loss of a merger, and of which two; infinity where there are not two."""
    if len(group) < 2:
        return np.inf, 0, 0
    losses = _losses(group, range(len(group)))
    first, second = np.unravel_index(int(losses.argmin()), losses.shape)
    return float(losses[first, second]), int(first), int(second)


def _losses(group: Sequence[_Cluster], chosen: Sequence[int]) -> Doubles:
    """Return how much less likely frames become if two are one, shape (chosen, group); infinity for one with itself."""
    counts = np.array([one.count for one in group])
    totals, squares = np.stack([one.total for one in group]), np.stack([one.squares for one in group])
    likely = np.array([one.log_likelihood for one in group])
    rows = list(chosen)
    both = counts[rows, None] + counts[None]
    joint = (
        -0.5
        * both
        * _log_variances(both[..., None], totals[rows, None] + totals[None], squares[rows, None] + squares[None])
    )
    losses: Doubles = likely[rows, None] + likely[None] - joint
    losses[np.arange(len(rows)), rows] = np.inf
    return losses


def _log_variances(count: float | Doubles, total: Doubles, squares: Doubles) -> Doubles:
    mean = total / count
    summed: Doubles = np.log(np.maximum(squares / count - mean * mean, VARIANCE_FLOOR)).sum(axis=-1)
    return summed


def _nearest(phone: PhoneInWord, seen: Sequence[_Cluster], place: int) -> PhoneInWord:
    """Return what shares the most with a phone in a word that no frame shows; itself where there is nothing."""
    weights = (STATES_PER_PHONE - 1 - place, 0, place)

    def shared(one: _Cluster) -> tuple[int, float]:
        (other,) = one.members
        return sum(w for w, mine, theirs in zip(weights, phone, other, strict=True) if mine == theirs), one.count

    return max(seen, key=shared).members[0] if seen else phone
