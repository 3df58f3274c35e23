"""YAML of a stranger: bounded before it is built, wherever it is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from limbeck.errors import ConfigError
from limbeck.exporting.source import Exported, splits_for
from limbeck.models import SavedModel
from limbeck.settings.yaml_text import MAX_CHARACTERS, read_text, read_yaml


def test_values_come_with_their_lines():
    values, root = read_yaml("a: 1\nb: [2, 3]", source="here")
    assert values == {"a": 1, "b": [2, 3]}
    assert [key.start_mark.line for key, _ in root.value] == [0, 1]


def test_a_long_file_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "long.yaml"
    with open(path, "wb") as file:
        file.truncate(8 << 30)  # sparse
    with pytest.raises(ConfigError, match="too long"):
        read_text(path)
    path.write_text("#" * (MAX_CHARACTERS + 1))
    with pytest.raises(ConfigError, match="too long"):
        read_text(path)


def test_a_pipe_and_a_folder_are_no_configuration(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="Cannot read the configuration"):
        read_text(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="Cannot read the plan"):
        read_text(tmp_path, what="plan")


def test_a_run_s_configuration_is_bounded_where_its_network_is_exported(tmp_path: Path):
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, 9)]
    (tmp_path / "config.yaml").write_text("\n".join(rows))
    saved = SavedModel(None, "mlp", (2,), ["a", "b"], None, "student", "", {})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no aliases"):
        splits_for(Exported(saved, tmp_path), None, {})
