"""Speech on the command line, composed digits, the bench, the picture, the streaming student."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from speech_data import corpus

from limbeck.bench import speech
from limbeck.commands.bench import as_text
from limbeck.data import Context
from limbeck.errors import DataError, InvalidValue, UnknownName
from limbeck.recipes.speech_data import SpeechTask, regrouped_task, unaligned_part
from limbeck.recipes.speech_page import rows_to_draw
from limbeck.recipes.speech_streaming import streaming_network
from limbeck.records import from_json
from limbeck.reports import DrawnWord, UtterancePicture, save_utterance_picture
from limbeck.speech import Aligned, StringSettings, read_digits, write_alignments, write_kaldi

SMALL = ["--epochs", "1", "--seeds", "1", "--progress", "silent", "--teacher", "mlp:widths=16"]


@pytest.fixture
def folder(tmp_path):
    """A folder in Kaldi's style with an alignment, from eight speakers."""
    toy, truth = corpus(num_speakers=8)
    write_kaldi(tmp_path / "toy", toy.utterances)
    (tmp_path / "toy" / "lexicon.txt").write_text("GO G OW\nNO N OW\nOH OW\nOH AO\n")
    write_alignments(tmp_path / "toy" / "ali.txt", truth)
    return tmp_path / "toy"


def test_distilling_from_a_folder_of_speech(limbeck, folder, tmp_path):
    job = limbeck("distill", "--data", f"speech:{folder}", "--student", "mlp:widths=8", *SMALL, "--out", "run")
    assert job.returncode == 0, job.stderr
    record = from_json((tmp_path / "run" / "record.json").read_text())
    assert record.data.input_shape == [26, 5]
    assert record.data.class_names[:2] == ["SIL.1", "SIL.2"]
    measured = limbeck("evaluate", "run", "--data", f"speech:{folder}", "--json")
    assert json.loads(measured.stdout)["measurements"]["errors"]["value"] == record.values("distilled", "errors")[0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("text", "u00 GO NAY\n", "The transcript of utterance u00 of toy has a word that the lexicon has not"),
        ("ali.txt", "u00 1 2 3\n", "The alignment of utterance u00 is of the wrong length"),
        ("utt2spk", "u01 s1\n", "Utterance u00 of toy is not in utt2spk"),
        ("feats.npz", "", "Cannot read"),
    ],
)
def test_bad_speech_is_told_with_exit_code_2_and_nothing_is_written(limbeck, folder, tmp_path, name, text, message):
    (folder / name).write_text(text)
    job = limbeck("distill", "--data", f"speech:{folder}", *SMALL, "--out", "run")
    assert job.returncode == 2
    assert message in job.stderr
    assert "Traceback" not in job.stderr
    assert not (tmp_path / "run").exists()


