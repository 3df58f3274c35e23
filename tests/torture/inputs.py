"""Generated configurations, flags, arrays, archives, images, sounds, clips and networks, given to commands."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import odd_data
import odd_media
import odd_networks
import odd_text
from children import SECONDS, WAITING, run
from report import Part

TRAINING_SECONDS = 20.0  # where an input is taken and trained on
TORN = "torture-outside.png"  # what an archive would write beside it all
GENERATORS: tuple[Callable[[Path, random.Random], list[str]], ...] = (
    *(odd_text.configuration, odd_text.flags, odd_data.arrays, odd_data.archives, odd_data.images, odd_media.sounds),
    *(odd_media.clips, odd_networks.weights, odd_networks.safetensors, odd_networks.onnx, odd_networks.programs),
)


class Inputs:
    """Gives generated inputs to commands, one generator after the other.

    Args:
        folder: for each attempt's files; emptied before.
        outside: a folder that must stay empty.
        clear: empties the folder and writes the data.
    """

    def __init__(self, folder: Path, outside: Path, clear: Callable[[], None]) -> None:
        self.folder, self.outside, self.clear = folder, outside, clear

    def attempt(self, part: Part, draw: random.Random) -> None:
        """Generate one input, give it to its command, and see how that ends."""
        generator = GENERATORS[part.attempts % len(GENERATORS)]
        self.clear()
        arguments = generator(self.folder, draw)
        outcome = run(arguments, self.folder, timeout=TRAINING_SECONDS * WAITING)
        complaint = outcome.complaint(codes=(0, 2), seconds=SECONDS if outcome.code else TRAINING_SECONDS)
        if (self.folder / "ran-code").exists() or (Path("/tmp") / TORN).exists() or any(self.outside.iterdir()):
            complaint = "code was run, or a file written outside"
        ending = "not as promised" if complaint else ("refused" if outcome.code == 2 else "taken")
        part.add(ending, f"{generator.__name__} {' '.join(arguments)[:160]}: {complaint}" if complaint else "")
