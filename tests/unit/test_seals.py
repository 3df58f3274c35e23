"""What is kept carries a checksum: damaged, it is made again where it only saves time, and refused otherwise."""

from __future__ import annotations

import dataclasses
import json
import random

import numpy as np
import pytest
import torch
from damage import damaged

from limbeck.data import Samples, Views
from limbeck.data import speech as speech_module
from limbeck.data.video.listing import list_clips
from limbeck.distillation import costs as costs_module
from limbeck.distillation.committee import read_committee
from limbeck.distillation.run_directory import RunDirectory
from limbeck.errors import DataError, OutputError, RecordError, StoreError
from limbeck.exporting.source import exported_from
from limbeck.models import add_exits, build
from limbeck.records import check_listing, list_files, read_sealed_json, sealed_text, write_listing
from limbeck.records.export_record import (
    ExportedFile,
    ExportRecord,
    check_exported,
    export_to_json,
    read_export,
)
from limbeck.searching.journal import SealedJournal, check_journal
from limbeck.speech import Aligned
from limbeck.speech.alignment import checked_lines, write_alignments
from limbeck.teachers import probe
from limbeck.training import Runtime


def test_sealed_json_comes_back_or_is_refused(tmp_path):
    path, draw = tmp_path / "any.json", random.Random(0)
    content = {"format": "limbeck-any", "version": 1, "values": [0.5, 12, "é"], "deep": {"0": None}}
    whole = sealed_text(content).encode()
    for _ in range(400):
        path.write_bytes(damaged(whole, draw))
        try:
            found = read_sealed_json(path, format_name="limbeck-any", version=1)
        except RecordError:
            continue
        assert found == {"values": [0.5, 12, "é"], "deep": {"0": None}}
    path.write_text(json.dumps({"values": []}))
    assert read_sealed_json(path, format_name="limbeck-any", version=1, unsealed=["values"]) == {"values": []}
    with pytest.raises(RecordError, match="no checksum"):
        read_sealed_json(path, format_name="limbeck-any", version=1)


def test_a_listed_folder_tells_what_changed(tmp_path):
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.png").write_bytes(b"abc")
    (folder / "b.png").write_bytes(b"")
    write_listing(folder, list_files(folder))
    assert check_listing(folder) is None
    (folder / "in" / "a.png").write_bytes(b"abd")
    assert check_listing(folder) == "in/a.png was changed"
    (folder / "b.png").rename(folder / "c.png")
    assert check_listing(folder) == "b.png is missing"


def test_a_journal_line_that_changed_is_refused_and_one_that_was_cut_counts_for_nothing(tmp_path):
    path, draw = tmp_path / "search.journal", random.Random(0)
    logs = [{"op_code": 4, "worker_id": "w", "values": [0.1 * number], "state": 1} for number in range(6)]
    SealedJournal(path).append_logs(logs[:4])
    SealedJournal(path).append_logs(logs[4:])
    whole = path.read_bytes()
    assert list(SealedJournal(path).read_logs(2)) == logs[2:]
    for _ in range(200):
        path.write_bytes(damaged(whole, draw))
        try:
            found = list(SealedJournal(path).read_logs(0))
        except RecordError:
            continue
        assert found == logs[: len(found)]  # cut: what is missing is tried again
        assert path.read_bytes() == b"" or path.read_bytes().endswith(b"\n")
    path.write_text("".join(json.dumps(log) + "\n" for log in logs[:2]))  # of an earlier release
    SealedJournal(path).append_logs(logs[2:])
    assert list(SealedJournal(path).read_logs(0)) == logs
    assert check_journal(path) == 6


def test_alignments_that_changed_are_refused_and_those_of_others_are_read(tmp_path):
    path, draw = tmp_path / "alignments.txt", random.Random(0)
    write_alignments(path, {"one": np.array([0, 0, 1, 2]), "two": np.array([3, 3])})
    whole = path.read_bytes()
    lines = ["one 0 0 1 2", "two 3 3"]
    assert checked_lines(path) == (lines, True)
    for _ in range(300):
        path.write_bytes(damaged(whole, draw))
        try:
            found, is_sealed = checked_lines(path)
        except DataError:
            continue
        assert not (is_sealed and found != lines)
        # Without its last line the rest is as it was, or lacks an utterance, which read_alignments refuses.
        assert found[:2] == lines or len(found) < 2 or found[1] in ("two 3 3"[: len(found[1])], lines[1])


def test_a_cached_alignment_that_changed_is_made_again(tmp_path, monkeypatch, caplog):
    class Toy:
        name, fingerprint, train = "toy", "0", ()

    made = []
    aligned = Aligned({"one": np.array([0, 1])}, np.zeros(2), np.zeros(2))
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path))
    monkeypatch.setattr(speech_module, "align_with_mixtures", lambda _: made.append(1) or aligned)
    monkeypatch.setattr(speech_module, "read_alignments", lambda path, _: checked_lines(path))
    monkeypatch.setattr(Aligned, "of", staticmethod(lambda _, found: found))
    speech_module._cached_alignment(Toy())
    assert speech_module._cached_alignment(Toy()) == (["one 0 1"], True)
    path = next((tmp_path / "alignments").iterdir())
    path.write_text(path.read_text().replace("one 0 1", "one 1 1"))
    speech_module._cached_alignment(Toy())
    assert len(made) == 2
    assert "was damaged: it is made again" in caplog.text
    assert speech_module._cached_alignment(Toy()) == (["one 0 1"], True)


