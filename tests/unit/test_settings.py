"""A setting is declared once: flag, key, schema, table and argument in Python are made from its declaration."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import limbeck
from limbeck.config import json_schema, read_layer, resolve
from limbeck.errors import InvalidValue, LimbeckError, UnknownName
from limbeck.settings import METHODS, DistillConfig, DistillSettings, TrainConfig, TrainJobConfig, declared
from limbeck.settings.setting import fields_of
from limbeck.settings.table import settings_table

DOCS = Path(__file__).parents[2] / "docs"
JOBS = {"teacher": limbeck.distill, "mutual": limbeck.distill_mutual, "self": limbeck.distill_self}


@pytest.mark.parametrize("method", METHODS)
def test_every_key_of_a_method_is_in_the_schema_and_an_argument_or_a_name(method):
    kind = METHODS[method]
    keys = {name for name, (_, _, setting) in fields_of(kind).items() if setting.is_key}
    published = json_schema()["$defs"][kind.__name__]["properties"]
    assert set(published) == keys
    arguments = set(inspect.signature(JOBS[method]).parameters)
    named_in_files_alone = {
        "data",
        "label_column",
        "exif_orientation",
        "image_size",
        "num_segments",
        "segment_choices",
        "b_frames",
        "skip_broken",
        "clip_split",
        "student",
        "num_threads",
        "method",
    }
    assert keys - arguments - named_in_files_alone == set()


def test_every_setting_with_a_flag_is_in_the_help(limbeck):
    shown = limbeck("distill", "--help").stdout
    for kind in METHODS.values():
        for one in declared(kind):
            if one.flag:
                assert one.flag in shown
                assert one.setting.help.split()[0] in shown


def test_the_help_reads_like_a_manual(limbeck):
    shown = limbeck("distill", "--help").stdout
    headings = [line.rstrip(":") for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    groups = ["Data", "Teacher", "Student", "Loss", "Training", "Output", "Machine"]
    assert [heading for heading in headings if heading in groups] == groups
    assert "sgd|adamw|lion" in shown
    assert "[> 0, <= 1000000; default: teacher: 4; mutual: 1; self: 3]" in " ".join(shown.split())
    assert shown.index("Examples:") > shown.index("Machine:")
    assert shown.count("    limbeck distill ") == 3
    manual = " ".join(shown.partition("Examples:")[0].split())
    ranges = (">= 0, <", "[> 0, <= 1000000", "[>= 0, <= 1")
    for known in ranges:
        manual = manual.replace(known, "")
    assert "<" not in manual


def test_the_bare_command_says_what_the_main_job_is(limbeck):
    run = limbeck()
    assert "The main job:" in run.stdout + run.stderr
    assert "limbeck distill" in run.stdout + run.stderr


def test_the_shell_completes_flags_and_choices():
    def completions(line: str) -> str:
        words = line.split()
        environment = {"_LIMBECK_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        command = [sys.executable, "-m", "limbeck"]
        return subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60
        ).stdout

    assert "--temperature" in completions("limbeck distill --temp")
    assert "adamw" in completions("limbeck distill --optimiser ada")


def test_the_docs_table_is_the_declared_one():
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == settings_table(), (
        "run: limbeck schema --table > docs/settings.md"
    )


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"temperature": 0}, InvalidValue, ["temperature", "0", "greater than 0"]),
        ({"temperature": float("nan")}, InvalidValue, ["temperature", "nan"]),
        ({"pooling": "geo"}, UnknownName, ["pooling", "did you mean geometric"]),
        ({"seeds": [1, 1]}, InvalidValue, ["seeds", "different"]),
        ({"seeds": 0}, InvalidValue, ["seeds"]),
        ({"num_views": 2}, InvalidValue, ["num_views", "augmentations"]),
        ({"recipe": TrainConfig, "hard_weight": "much"}, InvalidValue, ["hard_weight", "much"]),
        ({"temperature": "4"}, InvalidValue, ["temperature", "'4'", "a valid number"]),
        ({"temperature": True}, InvalidValue, ["temperature", "True"]),
        ({"num_labelled": 2.0}, InvalidValue, ["num_labelled", "2.0", "a valid integer"]),
        ({"fuse": "no"}, InvalidValue, ["fuse", "'no'", "True or False"]),
        ({"teacher_weights": ["1", "2"]}, InvalidValue, ["teacher_weights", "'1'"]),
        ({"seeds": "2"}, InvalidValue, ["seeds", "'2'", "a valid integer or a list"]),
    ],
)
def test_python_checks_by_the_same_declaration(values, kind, words):
    with pytest.raises(kind) as refused:
        DistillSettings(**values)
    for word in words:
        assert word in str(refused.value)


def test_one_text_stands_for_a_list_of_one_and_lists_become_tuples():
    settings = DistillSettings(augmentations="flip", teacher_weights=[1, 2], seeds=[3, 5])
    assert settings.augmentations == ("flip",)
    assert settings.teacher_weights == (1.0, 2.0)
    assert settings.seed_numbers == (3, 5)
    assert DistillSettings(seeds=2).seed_numbers == (0, 1)


def test_numbers_of_arrays_and_tensors_are_numbers():
    settings = DistillSettings(
        temperature=np.float32(2.5), seeds=range(2), view_seed=np.int64(3), hard_weight=torch.tensor(0.5),
        soft_weight=1, teacher_weights=np.array([1, 3]), fuse=np.bool_(True),
    )  # fmt: skip
    assert (settings.temperature, settings.seeds, settings.view_seed, settings.hard_weight) == (2.5, (0, 1), 3, 0.5)
    assert isinstance(settings.soft_weight, float)
    assert (settings.teacher_weights, settings.fuse) == ((1.0, 3.0), True)


def test_seeds_are_a_number_or_a_list_on_the_command_line_too():
    def seeds(text: str) -> tuple[int, ...]:
        return resolve(DistillConfig, [read_layer(f"seeds: '{text}'", source="flags")]).seed_numbers

    assert seeds("3") == (0, 1, 2)
    assert seeds("0,3,7") == (0, 3, 7)


def test_a_wrong_argument_of_a_job_is_named_with_the_near_one():
    data = torch.rand(8, 4), torch.arange(8) % 2
    with pytest.raises(TypeError, match="temperature"):
        limbeck.distill("mlp", [], data, temprature=4)


def test_a_job_shows_its_arguments_where_python_looks():
    parameters = inspect.signature(limbeck.distill).parameters
    assert list(parameters)[:3] == ["student", "teachers", "train"]
    assert parameters["temperature"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["temperature"].default == 4.0
    for name in parameters:
        assert f"        {name}: " in (limbeck.distill.__doc__ or "")


def test_training_settings_are_the_same_for_every_job():
    own = {one.key for one in declared(TrainJobConfig)}
    for kind in METHODS.values():
        assert own <= {one.key for one in declared(kind)} | {"method"}


def test_values_that_do_not_go_together_are_told():
    with pytest.raises(LimbeckError, match="Nesterov"):
        TrainConfig(momentum=0.0)
