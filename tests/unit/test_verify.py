"""``limbeck verify`` proves every kind of folder, and names what is damaged; so does whatever reads it."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from damage import damaged

from limbeck.commands.verify_folder import verify_folder
from limbeck.data import Samples, Splits
from limbeck.data.decoded import read_decoded, write_decoded
from limbeck.distillation import load_committee
from limbeck.errors import LimbeckError
from limbeck.models import build, load_model, save_model
from limbeck.reports import read_record
from limbeck.specialists import SpecialistPlan

NAMES = [str(number) for number in range(10)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """A run, an export, a committee, a store, a search's journal and a cache, small; each as limbeck writes it."""
    from click.testing import CliRunner

    from limbeck.cli.app import app

    root = tmp_path_factory.mktemp("folders")
    module = build("mlp:widths=4", input_shape=(1, 8, 8), num_classes=10, seed=0)
    save_model(root / "net", module, spec="mlp:widths=4", input_shape=(1, 8, 8), class_names=NAMES,
               normalise={"mean": [0.25], "std": [0.5]})  # fmt: skip
    SpecialistPlan(NAMES, [["3", "5", "8"]]).save(root / "plan.yaml")
    quick = ["--progress", "silent", "--epochs", "1", "--batch-size", "256"]
    for line in (
        f"distill --data digits --teacher mlp:widths=4 --student mlp:widths=4 --seeds 1 --out {root}/run",
        f"specialists train --data digits --generalist {root}/net --plan {root}/plan.yaml --out {root}/committee",
    ):
        result = CliRunner().invoke(app(), [*line.split(), *quick])
        assert result.exit_code == 0, result.output
    cached = f"cache --data digits --teacher {root}/net --codec lowrank:6 --shard-bytes 3000 --out {root}/store"
    result = CliRunner().invoke(app(), [*cached.split(), "--progress", "silent"])
    assert result.exit_code == 0, result.output
    return root


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("run", "record of distill and its configuration, as written"),
        ("run", "report.html: page, as written"),
        ("run", "model.json: network mlp:widths=4 and its weights, as written"),
        ("committee", "committee and its plan, as written"),
        ("net", "network mlp:widths=4 and its weights, as written"),
        ("store", "soft targets"),
    ],
)
def test_every_kind_of_folder_is_proved(folders, name, words):
    lines = [f"{check.name}: {check.verdict}" for check in verify_folder(folders / name)]
    assert any(words in line for line in lines), lines


def test_the_command_says_what_was_checked_and_names_what_is_damaged(limbeck, folders, tmp_path):
    run = Path(shutil.copytree(folders / "run", tmp_path / "run"))
    good = limbeck("verify", "run")
    assert good.returncode == 0, good.stderr
    assert good.stdout.endswith("run is good\n")
    weights = next(run.rglob("checkpoints/*/*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    bad = limbeck("verify", "run", "--json")
    assert bad.returncode == 2
    assert f"{weights.parent.relative_to(run)}/model.json" in bad.stderr
    assert str(weights.name) in bad.stderr
    verdict = json.loads(bad.stdout)
    assert (verdict["good"], verdict["path"]) == (False, "run")
    nothing = limbeck("verify", "elsewhere")
    assert nothing.returncode == 2
    assert "There is no store, run" in nothing.stderr


def canonical(path: Path) -> object:
    """Return what a file says, where its form has no effect."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix == ".html":
        return path.read_text().partition("<!-- sha256")[0]
    return path.read_bytes()


FILES = {  # by folder: what carries a checksum
    "run": ["model.json", "student.safetensors", "record.json", "report.html", "config.yaml"],
    "committee": [
        "committee.json",
        "generalist/model.json",
        "generalist/generalist.safetensors",
        "specialist-0-*/model.json",
    ],
    "net": ["model.json", "student.safetensors"],
    "store": ["manifest.json", "ids-*.bin", "member-0/shard-00001.bin", "member-0/arrays-*.safetensors"],
}


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in FILES.items() for file in files])
def test_no_damage_passes(folders, tmp_path, name, file):
    folder = Path(shutil.copytree(folders / name, tmp_path / name))
    path, draw = next(folder.glob(file)), random.Random(file)
    whole, told = path.read_bytes(), canonical(path)
    for _ in range(25):
        path.write_bytes(damaged(whole, draw))
        try:
            list(verify_folder(folder))
        except LimbeckError as error:
            assert path.name in str(error) or name == "store"  # noqa: PT017
        else:
            assert canonical(path) == told  # a blank in JSON
    path.write_bytes(whole)
    list(verify_folder(folder))


@pytest.mark.parametrize("name", ["net", "run", "committee"])
def test_what_reads_a_damaged_file_refuses_it(folders, tmp_path, name):
    folder = Path(shutil.copytree(folders / name, tmp_path / name))
    read = {"net": load_model, "run": read_record, "committee": load_committee}[name]
    path = folder / {"net": "model.json", "run": "record.json", "committee": "committee.json"}[name]
    whole, told, draw = path.read_bytes(), canonical(path), random.Random(name)
    for _ in range(60):
        path.write_bytes(damaged(whole, draw))
        try:
            read(folder)
        except LimbeckError:
            continue
        assert canonical(path) == told


def test_a_decoded_data_set_that_changed_is_no_data(tmp_path, caplog):
    draw = random.Random(0)
    inputs = torch.randint(0, 256, (40, 3, 4, 4), dtype=torch.uint8)
    splits = Splits(
        Samples("toy/train", torch.arange(40), inputs, torch.arange(40) % 2, ("a", "b")), None, None, name="toy"
    )
    path = tmp_path / "decoded" / "toy.safetensors"
    write_decoded(path, splits)
    whole = path.read_bytes()
    assert read_decoded(path) is not None
    num_refused = 0
    for _ in range(150):
        path.write_bytes(damaged(whole, draw))
        found = read_decoded(path)
        num_refused += found is None
        if found is not None:  # padding of the header
            assert torch.equal(found.train.inputs, splits.train.inputs)
            assert torch.equal(found.train.labels, splits.train.labels)
            assert (found.name, found.train.class_names) == ("toy", ("a", "b"))
    assert num_refused > 140
    assert f"{path} was damaged: it is made again" in caplog.text
    write_decoded(path, splits)
    assert read_decoded(path) is not None
    assert [check.name for check in verify_folder(path.parent)] == ["toy.safetensors"]
