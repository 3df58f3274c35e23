"""The scripts for a GPU run whole on the CPU at tiny sizes, and name recipes and settings that exist."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck.commands.reproduce import changed
from limbeck.recipes import load_recipe

ROOT = Path(__file__).resolve().parents[2]


def run_script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable}
    command = ["bash", str(ROOT / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_a_dry_run_of_the_benchmarks_goes_through_every_part(tmp_path):
    run = run_script("benchmarks/device.sh", "--dry-run", "--json", str(tmp_path / "device.json"))
    assert run.returncode == 0, run.stderr
    parts = json.loads((tmp_path / "device.json").read_text())["parts"]
    assert list(parts) == ["losses", "epochs", "online", "stored", "head", "host"]
    for part in parts.values():
        not_run = {row["way"].rpartition(": ")[2] for row in part["rows"] if "not_run" in row}
        assert not_run <= {"Liger"}, part["rows"]
        assert part["title"] in run.stdout
        assert not any("reached" in row for row in part["rows"])  # a dry run judges nothing
    ratios = {row["way"] for row in parts["epochs"]["rows"] if "ratio" in row}
    assert "stored targets, images on the device, CUDA graphs" in ratios
    assert all("waits a step" in row for row in parts["host"]["rows"])


def test_the_benchmarks_say_what_is_missing(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    device = importlib.import_module("device")
    if not torch.cuda.is_available():
        monkeypatch.setattr(sys, "argv", ["device.py"])
        assert device.main() == 2
        assert "--dry-run" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["device.py", "--dry-run", "--only", "loses"])
    assert device.main() == 2
    assert "no part loses; there are losses" in capsys.readouterr().err


def test_the_records_for_a_gpu_name_recipes_and_settings_that_exist():
    run = run_script("results/device.sh", "--dry-run", "--out", "somewhere")
    assert run.returncode == 0, run.stderr
    commands = [shlex.split(line) for line in run.stdout.splitlines()]
    assert commands[0][:3] == ["limbeck", "reproduce", "tian2020-cifar100"]
    outs = [command[command.index("--out") + 1] for command in commands]
    assert len(set(outs)) == len(outs) >= 4
    for command in commands:
        assignments = [command[place + 1].split("=", 1) for place, word in enumerate(command) if word == "--set"]
        settings = load_recipe(command[2]).Settings()
        values: dict[str, object] = {}
        for key, value in assignments:
            name, _, inner = key.partition(".")
            values[name] = {**values.get(name, {}), inner: value} if inner else value
        changed(settings, values, source="--set")
    assert run_script("results/device.sh", "--minute", "3").returncode == 2