def test_costs_that_changed_are_measured_again(tmp_path, caplog):
    trunk = build("resnet:depth=8,width=0.25", input_shape=(3, 8, 8), num_classes=2, seed=0)
    network = add_exits(trunk, ["layer1"], input_shape=(3, 8, 8), num_classes=2)
    images = Samples("noise", torch.arange(2), torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), ("no", "yes"))
    asked = {"alone": False, "folder": tmp_path, "runtime": Runtime.resolve("cpu", "fp32")}
    first = costs_module.cached_exit_costs(network, images, Views(), **asked)
    path = next(tmp_path.glob("costs-*.json"))
    content = json.loads(path.read_text())
    content["costs"][0]["seconds"] *= 2
    path.write_text(json.dumps(content))
    again = costs_module.cached_exit_costs(network, images, Views(), **asked)
    assert again[0].seconds != 2 * first[0].seconds
    assert "was damaged: it is made again" in caplog.text
    del content["sha256"], content["format"], content["version"]  # of an earlier release
    path.write_text(json.dumps(content))
    assert costs_module.cached_exit_costs(network, images, Views(), **asked)[0].seconds == 2 * first[0].seconds


def test_a_probe_that_changed_is_refused(tmp_path):
    path, draw, rows = tmp_path / "probe.json", random.Random(0), {"0" * 64: [[0.25, -1.5], [2.0, 3.0]]}
    whole = sealed_text({"format": probe.FORMAT, "version": probe.VERSION, "logits": rows}).encode()
    for _ in range(200):
        path.write_bytes(damaged(whole, draw))
        try:
            found = probe._read(path)
        except StoreError:
            continue
        assert {name: logits.tolist() for name, logits in found.items()} == rows
    path.write_text(json.dumps(rows))  # of an earlier release
    assert {name: logits.tolist() for name, logits in probe._read(path).items()} == rows


def test_an_exported_file_that_changed_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"onnx")
    check_exported(path)  # no record: nothing to compare with
    file = ExportedFile("float32", path.name, list_files(tmp_path)[path.name], 4, 1, 0.0, 0.0, 0, None, 0.0)
    empty = dict.fromkeys((one.name for one in dataclasses.fields(ExportRecord)), "")
    numbers = dict.fromkeys(("tolerance", "max_lost", "seconds_per_sample_batch1", "seconds_per_sample_batch64"), 0.5)
    lists = {
        "class_names": [],
        "inputs": [],
        "environment": {},
        "notes": [],
        "others": {},
        "normalise": None,
        "settings": None,
    }
    record = ExportRecord(**{**empty, **numbers, **lists, "num_parameters": 1, "accuracy": None, "files": [file]})
    (tmp_path / "export.json").write_text(export_to_json(record))
    check_exported(path)
    path.write_bytes(b"onny")
    with pytest.raises(RecordError, match=r"model\.onnx was changed after it was exported"):
        check_exported(path)


def test_clips_that_changed_are_decoded_again(tmp_path, monkeypatch, caplog):
    pytest.importorskip("av")
    from limbeck.data.video import stored

    def read(clip: stored.ClipFile, settings: object) -> dict[str, np.ndarray]:
        decoded.append(clip)
        return {name: np.full((1, 1, 3, 4, 4), 7, dtype=dtype) for name, (_, dtype) in stored.STREAMS.items()}

    decoded: list[object] = []
    monkeypatch.setattr(stored, "read_segments_of", read)
    clips = [stored.ClipFile(str(tmp_path / "a.mp4"), "a.mp4", 1)]
    cache, draw = tmp_path / "cache", random.Random(0)
    stored.decode_clips(clips, stored.SegmentSettings(), cache=cache)
    folder = next(cache.iterdir())
    for turn in range(30):
        path = draw.choice(sorted(folder.iterdir()))
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, draw))
        decoded.clear()
        kept = stored.decode_clips(clips, stored.SegmentSettings(), cache=cache)
        assert all(bool((part == 7).all()) for part in kept.streams.values())
        assert len(decoded) == 1 or path.name == "manifest.json", turn
        assert [one.name for one in cache.iterdir()] == [folder.name]
    assert "was damaged: it is made again" in caplog.text
    (folder / "motion.npy").unlink()
    with pytest.raises(OSError, match="motion"):
        stored.check_clips(folder)


def test_bytes_that_are_no_text_any_more_are_told_wherever_text_is_read(tmp_path):
    for name in ("record.json", "config.yaml", "committee.json", "export.json", "trainlist01.txt", ".limbeck-run"):
        (tmp_path / name).write_bytes(b"{\xff")
    with pytest.raises(RecordError, match=r"record\.json cannot be read"):
        exported_from(tmp_path)
    with pytest.raises(RecordError, match=r"committee\.json cannot be read"):
        read_committee(tmp_path)
    with pytest.raises(RecordError, match=r"export\.json cannot be read"):
        read_export(tmp_path)
    with pytest.raises(OutputError, match="a finished run of another configuration"):
        RunDirectory.check(tmp_path, config={"data": "digits"})
    with pytest.raises(DataError, match=r"trainlist01\.txt"):
        list_clips(tmp_path)
