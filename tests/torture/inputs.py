"""Generated configurations, flags, arrays, archives, images, sounds, clips and networks, given to commands."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import odd_data
import odd_media
import odd_networks
import odd_text
from children import SECONDS, WAITING, Outcome, run
from report import Part
from together import run_here, run_together

TRAINING_SECONDS = 20.0  # where an input is taken and trained on
TORN = "torture-outside.png"  # what an archive would write beside it all
GENERATORS: tuple[Callable[[Path, random.Random], list[str]], ...] = (
    *(odd_text.configuration, odd_text.flags, odd_data.arrays, odd_data.archives, odd_data.images, odd_media.sounds),
    *(odd_media.clips, odd_networks.weights, odd_networks.safetensors, odd_networks.onnx, odd_networks.programs),
)
TOGETHER = 2 * len(GENERATORS)


class Inputs:
    """Gives generated inputs to commands, one generator after the other.

    Args:
        folder: for each attempt's files; emptied before.
        outside: a folder that must stay empty.
        clear: empties the folder and writes the data.
    """

    def __init__(self, folder: Path, outside: Path, clear: Callable[[], None]) -> None:
        self.folder, self.outside, self.clear = folder, outside, clear

    def attempt(self, part: Part, draw: random.Random, number: int) -> None:
        """Give some inputs to their commands in one process; what did not end well there has a process of its own."""
        seeds = [draw.getrandbits(64) for _ in range(TOGETHER)]
        found = run_together([partial(self._check, *one, run_here) for one in enumerate(seeds)], self.folder.parent)
        for count, seed in enumerate(seeds):
            ending, complaint = found[count] if count < len(found) else ("", "not reached")
            part.add(*(self._check(count, seed, _run_alone) if complaint else (ending, "")))

    def _check(self, count: int, seed: int, run_it: Callable[[list[str], Path], Outcome]) -> tuple[str, str]:
        """Generate one input, give it to its command, and see how that ends."""
        generator = GENERATORS[count % len(GENERATORS)]
        self.clear()
        arguments = generator(self.folder, random.Random(seed))
        outcome = run_it(arguments, self.folder)
        complaint = outcome.complaint(codes=(0, 2), seconds=SECONDS if outcome.code else TRAINING_SECONDS)
        if (self.folder / "ran-code").exists() or (Path("/tmp") / TORN).exists() or any(self.outside.iterdir()):
            complaint = "code was run, or a file written outside"
        what = f"{generator.__name__} {' '.join(arguments)[:160]}: {complaint}" if complaint else ""
        return "refused" if outcome.code == 2 else "taken", what


def _run_alone(arguments: list[str], folder: Path) -> Outcome:
    return run(arguments, folder, timeout=TRAINING_SECONDS * WAITING)
