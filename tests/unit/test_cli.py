"""The command line: one clear message and exit code 2 for a user's mistakes, nothing half-written, fast help."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from limbeck.cli import ending
from limbeck.cli.app import app
from limbeck.cli.signals import ignored_wait
from limbeck.records import from_json
from limbeck.version import __version__

SMALL = ["--epochs", "1", "--seeds", "1", "--labels", "60", "--progress", "plain"]


def test_distil_train_evaluate_and_report_work_together(limbeck, tmp_path):
    trained = limbeck("train", "--data", "digits", "--student", "mlp:widths=40", *SMALL, "--out", "big")
    assert trained.returncode == 0, trained.stderr
    job = ["distill", "--data", "digits", "--teacher", "big", "--teacher", "mlp:widths=20", "--teacher-weights", "2,1"]
    job += ["--student", "mlp:widths=8", *SMALL, "-T", "3", "--out", "small"]
    distilled = limbeck(*job)
    assert distilled.returncode == 0, distilled.stderr
    assert "report: small/report.html" in distilled.stdout
    record = from_json((tmp_path / "small" / "record.json").read_text())
    assert record.roles() == ["teacher", "member 1", "member 2", "baseline", "distilled"]
    assert record.config["temperature"] == 3.0

    evaluated = limbeck("evaluate", "small", "--data", "digits", "--json")
    measured = json.loads(evaluated.stdout)["measurements"]
    assert measured["errors"]["value"] == record.values("distilled", "errors")[0]
    assert measured["nll"]["value"] == pytest.approx(record.values("distilled", "nll")[0], rel=1e-5)
    member = json.loads(limbeck("evaluate", "small/teachers/member2", "--data", "digits", "--json").stdout)
    assert member["measurements"]["errors"]["value"] == record.values("member 2", "errors")[1]

    report = (tmp_path / "small" / "report.html").read_bytes()
    (tmp_path / "small" / "report.html").unlink()
    assert limbeck("report", "small").returncode == 0
    assert (tmp_path / "small" / "report.html").read_bytes() == report


def test_peers_teach_each_other_and_each_member_is_saved(limbeck, tmp_path):
    job = ["distill", "--method", "mutual", "--student", "mlp:widths=12", "--student", "mlp:widths=8", *SMALL]
    learned = limbeck(*job, "--out", "peers")
    assert learned.returncode == 0, learned.stderr
    record = from_json((tmp_path / "peers" / "record.json").read_text())
    assert [n.name for n in record.networks if n.role.startswith("mutual")] == ["mlp:widths=12", "mlp:widths=8"]
    for number in (1, 2):
        measured = json.loads(limbeck("evaluate", f"peers/members/{number}-seed0", "--data", "digits", "--json").stdout)
        assert measured["measurements"]["errors"]["value"] == record.values(f"mutual {number}", "errors")[0]
    again = limbeck("distill", "peers/config.yaml", "--out", "again", "--progress", "silent")
    assert again.returncode == 0, again.stderr
    second = from_json((tmp_path / "again" / "record.json").read_text())
    assert second.values("mutual 2", "nll") == record.values("mutual 2", "nll")


def test_a_network_teaches_its_exits_and_exits_early(limbeck, tmp_path):
    job = ["distill", "--method", "self", "--student", "convnet:channels=4x8x8", "--exits", "features.2,features.6"]
    learned = limbeck(*job, *SMALL, "--out", "own")
    assert learned.returncode == 0, learned.stderr
    record = from_json((tmp_path / "own" / "record.json").read_text())
    curve = next(curve for curve in record.early_exits if curve.network == "distilled")
    point = next(point for point in curve.points if point.threshold == 0.5)
    evaluated = limbeck("evaluate", "own/exits", "--data", "digits", "--threshold", "0.5", "--json")
    measured = json.loads(evaluated.stdout)["measurements"]
    assert measured["accuracy"]["value"] == pytest.approx(point.accuracy)
    assert measured["flops"]["value"] == pytest.approx(point.cost)
    assert [measured[f"at {name}"]["value"] for name in curve.exits] == pytest.approx(list(point.shares))
    plain = json.loads(limbeck("evaluate", "own", "--data", "digits", "--json").stdout)["measurements"]
    assert plain["errors"]["value"] == record.values("distilled", "errors")[0]
    for arguments, words in ((["own/exits", "--threshold", "1.5"], "[0, 1]"), (["own", "--threshold", "0.5"], "exits")):
        refused = limbeck("evaluate", *arguments, "--data", "digits")
        assert refused.returncode == 2
        assert words in refused.stderr


STOPPED_IN = {
    "exec, which Python tells apart": "def stopped(): exec('raise KeyboardInterrupt')\nending._run = stopped",
    "an archive that is being opened": """
