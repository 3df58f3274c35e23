"""Where and in what precision a run computes, and the facts of the machine that go into its record."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import InvalidValue, unknown_name
from limbeck.models.sharding import require_sharding
from limbeck.ranks.group import ALONE, Ranks, ranks_of_process
from limbeck.ranks.launched import local_rank, num_ranks, refuse_ranks
from limbeck.settings.jobs import PRECISIONS, Sharding
from limbeck.training.compiler import require_compiler
from limbeck.version import __version__

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Runtime:
    """A resolved device and precision.

    Args:
        device: where the networks live.
        precision: "fp32", "bf16" or "fp16": of autocast; weights stay float32.
        ranks: the processes that train one network together; this one alone where torchrun did not start several.
        compiles: whether ``fit`` takes its steps through torch.compile.
        student_sharding: "full": ``fit`` trains networks whose weights are sharded over all ranks; or "none".
    """

    device: torch.device
    precision: str
    ranks: Ranks = field(default=ALONE, compare=False)
    compiles: bool = False
    student_sharding: Sharding = "none"

    @staticmethod
    def resolve(
        device: str = "auto",
        precision: str = "auto",
        *,
        takes_ranks: bool = False,
        compiles: bool = False,
        student_sharding: Sharding = "none",
    ) -> Runtime:
        """Choose device and precision, and join the ranks that torchrun started.

        auto device: CUDA, then MPS, then CPU; each rank takes a GPU of its own. auto precision: bf16 on CUDA where the
        chip has it, otherwise fp32.

        Raises:
            UnknownName: another precision.
            InvalidValue: a device that torch does not know or that is not there; fp16 on the CPU; one of several ranks
                where ``takes_ranks`` is off: each would do the whole job; ``compiles`` where nothing can compile;
                ``student_sharding`` in one process, with ``compiles``, in fp16, or where torch cannot do it.
        """
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
        if not takes_ranks:
            refuse_ranks()
        chosen = _resolve_device(_own_device(device))
        if precision == "auto":
            precision = "bf16" if chosen.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
        if precision == "fp16" and chosen.type == "cpu":
            raise InvalidValue("fp16 is not for the CPU.", received="fp16 on cpu", expected="fp32 or bf16")
        if compiles:
            require_compiler(chosen)
        if student_sharding != "none":
            _check_sharding(chosen, precision, compiles=compiles)
        if num_ranks() > 1 and chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        return Runtime(chosen, precision, ranks_of_process() if takes_ranks else ALONE, compiles, student_sharding)

    @property
    def shards_students(self) -> bool:
        """Whether ``fit`` trains networks that are sharded over all ranks."""
        return self.student_sharding != "none"

    @property
    def place_of_students(self) -> torch.device:
        """Where trained students are, whole: host memory where one device may not hold them."""
        return torch.device("cpu") if self.shards_students else self.device

    @property
    def random_devices(self) -> list[torch.device]:
        """Devices beside the CPU with a random state of their own, as ``torch.random.fork_rng`` takes them."""
        return [self.device] if self.device.type == "cuda" else []

    @property
    def kernel_layout(self) -> torch.memory_format:
        """The memory format of kernels (out, in, height, width) in training: channels last, quicker, on the CPU."""
        return torch.channels_last if self.device.type == "cpu" else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which forward passes run."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype, cache_enabled=not self.shards_students)


def _check_sharding(device: torch.device, precision: str, *, compiles: bool) -> None:
    """Raise InvalidValue where students cannot be sharded."""
    problems = (
        (num_ranks() == 1, "one process", "several ranks", "start it with torchrun, or leave it out"),
        (compiles, "--compile, too", "one of the two", "leave --compile out"),
        (precision == "fp16", "precision fp16", "bf16 or fp32", "add --precision bf16"),
    )
    for is_there, received, expected, remedy in problems:
        if is_there:
            fact = "A student cannot be sharded like this (--student-sharding full)."
            raise InvalidValue(fact, received=received, expected=expected, remedy=remedy)
    require_sharding(device, trains=True)


def _own_device(device: str) -> str:
    """Return the GPU of this rank where no certain one is named."""
    if num_ranks() == 1 or device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{local_rank() % torch.cuda.device_count()}"


def _resolve_device(device: str) -> torch.device:
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InvalidValue(
            f"The device {device!r} is not there.",
            received=str(error).splitlines()[0],
            expected="one of " + ", ".join(DEVICES),
        ) from error
    return chosen


def set_threads(num_threads: int | None) -> int:
    """Set torch's CPU thread count where one is given, and return the count in force.

    Raises:
        InvalidValue: below 1.
    """
    if num_threads is not None:
        if num_threads < 1:
            raise InvalidValue("num_threads must be above 0.", received=num_threads, expected=">= 1")
        torch.set_num_threads(num_threads)
    return torch.get_num_threads()


def environment_facts(runtime: Runtime) -> dict[str, Any]:
    """Return versions, device, threads and the source's commit, JSON-able."""
    import numpy

    return {
        "limbeck": __version__,
        "commit": _source_commit(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor_cores": os.cpu_count(),
        "device": _device_name(runtime.device),
        "precision": runtime.precision,
        "num_threads": torch.get_num_threads(),
        **({"compiled": True} if runtime.compiles else {}),
        **({"ranks": runtime.ranks.size} if runtime.ranks.size > 1 else {}),
        **({"student_sharding": runtime.student_sharding} if runtime.shards_students else {}),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@functools.cache
def _source_commit() -> str | None:
    """Return the commit of the checkout that this package runs from, "+" behind it where it has changes; else None."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists() or not (root / "src" / "limbeck").is_dir():
        return None
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=root, capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
