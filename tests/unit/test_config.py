"""Configurations: layers lie over each other; every mistake is told with its line and the near names."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from limbeck.config import Layer, json_schema, method_of, read_file, read_layer, resolve
from limbeck.errors import ConfigError, LimbeckError
from limbeck.presets import NAMES, preset_for, read_preset
from limbeck.settings import DistillConfig, TrainConfig


def layer(text: str, source: str = "job.yaml") -> Layer:
    return read_layer(text, source=source)


def test_later_layers_win_key_by_key_into_recipes():
    low = layer("temperature: 2\nrecipe: {num_epochs: 5, learning_rate: 0.3}\nteachers: [resnet20]")
    high = layer("recipe: {num_epochs: 7}\nteachers: mlp")
    config = resolve(DistillConfig, [low, high])
    assert config.temperature == 2.0
    assert list(config.teachers) == ["mlp"]
    recipe = config.recipe
    assert (recipe.num_epochs, recipe.learning_rate) == (7, 0.3)
    assert recipe.batch_size == TrainConfig().batch_size


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("data: digits\ntemperatur: 4", ["line 2", "'temperatur'", "did you mean temperature"]),
        ("recipe:\n  num_epochs: 3\n  lr: 0.1", ["line 3", "'lr' in recipe", "learning_rate"]),
        ("data: digits\n\ntemperature: warm", ["line 3", "temperature", "'warm'"]),
        ("recipe: 5", ["line 1", "recipe"]),
        ("recipe:\n  learning_rate: -1", ["line 2", "recipe.learning_rate", "greater than 0"]),
        ("pooling: mean", ["line 1", "pooling", "'arithmetic' or 'geometric'"]),
        ("exits: layer1", ["line 1", "it belongs to method self"]),
        ("a: 1\na: 2", ["line 2", "stands twice"]),
        ("a: [1", ["not YAML"]),
        ("- 1", ["not a mapping"]),
        ("normalise: {mean: [0], sd: [1]}", ["line 1", "normalise"]),
        ("teachers: [mlp, 3]", ["line 1", "teachers.1"]),
    ],
)
def test_mistakes_are_placed_and_explained(text, parts):
    with pytest.raises(ConfigError) as refused:
        resolve(DistillConfig, [layer(text)])
    for part in ["job.yaml", *parts]:
        assert part in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        read_file(tmp_path / "none.yaml")


def test_optional_settings_can_be_switched_off_again():
    config = resolve(DistillConfig, [layer("recipe: {clip_norm: 1.0}"), layer("recipe: {clip_norm: null}")])
    assert config.recipe.clip_norm is None


@pytest.mark.parametrize("name", NAMES)
def test_presets_are_valid_and_short(name):
    text = read_preset(name)
    resolve(DistillConfig, [layer(text, source=name)])
    assert len(text.splitlines()) <= 20


def test_presets_are_chosen_by_name_then_by_kind():
    assert preset_for("mnist", is_image=True) == "mnist"
    assert preset_for("some/folder", is_image=True) == "images"
    assert preset_for("vectors.npz", is_image=False) == "features"


def test_the_published_schema_is_the_one_that_is_checked():
    published = json.loads((Path(__file__).parents[2] / "docs" / "config.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "run: limbeck schema > docs/config.schema.json"


def test_a_teachers_recipe_takes_what_it_does_not_say_from_the_students():
    config = resolve(
        DistillConfig, [layer("recipe: {learning_rate: 0.3, batch_size: 9}\nteacher_recipe: {batch_size: 5}")]
    )
    assert (config.teacher_recipe.learning_rate, config.teacher_recipe.batch_size) == (0.3, 5)
    assert resolve(DistillConfig, []).teacher_recipe is None


NESTED = "a: " + "[" * 200 + "]" * 200
PAIRS = zip("abcdefgh", "bcdefghi", strict=True)
BOMB = "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in PAIRS)


def resolved(text: str) -> object:
    layer = read_layer(text, source="job.yaml")
    return resolve(method_of([layer]), [layer])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "no aliases"),
        ("a: &a\n  b: *a\n", "no aliases"),
        (NESTED, "too much"),
        ("data: [" + "1, " * 20_000 + "1]", "too much"),
        ("data: " + "x" * (2 << 20), "too long"),
        ("data: 2024-13-45", "cannot be read"),
        ("seeds: !!int 'x'", "cannot be read"),
        ("seeds: " + "9" * 5000, "cannot be read"),
        ("method: !!set {a}", "method"),
        ("method: [1]", "method"),
        ("method: {a: 1}", "method"),
    ],
)
def test_trap_37_yaml_that_multiplies_nests_or_breaks_is_one_message_at_once(text, words):
    begun = time.thread_time()  # the test's own work, however busy the machine is
    with pytest.raises(LimbeckError) as refused:
        resolved(text)
    assert words in str(refused.value)
    assert time.thread_time() - begun < 5
    assert len(str(refused.value)) < 2000
