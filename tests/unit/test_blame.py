"""What goes wrong is laid on its cause, in one message, for Python and the command line."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import limbeck
from limbeck.commands.verify_folder import verify_folder
from limbeck.data import Normalise, Samples, as_samples
from limbeck.data import normalise as normalising
from limbeck.data.kept_normalise import fit_or_recall
from limbeck.errors import (
    CheckpointError,
    DataError,
    InvalidValue,
    ModelError,
    OutputError,
    TeacherError,
    TrainingDiverged,
)
from limbeck.records import write_text
from limbeck.training.checkpoint import FORMAT, VERSION, load_checkpoint, restoring

INPUTS = np.random.default_rng(0).random((60, 4), dtype=np.float32)
LABELS = np.arange(60) % 3
QUICK = {"recipe": limbeck.TrainConfig(num_epochs=1), "seeds": 1, "progress": "silent"}


class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs):
        return self.layer(inputs).double() + torch.tensor([1e300, 0, 0])


def test_logits_beyond_float32_are_the_teacher_s_fault():
    logits = torch.zeros(60, 3, dtype=torch.float64)
    logits[:, 0] = 1e300
    with pytest.raises(TeacherError, match="too large"):
        limbeck.LogitsTeacher(logits)
    with pytest.raises(TeacherError, match=r"(?s)Large gives NaN or infinity.*float32"):
        limbeck.distill("mlp:widths=4", Large(), train=(INPUTS, LABELS), **QUICK)


def test_a_network_without_a_softmax_is_refused_before_training():
    class Broken(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs) * torch.nan

    with pytest.raises(ModelError, match="no softmax; nothing was trained"):
        limbeck.train(Broken(4, 3), train=(INPUTS, LABELS), **QUICK)


def test_a_logit_of_minus_infinity_is_refused():
    logits = torch.zeros(60, 3)
    logits[7, 0] = -torch.inf
    with pytest.raises(TeacherError, match="rule a class out") as caught:
        limbeck.LogitsTeacher(logits)
    assert "sample id 7" in str(caught.value)


def test_a_learning_rate_that_explodes_is_named():
    recipe = limbeck.TrainConfig(num_epochs=2, learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match="learning rate"):
        limbeck.train("mlp:widths=4", train=(INPUTS, LABELS), recipe=recipe, seeds=1, progress="silent")


def test_words_for_numbers():
    with pytest.raises(DataError, match="are words"):
        as_samples((INPUTS.astype(str), LABELS))
    assert as_samples((INPUTS.astype(np.longdouble), LABELS)).inputs.dtype == torch.float32
    with pytest.raises(DataError, match="not class indices"):
        as_samples((INPUTS, LABELS.astype(np.longdouble)))
    with pytest.raises(InvalidValue, match="temperature"):
        limbeck.soft_target_loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature="4")


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(DataError, match="same name"):
        as_samples((INPUTS, LABELS), class_names=["crane", "crane", "bird"])


def test_a_long_name_is_not_laid_on_room(tmp_path):
    with pytest.raises(OutputError, match="shorter name"):
        write_text(tmp_path / ("n" * 300), "text")
    with pytest.raises(OutputError, match="shorter name"):
        limbeck.train("mlp:widths=4", train=(INPUTS, LABELS), out=tmp_path / ("n" * 300), **QUICK)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"format": FORMAT, "version": VERSION},
        {"format": FORMAT, "version": VERSION, "identity": "[1]", "state": {}},
        {"format": FORMAT, "version": VERSION, "identity": "{}", "state": 3},
    ],
)
def test_a_sealed_checkpoint_of_another_type_is_refused(tmp_path, content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path = tmp_path / "student.pt"
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(path, identity={})
    with pytest.raises(CheckpointError, match="no checkpoint of such a training"), restoring(path):
        raise KeyError("updates")


class Counting:
    """Hundred grey pictures that are read on demand, and counted."""

    dtype, sample_shape = torch.uint8, (1, 2, 2)

    def __init__(self, grey=7):
        self.grey, self.count = grey, 0

    def __len__(self):
        return 100

    def __getitem__(self, positions):
        self.count += len(positions)
        return torch.full((len(positions), 1, 2, 2), self.grey, dtype=torch.uint8)

    def content_digest(self, positions):
        return f"all {self.grey}"

    def samples(self):
        return Samples("many", torch.arange(100), self, torch.arange(100) % 2, ("a", "b"))


def test_a_normalisation_reads_a_stated_number_of_what_is_read_on_demand(monkeypatch):
    source = Counting()
    monkeypatch.setattr(normalising, "MOST_READ", 10)
    assert Normalise.fitted_on(source.samples()) == 10
    assert Normalise.fit(source.samples()) == Normalise((round(7 / 255, 9),), (1.0,))
    assert source.count == 10


def test_a_normalisation_of_what_is_read_on_demand_is_kept_under_a_checksum(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path))
    fitted = Normalise.fit(Counting().samples())
    for reads in (100, 0):
        source = Counting()
        assert fit_or_recall(source.samples()) == fitted
        assert source.count == reads
    assert fit_or_recall(Counting(grey=9).samples()) == Normalise((round(9 / 255, 9),), (1.0,))
    assert "mean and deviation of inputs" in str(list(verify_folder(tmp_path)))
    for kept in (tmp_path / "normalisations").iterdir():
        kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    assert fit_or_recall(Counting().samples()) == fitted
    assert "it is made again" in caplog.text


def run(*arguments, **how):
    command = [sys.executable, "-m", "limbeck", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=how.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, text=True, **how
    )


def test_output_that_cannot_be_written_is_told():
    with open("/dev/full", "w") as full:
        process = run("schema", stdout=full)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "could not be written" in errors
    assert "Traceback" not in errors


def test_nothing_is_said_where_the_reader_has_left():
    read, write = os.pipe()
    os.close(read)
    process = run("schema", stdout=write)
    os.close(write)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 141
    assert errors == ""


def test_sigterm_outside_training_is_one_line(tmp_path):
    process = run("evaluate", tmp_path, "--data", "digits")
    for _ in range(600):  # until the handler is there, which Linux tells
        caught = next(
            int(line.split()[1], 16)
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            if line.startswith("SigCgt")
        )
        if caught & (1 << (signal.SIGTERM - 1)):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert errors == "limbeck: stopped by SIGTERM\n"


def test_a_mistake_of_ours_exits_with_70_and_says_where_to_report_it(monkeypatch, capsys):
    from limbeck.cli import ending

    monkeypatch.setattr(ending, "_run", lambda: {}["nothing"])
    with pytest.raises(SystemExit) as ended:
        ending.main()
    assert ended.value.code == 70
    assert "SECURITY.md" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 2, "too little memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            2,
            ": 9 bytes",
        ),
        (OSError(36, "File name too long", "n" * 9), 2, "File name too long"),
        (KeyboardInterrupt(), 130, "limbeck: stopped"),
    ],
)
def test_every_end_has_a_message_and_a_code(monkeypatch, capsys, error, code, words):
    from limbeck.cli import ending

    def fail():
        raise error

    monkeypatch.setattr(ending, "_run", fail)
    monkeypatch.setattr(ending, "_drop_output", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        ending.main()
    assert ended.value.code == code
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_a_stop_without_a_reason_is_told_as_one(capsys):
    from limbeck.cli.running import stopping_cleanly

    with pytest.raises(SystemExit) as ended, stopping_cleanly(kept="committee"):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines()[:2] == ["limbeck: stopped", "  kept: committee"]


def test_a_folder_that_may_not_be_written_keeps_its_run(tmp_path, monkeypatch):
    from limbeck.distillation import run_directory

    job = {"train": (INPUTS, LABELS), "out": tmp_path / "run", **QUICK}
    limbeck.train("mlp:widths=4", **job)
    before = (tmp_path / "run" / "record.json").read_bytes()

    replace = os.replace

    def refuse(source, target):
        if run_directory.ASIDE in str(target):
            raise OSError(30, "Read-only file system")
        replace(source, target)

    monkeypatch.setattr(run_directory.os, "replace", refuse)
    with pytest.raises(OutputError, match="cannot be moved aside"):
        limbeck.train("mlp:widths=4", overwrite=True, **job)
    assert (tmp_path / "run" / "record.json").read_bytes() == before
