"""The Python in the guide to compressed clips runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import torch

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "video.md"


def test_python_in_the_guide_runs():
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], str(GUIDE), "exec"), names)
    clip = {"iframe": torch.zeros(2, 3, 3, 32, 32), "motion": torch.zeros(2, 3, 2, 32, 32)}
    assert names["fused"](**clip).shape == (2, 5)
