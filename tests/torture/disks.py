"""Disks that are really full: a small one in memory, which grows afterwards. Root alone can make one."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs import JOBS, disk_bytes, job_of
from report import Part
from stops import Stops

ROOM = 1.3  # of what a job writes: sometimes there is enough
AMPLE = "256m"


class FullDisk:
    """Does jobs on a disk that has room for a part of what they write, and then for all of it.

    Args:
        stops: does the jobs, in copies of its folder.
        place: where the disk is mounted.
    """

    def __init__(self, stops: Stops, place: Path) -> None:
        self.stops, self.place = stops, place
        place.mkdir()

    def attempt(self, part: Part, draw: random.Random, number: int) -> None:
        """Run a job into a full disk, make room, give it again, and compare."""
        name, share = job_of(number), draw.uniform(0, ROOM)
        room = int(share * self.stops.reference(name).num_bytes)
        with self._mounted(disk_bytes(self.stops.base) * 2 + room) as disk:
            folder = disk / "copy"
            self.stops.copy_into(folder)
            with open(disk / "rest", "wb") as rest:  # leaves the room that is wanted
                os.posix_fallocate(rest.fileno(), 0, max(1, shutil.disk_usage(disk).free - room))
            stopped = self.stops.start(JOBS[name], folder)()
            subprocess.run(["mount", "-o", f"remount,size={AMPLE}", str(disk)], check=True)
            self.stops.go_on(part, name, folder, stopped, (0, 2), f"{name}, room for {room:,} bytes")

    @staticmethod
    def is_possible(place: Path) -> bool:
        """Whether a disk can be mounted at a folder here."""
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
        is_possible = shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0
        if is_possible:
            subprocess.run(["umount", str(place)], check=True)
        place.rmdir()
        return is_possible

    @contextmanager
    def _mounted(self, num_bytes: int) -> Iterator[Path]:
        options = f"size={num_bytes}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(self.place)], check=True)
        try:
            yield self.place
        finally:
            subprocess.run(["umount", str(self.place)], check=True)
