"""Other versions of recordings: frequencies move as they should, states follow frames, speakers stay whole."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from speech_data import corpus

from limbeck.data import Context, frame_samples, same_moments
from limbeck.errors import DataError, InvalidValue
from limbeck.recipes.speech_data import SpeechTask, TransferSettings, open_corpus, regrouped_task, transfer_frames
from limbeck.speech import Aligned, energies_from_cepstra, other_version, stretched, warped_cepstra, write_kaldi

MELS = np.linspace(2595 * np.log10(1 + 130 / 700), 2595 * np.log10(1 + 6800 / 700), 42)[1:-1]
HERTZ = 700 * (10 ** (MELS / 2595) - 1)  # centres of the 40 filters


@pytest.fixture
def aligned():
    toy, truth = corpus()
    return toy.with_alignments(truth)


def cepstra_of_peak(hertz):
    """Cepstra, 13 a frame, of one frame whose energies peak at a frequency: the cosine transform, written out."""
    energies = np.exp(-(((MELS - 2595 * np.log10(1 + hertz / 700)) / 300) ** 2))
    return np.array(
        [[sum(e * np.cos(np.pi * k * (j + 0.5) / 40) for j, e in enumerate(energies)) / 20 for k in range(13)]],
        dtype=np.float32,
    )


def test_a_factor_of_one_changes_nothing():
    cepstra = np.random.default_rng(0).normal(size=(7, 13)).astype(np.float32)
    assert_allclose(warped_cepstra(cepstra, 1.0), cepstra, atol=1e-5)


@pytest.mark.parametrize("factor", [0.85, 0.95, 1.1])
def test_a_peak_moves_to_the_frequency_over_the_factor(factor):
    warped = warped_cepstra(cepstra_of_peak(1500.0), factor)
    reached = HERTZ[np.argmax(energies_from_cepstra(warped)[0])]
    assert reached == pytest.approx(1500.0 / factor, rel=0.05)  # as near as a filter
    assert_allclose(warped, cepstra_of_peak(1500.0 / factor), atol=0.03)


def test_states_follow_their_frames(aligned):
    one = aligned.train[0]
    for factor in (0.7, 1.0, 1.4):
        other = stretched(one, factor)
        assert other.num_frames == round(factor * one.num_frames)
        nearest = [round(k * (one.num_frames - 1) / (other.num_frames - 1)) for k in range(other.num_frames)]
        assert other.alignment.tolist() == one.alignment[nearest].tolist()
        assert_allclose(other.features[[0, -1]], one.features[[0, -1]], atol=1e-6)
    assert_allclose(stretched(one, 1.0).features, one.features, atol=1e-6)
    bare = stretched(dataclasses.replace(one, alignment=None), 1.2)
    assert bare.alignment is None


def test_a_version_has_one_factor_a_speaker_and_the_training_part_alone(aligned):
    said = aligned.train[0].features
    alike = dataclasses.replace(
        aligned, train=tuple(dataclasses.replace(one, features=said, alignment=None) for one in aligned.train)
    )
    version = other_version(alike, warp=0.2, stretch=0.0, seed=3)
    assert [one.name for one in version.train] == [one.name for one in alike.train]
    assert version.test == version.development == ()
    by_speaker = {}
    for one in version.train:
        by_speaker.setdefault(one.speaker, []).append(one.features)
    for features in by_speaker.values():
        for other in features[1:]:
            assert_allclose(other, features[0], atol=1e-6)
    firsts = [features[0] for features in by_speaker.values()]
    assert all(np.abs(one - firsts[0]).max() > 1e-3 for one in firsts[1:])


def test_versions_depend_on_the_seed_and_stay_in_range(aligned):
    first, again, other = (other_version(aligned, warp=0.1, stretch=0.3, seed=seed) for seed in (1, 1, 2))
    lengths = [one.num_frames for one in first.train]
    assert lengths == [one.num_frames for one in again.train] != [one.num_frames for one in other.train]
    for before, after in zip(aligned.train, first.train, strict=True):
        assert 0.7 * before.num_frames - 1 <= after.num_frames <= 1.3 * before.num_frames + 1
    still = other_version(aligned, warp=0.0, stretch=0.0, seed=1)
    assert_allclose(still.train[2].features, aligned.train[2].features, atol=1e-5)
    with pytest.raises(InvalidValue, match="stretch"):
        other_version(aligned, warp=0.1, stretch=1.0, seed=1)
    with pytest.raises(InvalidValue, match="factor"):
        warped_cepstra(aligned.train[0].features, 0.0)
    with pytest.raises(DataError, match="mel cepstra"):
        warped_cepstra(np.zeros((3, 40), np.float32), 1.1)


def test_frames_of_versions_follow_with_ids_of_their_own(aligned):
    version = other_version(aligned, warp=0.1, stretch=0.3, seed=1)
    alone = frame_samples(aligned, aligned.train, context=Context(4, 2), name="alone")
    both = frame_samples(aligned, aligned.train, context=Context(4, 2), name="both", versions=[version.train])
    count = len(alone)
    assert both.ids[:count].tolist() == alone.ids.tolist()
    assert torch.equal(both.fetch(torch.arange(count)), alone.fetch(torch.arange(count)))
    expected = np.concatenate([one.alignment for one in version.train])
    assert both.labels[count:].tolist() == expected.tolist()
    theirs = both.ids[count:]
    assert (theirs >> 40).unique().tolist() == [1]
    assert ((theirs - (1 << 40)) >> 20).unique().tolist() == (alone.ids >> 20).unique().tolist()
    own = frame_samples(version, version.train, context=Context(4, 2), name="own")
    assert torch.equal(both.fetch(torch.arange(count, len(both))), own.fetch(torch.arange(len(own))))


def test_a_recipe_shows_versions_that_are_normalised_and_aligned_like_the_corpus(tmp_path):
    toy, truth = corpus(num_speakers=8)
    for part, utterances in (("train", toy.train), ("test", toy.test)):
        write_kaldi(tmp_path / "toy" / part, utterances)
    (tmp_path / "toy" / "lexicon.txt").write_text("GO G OW\nNO N OW\nOH OW\nOH AO\n")
    settings = TransferSettings(data=str(tmp_path / "toy"), num_development=2, num_versions=2)
    experiment = SimpleNamespace(smoke=False)
    opened = open_corpus(settings, experiment)
    task = SpeechTask.of(opened, Aligned.of(opened, truth), Context(4, 2))
    shown = transfer_frames(settings, experiment, task)
    assert shown.ids[: len(task.train)].tolist() == task.train.ids.tolist()
    assert (shown.ids >> 40).unique().tolist() == [0, 1, 2]
    assert (shown.labels >= 0).all()
    speaker_of = {one.name: one.speaker for one in opened.utterances}
    names = sorted(speaker_of)
    for version in (1, 2):
        theirs = [
            place
            for place in (shown.ids >> 40 == version).nonzero()[:, 0].tolist()
            if speaker_of[names[int(shown.ids[place]) >> 20 & 0xFFFFF]] == task.corpus.train[0].speaker
        ]
        now = shown.fetch(torch.tensor(theirs))[:, 4]  # the frame that is classified
        assert_allclose(now.mean(0), 0, atol=1e-5)
        assert_allclose(now.std(0, unbiased=False), 1, atol=1e-4)
    none = transfer_frames(dataclasses.replace(settings, num_versions=0), experiment, task)
    assert none.fingerprint == task.train.fingerprint
    fold = regrouped_task(task, test_speakers=["s0", "s1"], num_development=1)
    of_fold = transfer_frames(settings, experiment, fold)
    for version in range(3):
        theirs = of_fold.ids[of_fold.ids >> 40 == version]
        said = {names[number] for number in (theirs >> 20 & 0xFFFFF).unique().tolist()}
        assert said == {one.name for one in fold.corpus.train}


def test_a_few_frames_are_found_again_in_every_version(aligned):
    versions = [other_version(aligned, warp=0.1, stretch=0.3, seed=seed).train for seed in (1, 2)]
    whole = frame_samples(aligned, aligned.train, context=Context(4, 2), name="whole", versions=versions)
    alone = frame_samples(aligned, aligned.train, context=Context(4, 2), name="alone")
    chosen = torch.tensor([3, 0, 40])
    few = alone.take(chosen)
    shown = same_moments(whole, few)
    assert shown.ids[:3].tolist() == sorted(few.ids.tolist())
    lengths = {one.name: one.num_frames for one in aligned.train}
    names = sorted(one.name for one in aligned.utterances)
    expected = set()
    for version, utterances in enumerate([aligned.train, *versions]):
        for one in utterances:
            for number in few.ids.tolist():
                if names[number >> 20] == one.name:
                    share = (number & 0xFFFFF) / (lengths[one.name] - 1)
                    expected.add((version << 40) + (number >> 20 << 20) + round(share * (one.num_frames - 1)))
    assert set(shown.ids.tolist()) == expected
    assert torch.equal(shown.fetch(torch.arange(len(shown))), whole.fetch(whole.positions_of(shown.ids)))
    assert torch.equal(same_moments(alone, few).ids, few.ids.sort().values)
