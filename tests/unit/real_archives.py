"""A part of a real archive of pictures: all its classes, a few pictures of each, decoded in no time."""

from __future__ import annotations

import tarfile
from pathlib import Path


def copy_every(step: int, source: Path, target: Path) -> None:
    """Write an archive with every ``step``-th picture of another, and all its other files."""
    number = 0
    with tarfile.open(source) as whole, tarfile.open(target, "w:gz", compresslevel=1) as part:
        for member in whole:
            is_picture = member.name.lower().endswith((".jpg", ".jpeg"))
            if not is_picture or number % step == 0:
                part.addfile(member, whole.extractfile(member))
            number += is_picture
