"""The Python in the guide to data runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "data.md"


def test_python_in_the_guide_runs():
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    assert names["samples"].input_shapes == {"input_values": (16,)}
    assert names["views"].batch(names["images"], names["torch"].tensor([4]), view=2).inputs.shape == (1, 3, 6, 6)
