"""Corpora, features and alignments: what is read is what was written, and what is wrong names the utterance."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from speech_data import LEXICON, corpus, utterance

from limbeck.errors import DataError, InvalidValue, UnknownName
from limbeck.speech import (
    Aligned,
    Corpus,
    Lexicon,
    align_with_mixtures,
    energies_from_cepstra,
    log_mel,
    normalised,
    read_alignments,
    read_an4,
    read_kaldi,
    realign,
    speakers_of,
    write_alignments,
    write_kaldi,
)
from limbeck.speech.alignment import flat_start
from limbeck.speech.an4 import read_cepstra
from limbeck.speech.features import with_differences


def altered(one, **changes):
    return Corpus("toy", (dataclasses.replace(one, **changes),), (), LEXICON)


def test_mixtures_find_the_states_that_frames_were_made_of():
    toy, truth = corpus()
    aligned = align_with_mixtures(normalised(toy), schedule=(1,) * 12)
    right = sum((aligned.alignments[name] == states).sum() for name, states in truth.items())
    flat = sum((flat_start(one, LEXICON) == truth[one.name]).sum() for one in toy.utterances)
    total = sum(map(len, truth.values()))
    assert flat / total < 0.7 < 0.75 < right / total
    assert aligned.scores[-1] > aligned.scores[0]
    assert np.exp(aligned.log_priors).sum() == pytest.approx(1)
    assert np.exp(aligned.stay).mean() == pytest.approx(2 / 3, abs=0.1)  # three frames a state


def test_realigning_follows_the_network():
    toy, truth = corpus()
    before = Aligned.of(toy, truth)
    shifted = {name: np.concatenate([states[:1], states[:-1]]) for name, states in truth.items()}

    def log_posteriors(one):
        scores = np.full((one.num_frames, LEXICON.num_states), -20.0)
        scores[np.arange(one.num_frames), shifted[one.name]] = 0.0
        return scores

    after = realign(toy, before, log_posteriors)
    name = toy.train[0].name
    assert (after.alignments[name] == shifted[name]).mean() > 0.95


def test_alignments_are_read_as_they_were_written(tmp_path):
    toy, truth = corpus()
    write_alignments(tmp_path / "ali.txt", truth)
    found = read_alignments(tmp_path / "ali.txt", toy)
    assert all((found[name] == states).all() for name, states in truth.items())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u00 1 2 3", "The alignment of utterance u00 is of the wrong length"),
        ("u00 a b", "The alignment of utterance u00 is not of numbers"),
        ("", "does not align every utterance"),
    ],
)
def test_a_wrong_alignment_names_the_utterance(tmp_path, line, message):
    toy, truth = corpus()
    write_alignments(tmp_path / "ali.txt", {name: states for name, states in truth.items() if name != "u00"})
    with open(tmp_path / "ali.txt", "a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=message):
        read_alignments(tmp_path / "ali.txt", toy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": ("GO", "NOO")}, "The transcript of utterance u of toy has a word that the lexicon has not"),
        ({"words": ("GO",) * 10}, "Utterance u of toy is shorter than its words"),
        ({"features": np.full((40, 5), np.nan, np.float32)}, "The features of utterance u of toy are not finite"),
        ({"features": np.zeros((0, 5), np.float32)}, "The features of utterance u of toy are empty"),
        ({"alignment": np.zeros(3, np.int64)}, "The alignment of utterance u of toy is of the wrong length"),
        ({"alignment": np.full(54, 99)}, "names a state that there is not"),
    ],
)
def test_a_wrong_utterance_is_named(changes, message):
    one, _ = utterance("u", "s", ("GO", "GO"))
    assert altered(one).num_coefficients == 5
    with pytest.raises(DataError, match=message):
        altered(one, **changes)


def test_parts_share_no_speaker():
    toy = corpus(num_speakers=9)[0].with_development(2)
    parts = [set(speakers_of(part)) for part in (toy.train, toy.development, toy.test)]
    assert [len(part) for part in parts] == [6, 2, 1]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    again = toy.regrouped(test_speakers=["s0", "s8"], num_development=1)
    assert speakers_of(again.test) == ["s0", "s8"]
    assert len(again.utterances) == len(toy.utterances)
    with pytest.raises(InvalidValue, match="Development speakers"):
        toy.with_development(6)


@pytest.mark.parametrize("by", ["speaker", "utterance", "global"])
def test_normalised_features_have_mean_0_and_variance_1(by):
    toy = normalised(corpus()[0], by)
    groups = {"speaker": lambda one: one.speaker, "utterance": lambda one: one.name, "global": lambda one: ""}
    found = {}
    for one in toy.train:
        found.setdefault(groups[by](one), []).append(one.features)
    for features in map(np.concatenate, found.values()):
        assert features.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-4)
        assert features.std(axis=0) == pytest.approx(np.ones(5), abs=1e-3)
    with pytest.raises(UnknownName):
        normalised(toy, "speakers")


def test_differences_of_a_ramp_are_its_slope():
    ramp = np.arange(12, dtype=np.float32)[:, None] * 3
    found = with_differences(ramp)
    assert found[4:8] == pytest.approx(np.stack([ramp[4:8, 0], np.full(4, 3.0), np.zeros(4)], axis=1))


def test_energies_give_the_cepstra_back():
    cepstra = np.random.default_rng(0).normal(size=(4, 13)).astype(np.float32)
    energies = energies_from_cepstra(cepstra)
    basis = np.cos(np.pi * np.arange(13)[:, None] * (np.arange(40) + 0.5) / 40)
    assert energies.shape == (4, 40)
    assert 2 / 40 * energies @ basis.T == pytest.approx(cepstra, abs=1e-4)


def test_log_mel_shows_a_tone_in_its_filter():
    pytest.importorskip("kaldi_native_fbank")
    times = np.arange(8000) / 8000
    low, high = (
        log_mel((0.5 * np.sin(2 * math.pi * tone * times)).astype(np.float32), sample_rate=8000).mean(axis=0).argmax()
        for tone in (300, 2500)
    )
    assert low < high
    assert log_mel(np.random.default_rng(0).normal(size=8000).astype(np.float32), sample_rate=8000).shape == (98, 40)


def test_silent_and_short_waveforms_are_refused():
    pytest.importorskip("kaldi_native_fbank")
    with pytest.raises(DataError, match="utterance u is silent"):
        log_mel(np.zeros(8000, np.float32), sample_rate=8000, where="utterance u")
    with pytest.raises(DataError, match="utterance u is empty or truncated"):
        log_mel(np.zeros(10, np.float32), sample_rate=8000, where="utterance u")
    for rate in (0, 1, 1999):  # as a header may say
        with pytest.raises(DataError, match=f"too low a sample rate.\n  received: {rate} Hz"):
            log_mel(np.ones(9000, np.float32), sample_rate=rate)


@pytest.mark.parametrize("content", [b"", b"\0\0\0\x0d" + b"\0" * 48, b"\0\0\0\x05" + b"\0" * 20])
def test_a_truncated_file_of_cepstra_is_named(tmp_path, content):
    (tmp_path / "u.mfc").write_bytes(content)
    with pytest.raises(DataError, match=r"The cepstra of u\.mfc are empty, truncated or damaged"):
        read_cepstra(tmp_path / "u.mfc")


def write_an4(folder):
    for part in ("train", "test"):
        (folder / "feat" / part / "mary").mkdir(parents=True)
        name = f"u-{part}"
        (folder / "etc").mkdir(exist_ok=True)
        (folder / "etc" / f"an4_{part}.fileids").write_text(f"{part}/mary/{name}\n")
        (folder / "etc" / f"an4_{part}.transcription").write_text(f"<s> GO OH </s> ({name})\n")
        cepstra = np.arange(13 * 20, dtype=">f4")
        (folder / "feat" / part / "mary" / f"{name}.mfc").write_bytes((13 * 20).to_bytes(4, "big") + cepstra.tobytes())
    (folder / "etc" / "an4.dic").write_text("GO G OW\nOH OW\nOH(2) AO\n")
    return folder


def test_an4_is_read_with_its_texts_and_variants(tmp_path):
    found = read_an4(write_an4(tmp_path))
    assert (found.train[0].words, found.train[0].speaker) == (("GO", "OH"), "mary")
    assert found.train[0].features[1].tolist() == list(range(13, 26))
    assert found.lexicon.pronunciations["OH"] == [("OW",), ("AO",)]
    (tmp_path / "etc" / "an4_test.transcription").write_text("GO (another)\n")
    with pytest.raises(DataError, match="The transcript of u-test is another file's"):
        read_an4(tmp_path)


def test_a_kaldi_folder_is_read_as_it_was_written(tmp_path):
    toy, truth = corpus()
    write_kaldi(tmp_path / "train", toy.train)
    write_kaldi(tmp_path / "test", toy.test)
    (tmp_path / "lexicon.txt").write_text("GO G OW\nNO N OW\nOH OW\nOH AO\n")
    write_alignments(tmp_path / "ali.txt", truth)
    found = read_kaldi(tmp_path)
    assert found.lexicon.phones == LEXICON.phones
    for one, other in zip(found.utterances, toy.utterances, strict=True):
        assert (one.name, one.speaker, one.words) == (other.name, other.speaker, other.words)
        assert (one.features == other.features).all()
        assert (one.alignment == truth[one.name]).all()
    (tmp_path / "lexicon.txt").unlink()
    (tmp_path / "ali.txt").unlink()
    assert read_kaldi(tmp_path).lexicon.num_states == 3 * (1 + 4 * 3)  # silence, and four phones of each word's own


def write_wav(path, samples, rate):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(str(path), samples, rate, subtype="PCM_16")


def test_wav_files_are_read_and_what_is_wrong_is_named(tmp_path):
    pytest.importorskip("kaldi_native_fbank")
    noise = np.random.default_rng(0).normal(size=8000) * 0.1
    write_wav(tmp_path / "a.wav", noise, 8000)
    write_wav(tmp_path / "b.wav", noise, 8000)
    (tmp_path / "text").write_text("a ONE\nb TWO\n")
    (tmp_path / "utt2spk").write_text("a s1\nb s2\n")
    (tmp_path / "wav.scp").write_text("a a.wav\nb b.wav\n")
    assert read_kaldi(tmp_path).num_coefficients == 40
    for samples, rate, message in (
        (noise, 16000, "The sample rate of utterance b of .* is not the corpus's"),
        (np.zeros(8000), 8000, "utterance b of .* is silent"),
        (noise[:50], 8000, "utterance b of .* is empty or truncated"),
    ):
        write_wav(tmp_path / "b.wav", samples, rate)
        with pytest.raises(DataError, match=message):
            read_kaldi(tmp_path)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"utterance b of .* is truncated"):
        read_kaldi(tmp_path)
    data = whole.index(b"data")
    (tmp_path / "b.wav").write_bytes(whole[: data + 4] + b"\xff\xff\xff\xff" + whole[data + 8 :])  # size unknown
    assert read_kaldi(tmp_path).num_coefficients == 40
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="Cannot read utterance b"):
        read_kaldi(tmp_path)
    (tmp_path / "wav.scp").write_text("a a.wav\nb sox b.wav |\n")
    with pytest.raises(DataError, match="Utterance b is a command, which is not run"):
        read_kaldi(tmp_path)


def test_a_lexicon_tells_what_is_wrong(tmp_path):
    (tmp_path / "lexicon.txt").write_text("GO G OW\nNO\n")
    with pytest.raises(DataError, match=r"lexicon\.txt has a word without a phone"):
        Lexicon.read(tmp_path / "lexicon.txt")
