"""Frames as samples: windows are stretches of the features, with stable ids, and train like any other samples."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from speech_data import LEXICON, corpus
from torch.testing import assert_close

from limbeck.data import Context, FrameWindows, Views, as_samples, by_utterance, frame_samples, load_data, load_speech
from limbeck.errors import DataError, InvalidValue
from limbeck.objectives import HardLabels
from limbeck.speech import write_alignments, write_kaldi
from limbeck.training import Runtime, TrainConfig, evaluate, fit

CONTEXT = Context(4, 2)


@pytest.fixture
def aligned():
    toy, truth = corpus()
    return toy.with_alignments(truth)


def naive_window(features, frame):
    rows = [min(max(frame + offset, 0), len(features) - 1) for offset in range(-4, 3)]
    return features[rows]


def test_windows_repeat_the_ends_and_never_cross_utterances(aligned):
    windows = FrameWindows(aligned.train, CONTEXT)
    expected = [naive_window(one.features, frame) for one in aligned.train for frame in range(one.num_frames)]
    positions = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    assert_close(windows[positions], torch.from_numpy(np.stack(expected))[positions], rtol=0, atol=0)


def test_features_are_stored_once(aligned):
    windows = FrameWindows(aligned.train, Context(20, 5))
    frames = sum(one.num_frames for one in aligned.train)
    assert windows._stored.numel() <= 5 * (frames + 25 * len(aligned.train))


def test_ids_belong_to_utterance_and_frame(aligned):
    whole = frame_samples(aligned, aligned.train, context=CONTEXT, name="whole")
    part = frame_samples(aligned, aligned.train[3:5], context=CONTEXT, name="part")
    start = sum(one.num_frames for one in aligned.train[:3])
    assert part.ids.tolist() == whole.ids[start : start + len(part)].tolist()
    assert_close(part.labels, whole.labels[start : start + len(part)])
    assert part.class_names == LEXICON.state_names
    taken = whole.take(torch.arange(start, start + len(part)))
    assert taken.inputs_fingerprint == part.inputs_fingerprint
    other = frame_samples(aligned, aligned.train[3:5], context=Context(4, 3), name="part")
    assert other.inputs_fingerprint != part.inputs_fingerprint


def test_windows_survive_a_pickle(aligned):
    windows = FrameWindows(aligned.train, CONTEXT)
    again = pickle.loads(pickle.dumps(windows))
    assert_close(again[torch.tensor([3, 0])], windows[torch.tensor([3, 0])])
    assert again.content_digest(torch.arange(9)) == windows.content_digest(torch.arange(9))


def test_unlabelled_utterances_keep_their_frames(aligned):
    name = aligned.train[1].name
    samples = frame_samples(aligned, aligned.train, context=CONTEXT, name="part", unlabelled=frozenset([name]))
    labels = by_utterance(samples.labels, aligned.train)
    assert (labels[name] == -1).all()
    assert sum((each == -1).any().item() for each in labels.values()) == 1


def test_a_network_learns_the_frames_as_from_tensors(aligned):
    samples = frame_samples(aligned, aligned.train, context=CONTEXT, name="toy")
    copied = as_samples((samples.fetch(torch.arange(len(samples))), samples.labels), ids=samples.ids,
                        class_names=samples.class_names)  # fmt: skip
    recipe = TrainConfig(num_epochs=3, batch_size=32, learning_rate=0.1)
    runtime = Runtime.resolve("cpu", "fp32")

    def trained(data):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(35, samples.num_classes))
        return fit(net, data, HardLabels(), recipe=recipe, seed=0, runtime=runtime).student

    first, second = trained(samples), trained(copied)
    assert_close(first[1].weight, second[1].weight, rtol=0, atol=0)
    test = frame_samples(aligned, aligned.test, context=CONTEXT, name="test")
    assert evaluate(first, test, Views(), runtime=runtime)["accuracy"] > 0.5


def test_a_negative_context_and_no_utterances_are_refused(aligned):
    with pytest.raises(InvalidValue, match="negative length"):
        Context(-1, 0)
    with pytest.raises(DataError, match="has no utterances"):
        frame_samples(aligned, [], context=CONTEXT, name="nothing")


def test_a_folder_becomes_three_splits_by_speaker(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    toy, truth = corpus(num_speakers=8)
    folder = tmp_path / "toy"
    write_kaldi(folder, toy.utterances)
    (folder / "lexicon.txt").write_text("GO G OW\nNO N OW\nOH OW\nOH AO\n")
    splits = load_data(f"speech:{folder}")
    assert splits.train.input_shape == (26, 5)
    assert not set(splits.train.ids.tolist()) & set(splits.test.ids.tolist())
    assert any("aligned with the texts" in note for note in splits.notes)
    assert len(list((tmp_path / "cache" / "alignments").iterdir())) == 1
    again = load_speech(str(folder))
    assert again.train.fingerprint == splits.train.fingerprint
    write_alignments(folder / "ali.txt", truth)
    given = load_speech(str(folder), context=Context(2, 1))
    assert given.train.input_shape == (4, 5)
    assert not any("aligned with the texts" in note for note in given.notes)


def test_a_folder_that_is_not_there_is_told():
    with pytest.raises(DataError, match="There is no speech folder"):
        load_data("speech:nowhere")