import zipfile
def stopped():
    half_made = zipfile.ZipFile.__new__(zipfile.ZipFile)
    raise KeyboardInterrupt
ending._run = stopped
""",
    "the import of torch": """
import builtins, os
known = builtins.__import__
def stopping(name, *arguments, **settings):
    if name == "torch" and "torch" not in sys.modules:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            known("time").sleep(0.2)
        except KeyboardInterrupt:
            pass  # as numpy does
    return known(name, *arguments, **settings)
builtins.__import__ = stopping
""",
}


@pytest.mark.parametrize("where", STOPPED_IN)
def test_a_signal_is_neither_lost_nor_told_by_another_exit_code(where, tmp_path):
    program = "import signal, sys\nimport limbeck.cli.ending as ending\n" + STOPPED_IN[where] + "\nending.main()"
    (tmp_path / "program.py").write_text(program)
    job = [sys.executable, "-m", "program", "evaluate", "nowhere", "--data", "digits"]
    stopped = subprocess.run(job, cwd=tmp_path, capture_output=True, text=True)
    assert stopped.returncode == 130, stopped.stderr
    assert "limbeck: stopped" in stopped.stderr
    assert "Traceback" not in stopped.stderr


def test_ctrl_c_before_a_command_begins_ends_in_one_line(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(ending, "bound_spinning", interrupted)
    with pytest.raises(SystemExit) as ended:
        ending.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "limbeck: stopped\n"


def test_what_objects_raise_when_they_go_is_told_at_the_end(capsys):
    class Broken:
        def __del__(self):
            raise ValueError("gone wrong")

    with ignored_wait():
        Broken()
        assert capsys.readouterr().err == ""
    told = capsys.readouterr().err
    assert "__del__" in told
    assert told.endswith("ValueError: gone wrong\n")


NEEDED = {
    ("evaluate",): "MODEL",
    ("evaluate", "run"): "--data",
    ("export",): "STUDENT",
    ("predict",): "STUDENT",
    ("verify",): "PATH",
    ("report",): "RUNS",
    ("bench",): "WHAT",
    ("specialists", "plan"): "--generalist",
    ("specialists", "train"): "--generalist",
    ("specialists", "train", "--generalist", "run"): "--plan",
}


@pytest.mark.parametrize("arguments", NEEDED, ids=" ".join)
def test_what_a_command_needs_and_was_not_given_is_named(arguments):
    with pytest.raises(click.MissingParameter) as missing:
        app().main(list(arguments), standalone_mode=False)
    assert NEEDED[arguments] in missing.value.format_message()


def test_the_resolved_configuration_gives_the_same_run_again(limbeck, tmp_path):
    job = ["distill", "--teacher", "mlp:widths=20", "--student", "mlp:widths=8", *SMALL]
    assert limbeck(*job, "--out", "first").returncode == 0
    again = limbeck("distill", "first/config.yaml", "--out", "second", "--progress", "silent")
    assert again.returncode == 0, again.stderr
    first, second = ((tmp_path / name / "record.json").read_text() for name in ("first", "second"))
    assert (tmp_path / "first" / "config.yaml").read_text() == (tmp_path / "second" / "config.yaml").read_text()
    assert from_json(first).values("distilled", "nll") == from_json(second).values("distilled", "nll")


def test_ctrl_c_stops_with_a_checkpoint_and_the_same_command_goes_on(tmp_path):
    job = [sys.executable, "-m", "limbeck", "distill", "--teacher", "mlp:widths=20", "--student", "mlp:widths=8"]
    job += ["--epochs", "400", "--seeds", "1", "--progress", "plain", "--out", "run", "--set", "num_threads=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        job, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    events = tmp_path / "run" / "events.jsonl"
    deadline = time.monotonic() + 120
    while not (events.exists() and '"epoch"' in events.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "run the same command again" in errors
    assert not (tmp_path / "run" / "record.json").exists()
    stopped_at = [json.loads(line) for line in events.read_text().splitlines()][-1]["step"]
    process = subprocess.Popen(
        job, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    while events.read_text().count('"begin"') < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    begins = [json.loads(line) for line in events.read_text().splitlines() if '"event": "begin"' in line]
    assert begins[1]["network"] == begins[0]["network"]
    assert begins[1]["step"] >= stopped_at > 0


def test_a_finished_command_given_again_says_so_and_one_that_fails_keeps_what_was_there(limbeck, tmp_path):
    job = ["distill", "--teacher", "mlp:widths=8", "--student", "mlp:widths=4", "--epochs", "1", "--seeds", "1"]
    job += ["--progress", "silent", "--out", "run"]
    first = limbeck(*job)
    assert first.returncode == 0, first.stderr

    def contents():
        folder = tmp_path / "run"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    kept = contents()
    again = limbeck(*job)
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert "finished" in again.stderr
    for wrong in (
        ["--codec", "nope"],
        ["--temperature", "1e30"],
        ["--store", "nothing"],
        ["--student", "mlp:widths=0"],
    ):
        refused = limbeck(*job, *wrong, "--overwrite")
        assert refused.returncode == 2, refused.stdout
        assert contents() == kept
    other = limbeck(*job, "--temperature", "2")
    assert other.returncode == 2
    assert "finished run of another configuration" in other.stderr
    assert "+temperature: 2.0" in other.stderr
    assert contents() == kept
    assert limbeck(*job, "--temperature", "2", "--overwrite").returncode == 0
    assert not (tmp_path / "run" / ".overwritten").exists()
    assert "temperature: 2.0" in (tmp_path / "run" / "config.yaml").read_text()


def test_an_image_folder_is_a_data_set(limbeck, tmp_path):
    generator = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(20):
            pixels = np.clip(generator.normal(level, 20, (12, 12)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{index}.png")
    run = limbeck("distill", "--data", "pictures", "--epochs", "2", "--seeds", "1", "--out", "run")
    assert run.returncode == 0, run.stderr
    record = from_json((tmp_path / "run" / "record.json").read_text())
    assert record.data.class_names == ["dark", "light"]
    assert record.data.input_shape == [1, 12, 12]


def test_a_network_of_ones_own_comes_from_the_command_line_only(limbeck, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def net(input_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    run = limbeck("distill", "--student", "mine:net", "--teacher", "mlp:widths=20", *SMALL, "--out", "run")
    assert run.returncode == 0, run.stderr
    (tmp_path / "job.yaml").write_text("student: mine:net\n")
    refused = limbeck("distill", "job.yaml", *SMALL, "--out", "other")
    assert refused.returncode == 2
    assert "does not name code to run" in refused.stderr
    evaluated = limbeck("evaluate", "run", "--data", "digits")
    assert evaluated.returncode == 2  # model.json names the factory; it is not imported unasked
    evaluated = limbeck("evaluate", "run", "--data", "digits", "--factory", "mine:net")
    assert evaluated.returncode == 0, evaluated.stderr


def broken_image_folder(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / "pictures" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "pictures" / name / "good.png")
    (folder / "pictures" / "b" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n no image")


def nan_arrays(folder: Path) -> None:
    np.savez(folder / "nan.npz", inputs=np.full((20, 3), np.nan, np.float32), labels=np.arange(20) % 2)


def labels_out_of_range(folder: Path) -> None:
    names = np.array(["a", "b"])
    np.savez(folder / "range.npz", inputs=np.zeros((20, 3), np.float32), labels=np.arange(20) % 3, class_names=names)


def one_class(folder: Path) -> None:
    np.savez(folder / "one.npz", inputs=np.zeros((20, 3), np.float32), labels=np.zeros(20, np.int64))


def wrong_key(folder: Path) -> None:
    (folder / "job.yaml").write_text("data: digits\ntemprature: 4\n")


def finished_run(folder: Path) -> None:
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / ".limbeck-run").write_text("")
    (folder / "run" / "config.yaml").write_text("{}")
    (folder / "run" / "record.json").write_text("{}")


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "arguments", "words"),
    [
        (nothing, ["--data", "digit"], ["'digit'", "did you mean digits"]),
        (nothing, ["--data", "no/such/folder"], ["no/such/folder"]),
        (nothing, ["--temperature", "0"], ["temperature", "received: 0"]),
        (nothing, ["--hard-weight", "-1"], ["hard_weight", "-1"]),
        (nothing, ["--hard-weight", "0", "--soft-weight", "0"], ["both 0"]),
        (nothing, ["--student", "mlp:width=30"], ["'width'", "widths"]),
        (nothing, ["--student", "resnet22"], ["resnet20"]),
        (nothing, ["--student", "no_module_here:net"], ["no_module_here"]),
        (nothing, ["--teacher", "mlp@missing.safetensors"], ["missing.safetensors"]),
        (nothing, ["--teacher-weights", "1"], ["1 weights for 3 teachers"]),
        (nothing, ["--augment", "flipp"], ["did you mean flip"]),
        (nothing, ["--set", "recipe.schedul=cosine"], ["'schedul' in recipe", "did you mean schedule"]),
        (nothing, ["--set", "recipe"], ["KEY=VALUE"]),
        (nothing, ["--epochs", "0"], ["num_epochs"]),
        (nothing, ["--labels", "3"], ["3"]),
        (nothing, ["--device", "tpu"], ["tpu"]),
        (nothing, ["--threads", "0"], ["num_threads"]),
        (nothing, ["--progress", "loud"], ["loud"]),
        (wrong_key, ["job.yaml"], ["job.yaml, line 2", "'temprature'", "did you mean temperature"]),
        (broken_image_folder, ["--data", "pictures"], ["bad.png"]),
        (nan_arrays, ["--data", "nan.npz"], ["NaN"]),
        (labels_out_of_range, ["--data", "range.npz"], ["2"]),
        (one_class, ["--data", "one.npz"], ["class"]),
        (finished_run, [], ["finished run of another configuration", "--overwrite"]),
        (nothing, ["--codec", "nope"], ["'nope'", "dense16"]),
        (nothing, ["--method", "mutul"], ["did you mean mutual"]),
        (nothing, ["--method", "mutual", "--student", "mlp:widths=8"], ["at least two networks"]),
        (nothing, ["--method", "mutual", "--update", "alternately"], ["did you mean alternating"]),
        (nothing, ["--student", "mlp:widths=8", "--student", "mlp:widths=9"], ["--fuse", "--method mutual"]),
        (nothing, ["--exits", "features.2"], ["'exits'", "it belongs to method self"]),
        (nothing, ["--method", "self", "--teacher", "convnet"], ["'teachers'", "it belongs to method teacher"]),
        (nothing, ["--method", "self", "--student", "convnet"], ["features.2"]),
        (nothing, ["--method", "self", "--student", "convnet", "--exits", "feature.2"], ["did you mean features.2"]),
        (nothing, ["--method", "self", "--student", "convnet", "--exits", "head"], ["before the deepest"]),
        (
            nothing,
            ["--method", "self", "--student", "convnet", "--exits", "features.2", "--set", "tolerance=2"],
            ["tolerance", "received: 2"],
        ),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(limbeck, tmp_path, prepare, arguments, words):
    prepare(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run = limbeck("distill", *arguments, "--seeds", "1", "--out", "run")
    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith("limbeck: ")
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in run.stderr
    written = {path for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts} - before.keys()
    assert not written
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["evaluate", "nowhere", "--data", "digits"], ["nowhere"]),
        (["report", "nowhere"], ["nowhere"]),
        (["bench", "lose"], ["did you mean loss"]),
        (["distil"], ["distill"]),
    ],
)
def test_other_commands_explain_themselves_too(limbeck, tmp_path, command, words):
    run = limbeck(*command)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in run.stderr


def test_an_output_place_that_cannot_be_written_is_found_before_training(limbeck, tmp_path):
    run = limbeck("distill", *SMALL, "--out", "/proc/limbeck")
    assert run.returncode == 2
    assert "/proc/limbeck" in run.stderr
    assert " steps" not in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_is_one_message(limbeck, tmp_path):
    job = ["distill", "--teacher", "mlp:widths=8", "--student", "mlp:widths=8", *SMALL, "--out"]
    assert limbeck(*job, "whole").returncode == 0
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".limbeck-run").write_text("")
    (tmp_path / "run" / "config.yaml").write_text((tmp_path / "whole" / "config.yaml").read_text())
    (tmp_path / "run" / "events.jsonl").symlink_to("/dev/full")
    run = limbeck(*job, "run")
    assert run.returncode == 2
    assert "events.jsonl" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_diverging_run_says_at_which_step(limbeck, tmp_path):
    job = ["distill", "--teacher", "mlp:widths=8", "--student", "mlp:widths=8", *SMALL, "--learning-rate", "1e30"]
    run = limbeck(*job, "--epochs", "3", "--out", "run")
    assert run.returncode == 2
    assert "became NaN or infinite at step" in run.stderr
    assert "checkpoints" in run.stderr
    assert not (tmp_path / "run" / "record.json").exists()


def test_the_release_is_told(limbeck, tmp_path):
    assert limbeck("--version").stdout == f"limbeck {__version__}\n"


def test_help_and_the_package_import_nothing_heavy(tmp_path):
    listing = (
        "import sys, limbeck, limbeck.cli; print([m for m in ('torch', 'numpy', 'rich', 'yaml') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    help_command = [sys.executable, "-m", "limbeck", "--help"]
    run = subprocess.run(help_command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0
    for command in ("distill", "train", "cache", "verify", "evaluate", "reproduce", "report", "bench", "schema"):
        assert command in run.stdout


def test_plain_lines_without_a_terminal(limbeck, tmp_path):
    run = limbeck("train", *SMALL[:-1], "auto", "--student", "mlp:widths=8", "--out", "run")
    assert "student-seed0: 21 steps" in run.stderr
    assert "samples/s" in run.stderr
    assert "\x1b" not in run.stderr