def write_recordings(root, speakers=("ann", "bob", "cy"), rate=8000):
    soundfile = pytest.importorskip("soundfile")
    pytest.importorskip("kaldi_native_fbank")
    random = np.random.default_rng(0)
    (root / "recordings").mkdir(parents=True)
    for speaker in speakers:
        for digit in range(10):
            wave = 0.1 * random.normal(size=rate // 4)
            soundfile.write(str(root / "recordings" / f"{digit}_{speaker}_0.wav"), wave, rate, subtype="PCM_16")
    return root


def test_strings_of_digits_are_a_function_of_the_seed(tmp_path):
    root = write_recordings(tmp_path)
    settings = StringSettings(strings_a_speaker=6)
    first, second = read_digits(root, settings), read_digits(root, settings)
    other = read_digits(root, dataclasses.replace(settings, seed=1))
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert {one.speaker for one in first.test} == {"cy"}
    assert {one.speaker for one in first.train} == {"ann", "bob"}
    assert {len(one.words) for one in first.utterances} <= set(range(1, 8))
    assert first.num_coefficients == 40
    for one in first.utterances:  # a quarter of a second a digit, and pauses of 50 to 400 ms
        seconds = one.num_frames / 100
        count = len(one.words)
        assert 0.25 * count + 0.05 * (count + 1) - 0.03 < seconds < 0.25 * count + 0.4 * (count + 1)


def test_digits_that_cannot_be_composed_are_told(tmp_path):
    root = write_recordings(tmp_path / "few", speakers=("ann", "bob"))
    with pytest.raises(DataError, match="too few speakers"):
        read_digits(root)
    root = write_recordings(tmp_path / "fast", rate=16000)
    with pytest.raises(DataError, match="The sample rate of"):
        read_digits(root)
    (root / "recordings" / "3_ann_0.wav").unlink()
    with pytest.raises(DataError, match="lacks digits"):
        read_digits(root)


def test_the_bench_compares_with_the_length_of_the_speech():
    result = speech.run(num_seconds=1.0, num_rounds=1)
    assert json.loads(json.dumps(result)) == result
    assert result["ratios"]["decoding"] == pytest.approx(result["seconds"]["decoding"]["median"])
    assert set(result["targets"]) >= {"decoding", "gathering"}
    assert "target 0.05" in as_text(result)


def picture(**changes):
    posteriors = np.full((3, 20), 1 / 3)
    drawn = UtterancePicture(
        name="u",
        text="GO",
        features=np.zeros((5, 20)),
        posteriors={"ensemble": posteriors, "distilled": posteriors},
        state_names=["SIL.1", "G.1", "OW.1"],
        alignment=[0] * 8 + [1] * 6 + [-1] * 6,
        words={"ensemble": [DrawnWord("GO", 8, 14)]},
        temperature=2.0,
        frames_per_second=100.0,
    )
    return dataclasses.replace(drawn, **changes)


def test_a_picture_is_the_same_file_each_time(tmp_path):
    for name in ("a.png", "b.png"):
        save_utterance_picture(tmp_path / name, picture())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    save_utterance_picture(tmp_path / "c.svg", picture())
    assert ">GO</" in (tmp_path / "c.svg").read_text()
    with pytest.raises(InvalidValue, match="do not go together"):
        save_utterance_picture(tmp_path / "d.png", picture(alignment=[0]))
    with pytest.raises(UnknownName):
        save_utterance_picture(tmp_path / "d.bmp", picture())


def test_a_picture_has_the_aligned_states_as_they_are_spoken_and_then_the_likeliest_others():
    mass = np.arange(60.0)
    rows = rows_to_draw(mass, np.array([7, 7, 3, 7, 50, 3]))
    assert rows[:3] == [7, 3, 50]
    assert rows[3:] == [state for state in range(22, 60) if state != 50]  # 37 others: 40 rows in all
    assert len(rows_to_draw(mass, np.arange(60))) == 40


def test_the_streaming_student_sees_a_part_of_the_window():
    network = streaming_network((6,), Context(4, 2), before=2, after=1)(input_shape=(7, 5), num_classes=3)
    windows = torch.randn(2, 7, 5)
    outside = windows.clone()
    outside[:, [0, 1, 6]] = 9.0
    inside = windows.clone()
    inside[:, 2] = 9.0
    assert torch.equal(network(windows), network(outside))
    assert not torch.equal(network(windows), network(inside))
    with pytest.raises(InvalidValue, match="A student's context"):
        streaming_network((6,), Context(4, 2), before=2, after=3)


@pytest.fixture
def task():
    toy, truth = corpus(num_speakers=8)
    toy = toy.with_development(1)
    return SpeechTask.of(toy, Aligned.of(toy, truth), Context(4, 2))


def test_an_unaligned_part_has_no_labels_and_nothing_is_lost(task):
    part, whole, rest = unaligned_part(task, every=3)
    assert len(part) + len(rest) == len(whole) == len(task.train)
    assert (rest.labels == -1).all()
    assert (part.labels >= 0).all()
    assert not set(part.ids.tolist()) & set(rest.ids.tolist())
    chosen = task.corpus.train[2::3]
    assert len(rest) == sum(one.num_frames for one in chosen)


def test_every_utterance_is_tested_once_over_the_folds(task):
    speakers = [f"s{number}" for number in range(8)]
    folds = [regrouped_task(task, test_speakers=speakers[k::4], num_development=1) for k in range(4)]
    tested = [one.name for fold in folds for one in fold.corpus.test]
    assert sorted(tested) == sorted(one.name for one in task.corpus.utterances)
    ids = torch.cat([fold.test.ids for fold in folds])
    whole = torch.cat([task.train.ids, task.development.ids, task.test.ids])
    assert ids.sort().values.equal(whole.sort().values)
